"""RefCLIPScore of Hessel et al.: the harmonic mean of CLIPScore and the caption's nearness to references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.op import Rows
from curate.score._encoder_score import PREFIX, EncoderScore


def ref_clipscore(score: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """H(a, b) = 2ab / (a + b); 0 where both are 0, which the published code leaves undefined.

    >>> ref_clipscore(np.array([0.75, 0.0]), np.array([0.80, 0.0])).round(6).tolist()
    [0.774194, 0.0]
    """
    total = score + nearest
    return np.asarray(np.divide(2 * score * nearest, total, out=np.zeros_like(total, np.float64), where=total != 0))


class RefClipScore(EncoderScore):
    """Column `ref_clipscore`; reads `clipscore` (score.clipscore comes first).

    references: column with one reference caption, or a list of them, per row.

    As in the paper, the nearest reference's cosine is clipped at 0; references get the same prefix as the caption.
    """

    cite: ClassVar[str] = "Hessel et al., CLIPScore, 2021"
    references: str
    model: str = "ViT-B-32/openai"

    def reads(self) -> tuple[str, ...]:
        return ("text", "clipscore", self.references)

    def makes(self) -> dict[str, pa.DataType]:
        return {"ref_clipscore": pa.float32()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        references = [[r] if isinstance(r, str) else [x for x in r if x] for r in rows[self.references].to_pylist()]
        captions = self._encoder.texts([PREFIX + text for text in rows["text"].to_pylist()])
        flat = [PREFIX + r for some in references for r in some]
        encoded = self._encoder.texts(flat) if flat else np.zeros((0, captions.shape[1]), np.float32)
        owner = np.repeat(np.arange(len(references)), [len(some) for some in references])
        nearest = np.zeros(len(references), np.float32)
        np.maximum.at(nearest, owner, np.einsum("nd,nd->n", encoded, captions[owner]))
        score = rows["clipscore"].to_numpy(zero_copy_only=False)
        scores = ref_clipscore(score, nearest)
        empty = np.array([not some for some in references])
        return {
            "ref_clipscore": pa.array(scores, pa.float32(), mask=empty),
            "status": np.where(empty, "no_references", "ok"),
        }
