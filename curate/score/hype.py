"""HYPE: how well image and caption fit, and how specific each is, by vectors of a hyperbolic image-text model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, PrivateAttr

from curate.arrays.vectors import stored_vectors
from curate.errors import CurateError
from curate.models.made_by import refuse_older
from curate.models.vector_file import VectorFile, in_tiles
from curate.op import Op, Rows, Score

#: K of the half-aperture of a cone.
APERTURE = 0.1
#: An arc's cosine, and a square under a root, stay so far from where they have no value.
EDGE = 1e-8
#: Rows and reference vectors whose angles are held at a time.
AT_ONCE = 512


class Hype(Score):
    """Columns `hype_similarity`, minus the hyperbolic distance of image and caption; `hype_image` and `hype_text`, the
    specificity of each; and `hype`, their sum. float32. With a `name` the columns begin with it.

    Vectors v are in the tangent space at the origin, as a model such as MERU makes them, and are lifted by x =
    sinh(r) / r * v with r = sqrt(c) |v|. `hype_image` is the mean over reference captions t of how far outside t's cone
    the image lies: the exterior angle at t less t's half-aperture asin(2 K / (sqrt(c) |x_t|)), K = 0.1. `hype_text` is
    the mean of how far reference images lie outside the caption's cone. Reported: the top 20 % by `hype` (10 % at the
    small scale), with CLIP's cosine and a term for ImageNet's clusters added; those two are left out here,
    balance.standardise mixes columns.

    by, texts: columns of image and caption vectors; `texts` is by default that of `by` with `_txt` for `_img`.
    curvature: c of the model.
    images, captions: reference vectors by the same model: a .npy (n x d), or a .parquet with them in the column of
        `by`, or of `texts`; by path or URL. Random ones of the pool do. Time grows with their number.
    images_sha256, captions_sha256: of the files; required for URLs. They, not the places, are part of the table's
        identity.
    """

    cite: ClassVar[str] = "Kim et al., HYPE, 2024; Desai et al., MERU, 2023"
    how: ClassVar[frozenset[str]] = Op.how | {"images", "captions", "images_sha256", "captions_sha256"}
    batch_size: int = 4096
    by: str = "hype_img"
    texts: str = ""
    curvature: float = Field(gt=0, allow_inf_nan=False)
    images: str
    captions: str
    images_sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    captions_sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")

    #: Lifted reference images and captions, float64[n, d].
    _references: Any = PrivateAttr(None)

    def table(self) -> str:
        return self.name or "hype"

    def reads(self) -> tuple[str, ...]:
        return self.by, self._texts()

    def _texts(self) -> str:
        return self.texts or self.by.removesuffix("_img") + "_txt"

    def makes(self) -> dict[str, pa.DataType]:
        names = (self.table(), *(f"{self.table()}_{part}" for part in ("similarity", "image", "text")))
        return dict.fromkeys(names, pa.float32())

    def spec(self) -> dict[str, Any]:
        spec = super().spec()
        spec["options"] |= {"texts": self._texts()} | ({"name": self.name} if self.name else {})
        return spec

    def _files(self) -> tuple[VectorFile, VectorFile]:
        images = VectorFile(self.images, self.images_sha256, self.by)
        return images, VectorFile(self.captions, self.captions_sha256, self._texts())

    def weights(self) -> str:
        return "+".join(file.identity() for file in self._files())

    def check(self) -> None:
        for file in self._files():
            file.check(file.vectors)
        if not any("://" in file.source for file in self._files()):
            self.setup()

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)

    def setup(self) -> None:
        self._references = [lifted(self._read(file), self.curvature) for file in self._files()]
        images, captions = self._references
        if images.shape[1] != captions.shape[1]:
            raise CurateError(
                f"score.hype: '{self.images}' has vectors of {images.shape[1]} numbers, '{self.captions}' of "
                f"{captions.shape[1]}: two models made them"
            )

    def _read(self, file: VectorFile) -> np.ndarray:
        return np.concatenate(
            [tile.astype(np.float64) for _, tile in in_tiles(file.vectors(), file.source, unit=False)]
        )

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        images, captions = self._references
        both = [stored_vectors(rows[name], name, images.shape[1]) for name in self.reads()]
        good = both[0].good & both[1].good
        image, text = (lifted(stored.values[good].astype(np.float64), self.curvature) for stored in both)
        similarity = -distance(image, text, self.curvature)
        parts = (
            similarity,
            specificity(captions, image, self.curvature),
            specificity(images, text, self.curvature, True),
        )
        columns: dict[str, Any] = {}
        for name, values in zip(self.makes(), (sum(parts), *parts), strict=True):
            whole = np.zeros(len(rows))
            whole[good] = values
            columns[name] = pa.array(whole.astype(np.float32), mask=~good)
        return {**columns, "status": np.where(both[0].good, both[1].status, both[0].status)}


def lifted(tangent: np.ndarray, curvature: float) -> np.ndarray:
    """The space part of tangent vectors on the hyperboloid, float64[n, d].

    >>> lifted(np.array([[1.0, 0.0], [1.5, 0.5]]), 1.0).round(5).tolist()
    [[1.1752, 0.0], [2.20794, 0.73598]]
    """
    size = np.sqrt(curvature) * np.linalg.norm(tangent, axis=1, keepdims=True)
    return np.asarray(tangent * np.where(size > 0, np.sinh(size) / np.where(size > 0, size, 1), 1))


def _time(points: np.ndarray, curvature: float) -> np.ndarray:
    return np.asarray(np.sqrt(1 / curvature + np.einsum("nd,nd->n", points, points)))


def distance(one: np.ndarray, other: np.ndarray, curvature: float) -> np.ndarray:
    """float64[n], of each of `one` from the same row of `other`, float64[n, d] both.

    >>> distance(lifted(np.array([[1.0, 0.0]]), 1.0), lifted(np.array([[1.5, 0.5]]), 1.0), 1.0).round(6).tolist()
    [0.773099]
    """
    product = np.einsum("nd,nd->n", one, other) - _time(one, curvature) * _time(other, curvature)
    return np.asarray(np.arccosh(np.maximum(-curvature * product, 1)) / np.sqrt(curvature))


def outside(general: np.ndarray, special: np.ndarray, curvature: float) -> np.ndarray:
    """float64[n, m]: how far each of `special` (float64[m, d]) lies outside the cone of each of `general`
    (float64[n, d]): the exterior angle less the half-aperture, in radians; under 0 inside.

    >>> points = lifted(np.array([[1.0, 0.0], [1.5, 0.5]]), 1.0)
    >>> outside(points[:1], points[1:], 1.0).round(6).tolist()
    [[0.870906]]
    """
    length = np.maximum(np.linalg.norm(general, axis=1), EDGE)
    apex, top = _time(general, curvature), _time(special, curvature)
    product = curvature * (general @ special.T - apex[:, None] * top)
    root = length[:, None] * np.sqrt(np.maximum(product**2 - 1, EDGE))
    cosine = np.clip((top + apex[:, None] * product) / root, EDGE - 1, 1 - EDGE)
    aperture = np.arcsin(np.clip(2 * APERTURE / (np.sqrt(curvature) * length), EDGE - 1, 1 - EDGE))
    return np.asarray(np.arccos(cosine) - aperture[:, None])


def specificity(references: np.ndarray, points: np.ndarray, curvature: float, cones: bool = False) -> np.ndarray:
    """float64[m]: the mean over the references of how far each point lies outside their cones; with `cones` of how far
    they lie outside that of the point."""
    total = np.zeros(len(points))
    for first in range(0, len(points), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        for second in range(0, len(references), AT_ONCE):
            others = references[second : second + AT_ONCE]
            pair = (points[some], others) if cones else (others, points[some])
            total[some] += outside(*pair, curvature).sum(axis=1 if cones else 0)
    return total / len(references)
