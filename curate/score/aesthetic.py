"""LAION's aesthetic score of a stored CLIP image embedding, about 1 to 10: predictor v1 or v2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import PrivateAttr

from curate.arrays.vectors import read_vectors
from curate.models.heads import checked, linear, linear_shapes, open_weights, result
from curate.op import Rows
from curate.score._head_score import HeadScore

#: Layers of v2 by their names in the file. Between them stood dropout (.2, .2, .1) and no activation: it is affine.
V2: dict[str, tuple[int, int]] = {
    "layers.0": (768, 1024),
    "layers.2": (1024, 128),
    "layers.4": (128, 64),
    "layers.6": (64, 16),
    "layers.7": (16, 1),
}


def aesthetic(unit: np.ndarray, weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """Scores of unit vectors: w . e + b (v1: the file's layer has no name), or the five layers of v2."""
    if "weight" in weights:
        return np.asarray(unit @ weights["weight"][0] + weights["bias"][0])
    for layer in V2:
        unit = linear(unit, weights, layer)
    return unit[:, 0]


class Aesthetic(HeadScore):
    """Column `aesthetic_v2` (or `aesthetic_v1`, or `name`); LAION's aesthetic subsets take v2 over 4.5, 5, 6 or 7.

    head: `v1` is one linear layer on the embedding, for the width its file has (768 for ViT-L/14);
        `v2` is 768-1024-128-64-16-1 without activations, for ViT-L/14 of OpenAI.
    file: the weights as published, by path or URL: `sa_0_4_vit_l_14_linear.pth` (LAION-AI/aesthetic-predictor, MIT) for
        v1, `sac+logos+ava1-l14-linearMSE.pth` (christophschuhmann/improved-aesthetic-predictor, Apache-2.0) for v2.
    sha256: of that file; required for a URL. It, not the place, is part of the table's identity.
    by: column of image embeddings of the model that the head was trained on; normalised before the head.
    """

    cite: ClassVar[str] = "Schuhmann et al., LAION-5B, 2022 (LAION aesthetic predictors v1 and v2)"
    head: Literal["v1", "v2"] = "v2"

    _weights: dict[str, np.ndarray] = PrivateAttr(default_factory=dict)

    def table(self) -> str:
        return self.name or f"aesthetic_{self.head}"

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): pa.float32()}

    def setup(self) -> None:
        shapes = linear_shapes(V2) if self.head == "v2" else {"weight": (1, None), "bias": (1,)}
        self._weights = checked(open_weights(self.file, self.sha256), shapes, self.file)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        first = self._weights["weight" if self.head == "v1" else "layers.0.weight"]
        vectors = read_vectors(rows[self.by], self.by, first.shape[1])
        return result(vectors, {self.table(): aesthetic(vectors.unit, self._weights)})
