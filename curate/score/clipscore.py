"""CLIPScore of Hessel et al.: 2.5 * max(cos, 0), the caption read as "A photo depicts ..."."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.arrays.vectors import read_vectors
from curate.models.heads import result
from curate.models.names import column_name
from curate.op import Rows
from curate.score._encoder_score import PREFIX, EncoderScore

W = 2.5


def clipscore(cosine: np.ndarray) -> np.ndarray:
    """w * max(cos, 0), w = 2.5.

    >>> clipscore(np.array([0.30, -0.10])).round(6).tolist()
    [0.75, 0.0]
    """
    return np.asarray(W * np.maximum(cosine, 0))


class ClipScore(EncoderScore):
    """Column `clipscore`, in [0, 2.5]; not the curation cosine: the prefix changes the cosine itself.

    It reads the image vectors that score.clip stored for the same model, so that only the caption is encoded.

    model: as score.clip's; published with ViT-B-32/openai.
    """

    cite: ClassVar[str] = "Hessel et al., CLIPScore, 2021"
    model: str = "ViT-B-32/openai"

    def reads(self) -> tuple[str, ...]:
        return ("text", f"{column_name(self.model)}_img")

    def makes(self) -> dict[str, pa.DataType]:
        return {"clipscore": pa.float32()}

    def prepare_texts(self, texts: Sequence[str]) -> Sequence[Any]:
        return self._encoder.tokens.ready([PREFIX + text for text in texts])  # type: ignore[no-any-return]

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        texts, _ = self._encoder.captions(rows.texts)
        name = f"{column_name(self.model)}_img"
        images = read_vectors(rows[name], name, texts.shape[1])
        return result(images, {"clipscore": clipscore(np.einsum("nd,nd->n", images.unit, texts))})
