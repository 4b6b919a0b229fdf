"""How surprising a caption is to a language model: its perplexity, low for phrases, high for noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import PrivateAttr

from curate.models.language_model import PACKAGES, LanguageModel, check_language_model
from curate.models.weights import model_weights
from curate.op import Rows, Score


def perplexity(logs: Sequence[float] | np.ndarray) -> float:
    """exp of the mean of -ln P(token).

    >>> round(perplexity([-1.2, -0.3, -2.5]), 6)
    3.793668
    """
    return float(np.exp(-np.mean(logs)))


class Perplexity(Score):
    """`perplexity` (or `name`), float32: exp(-(1/N) sum ln P(w_i | w_<i)) over the caption's tokens, and
    `<name>_tokens`, their number N. The first token, before which nothing stands, does not count, nor does a mark of
    the start; a caption of one token has no perplexity.

    model: `hf-hub:openai-community/gpt2-large`, or another causal model of transformers, or `local-dir:path` for one in
        a folder. What is behind its longest text (GPT-2: 1,024 tokens) is cut off, which `<name>_tokens` tells.

    RealSyn keeps 30 to 200 of GPT-2 large. POINTS keeps the lowest 20 % by a model that sees the image too; no such
    model is run here: join its numbers as a column. Low perplexity is not quality: POINTS drops knowledge that is rare
    (versions, serial numbers), not bad language.
    """

    cite: ClassVar[str] = "Gu et al., RealSyn, 2025; Liu et al., POINTS, 2024 (there with the image)"
    columns_by_name: ClassVar[bool] = True
    model: str = "hf-hub:openai-community/gpt2-large"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    _model: Any = PrivateAttr(None)

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): pa.float32(), f"{self.table()}_tokens": pa.uint32()}

    def packages(self) -> tuple[str, ...]:
        return PACKAGES

    def gpus(self) -> float:
        return 0 if self.device == "cpu" else 1

    def weights(self) -> str:
        return model_weights(self.model)

    def check(self) -> None:
        check_language_model(self.model)

    def setup(self) -> None:
        self._model = LanguageModel(self.model, self.device)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        logs = self._model.log_probabilities(rows["text"].to_pylist())
        return {
            self.table(): pa.array([perplexity(some) if len(some) else None for some in logs], pa.float32()),
            f"{self.table()}_tokens": pa.array([len(some) for some in logs], pa.uint32()),
            "status": ["ok" if len(some) else "one_token" for some in logs],
        }
