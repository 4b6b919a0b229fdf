"""LAION's aesthetic score of a stored CLIP image embedding, about 1 to 10: predictor v1 or v2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, PrivateAttr

from curate.arrays.vectors import read_vectors
from curate.models.heads import check_file, checked, identity, linear, linear_shapes, open_weights, packages_for, result
from curate.models.made_by import refuse_older
from curate.op import Op, Rows, Score

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


class Aesthetic(Score):
    """Column `aesthetic_v2` (or `aesthetic_v1`, or `name`); LAION's aesthetic subsets take v2 over 4.5, 5, 6 or 7.

    head: `v1` is one linear layer on the embedding, for the width its file has (768 for ViT-L/14);
        `v2` is 768-1024-128-64-16-1 without activations, for ViT-L/14 of OpenAI.
    file: the weights as published, by path or URL: `sa_0_4_vit_l_14_linear.pth` (LAION-AI/aesthetic-predictor, MIT) for
        v1, `sac+logos+ava1-l14-linearMSE.pth` (christophschuhmann/improved-aesthetic-predictor, Apache-2.0) for v2.
    sha256: of that file; required for a URL. It, not the place, is part of the table's identity.
    by: column of image embeddings of the model that the head was trained on; normalised before the head.
    """

    columns_by_name: ClassVar[bool] = True
    cite: ClassVar[str] = "Schuhmann et al., LAION-5B, 2022 (LAION aesthetic predictors v1 and v2)"
    how: ClassVar[frozenset[str]] = Op.how | {"file", "sha256"}
    batch_size: int = 4096
    head: Literal["v1", "v2"] = "v2"
    file: str
    sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    by: str = "clip_l14_img"

    _weights: dict[str, np.ndarray] = PrivateAttr(default_factory=dict)

    def table(self) -> str:
        return self.name or f"aesthetic_{self.head}"

    def reads(self) -> tuple[str, ...]:
        return (self.by,)

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): pa.float32()}

    def packages(self) -> tuple[str, ...]:
        return packages_for(self.file)

    def weights(self) -> str:
        return identity(self.file, self.sha256)

    def check(self) -> None:
        check_file(self.file, self.sha256, self.setup)

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)

    def setup(self) -> None:
        shapes = linear_shapes(V2) if self.head == "v2" else {"weight": (1, None), "bias": (1,)}
        self._weights = checked(open_weights(self.file, self.sha256), shapes, self.file)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        first = self._weights["weight" if self.head == "v1" else "layers.0.weight"]
        vectors = read_vectors(rows[self.by], self.by, first.shape[1])
        return result(vectors, {self.table(): aesthetic(vectors.unit, self._weights)})
