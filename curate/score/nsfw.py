"""Probability that an image is not safe for work, from its stored CLIP embedding: DataComp's head or LAION's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import PrivateAttr

from curate.arrays.vectors import read_vectors
from curate.models.heads import checked, linear, linear_shapes, open_weights, result, sigmoid
from curate.op import Rows
from curate.score._head_score import HeadScore

#: Linear layers by their names in the published files; ReLU between them, sigmoid after the last.
LAYERS: dict[str, dict[str, tuple[int, int]]] = {
    "datacomp": {"dense": (768, 64), "dense1": (64, 512), "dense2": (512, 256), "dense3": (256, 1)},
    "laion": {"linear_1": (768, 64), "linear_2": (64, 512), "linear_3": (512, 256), "linear_4": (256, 1)},
    "laion_b32": {"linear_1": (512, 32), "linear_2": (32, 32), "linear_3": (32, 1)},
}


def shapes(head: str) -> dict[str, tuple[int | None, ...]]:
    """Every array that a head's file holds, with its shape."""
    layers = LAYERS[head]
    names = ("weight", "bias", "running_mean", "running_var") if head == "datacomp" else ("mean", "variance")
    width = next(iter(layers.values()))[0]
    return {**{f"norm.{name}": (width,) for name in names}, **linear_shapes(layers)}


def nsfw(unit: np.ndarray, weights: Mapping[str, np.ndarray], head: str) -> np.ndarray:
    """Probabilities of unit vectors."""
    if head == "datacomp":  # BatchNorm1d with eps 0, in evaluation.
        rows = (unit - weights["norm.running_mean"]) / np.sqrt(weights["norm.running_var"])
        rows = rows * weights["norm.weight"] + weights["norm.bias"]
    else:
        rows = (unit - weights["norm.mean"]) / (np.sqrt(weights["norm.variance"]) + np.float32(1e-10))
    *inner, last = LAYERS[head]
    for layer in inner:
        rows = np.maximum(linear(rows, weights, layer), 0)
    return sigmoid(linear(rows, weights, last)[:, 0])


class Nsfw(HeadScore):
    """Column `nsfw_datacomp` (`nsfw_laion`, `nsfw_laion_b32`, or `name`), 0 to 1, 1 is unsafe.

    head: `datacomp` discards over 0.1. `laion` is the `punsafe` of LAION-5B, whose aesthetic subsets keep under 0.5;
        `laion_b32` is LAION's for ViT-B/32 embeddings (`by: clip_b32_img`).
    file: the weights as published, by path or URL: the `nsfw-image` model of mlfoundations/dataset2metadata (MIT); of
        LAION-AI/CLIP-based-NSFW-Detector (MIT) the PyTorch state dicts (.pth), not the Keras folders.
    sha256: of that file; required for a URL. It, not the place, is part of the table's identity.
    by: column of image embeddings of OpenAI's model; normalised before the head.

    It judges nudity and sex, nothing else; it errs both ways, and no threshold makes a set safe.
    """

    cite: ClassVar[str] = "Gadre et al., DataComp, 2023; Schuhmann et al., LAION-5B, 2022"
    head: Literal["datacomp", "laion", "laion_b32"] = "datacomp"

    _weights: dict[str, np.ndarray] = PrivateAttr(default_factory=dict)

    def table(self) -> str:
        return self.name or f"nsfw_{self.head}"

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): pa.float32()}

    def setup(self) -> None:
        self._weights = checked(open_weights(self.file, self.sha256), shapes(self.head), self.file)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        vectors = read_vectors(rows[self.by], self.by, next(iter(LAYERS[self.head].values()))[0])
        return result(vectors, {self.table(): nsfw(vectors.unit, self._weights, self.head)})
