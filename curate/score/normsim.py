"""How similar an image is to a set of target images: NormSim, the norm of its cosines with all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, PrivateAttr, field_validator

from curate.alike.vector_pairs import nearest
from curate.arrays.vectors import read_vectors
from curate.catalog import load
from curate.models.heads import result
from curate.models.made_by import refuse_another_maker, refuse_older
from curate.models.vector_file import VectorFile, in_tiles
from curate.op import Op, Rows, Score


class NormSim(Score):
    """Column `normsim`, float32: of the cosines with all target images the greatest (`p: inf`), or the square root of
    the sum of their squares (`p: 2`).

    Published: of the best 30 % by negCLIPLoss (score.ncl) the rows that are among the best 20 % of the whole pool by
    NormSim, the targets being ImageNet-1k's training images or those of 24 tasks. `p: inf` is then the better one. It
    is the greatest cosine as it is, not its amount: an image opposite to a target is not near it.

    by: column of image embeddings.
    targets: embeddings of the target images by the same model: a .npy (n x d), or a .parquet with them in `column`; by
        path or URL. A local .npy stays on the disk, float16 as well as float32.
    column: of the .parquet; by default that of `by`.
    targets_sha256: of the file; required for a URL. It, not the place, is part of the table's identity.
    made_by: the op that made the targets' vectors: `{score.clip: {model: ...}}`. Where `by` was made by another, the op
        refuses.

    Takes rows * dimensions * targets multiplications for `inf`; for `2` dimensions^2 a row, however many targets.
    """

    cite: ClassVar[str] = "Wang et al., CLIPLoss and norm-based data selection methods, 2024 (negCLIPLoss, NormSim)"
    how: ClassVar[frozenset[str]] = Op.how | {"targets", "targets_sha256", "column", "made_by"}
    columns_by_name: ClassVar[bool] = True
    # Vectors of the files are made float32 again for each batch.
    batch_size: int = 16_384
    by: str = "clip_l14_img"
    targets: str
    p: Literal["2", "inf"] = "inf"
    targets_sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    column: str = ""
    made_by: str | dict[str, Any] = ""

    #: float[n, d] of the file for `inf`; float64[d, d], the sum of t t', for `2`.
    _targets: Any = PrivateAttr(None)

    @field_validator("p", mode="before")
    @classmethod
    def _as_text(cls, p: Any) -> Any:
        # YAML reads 2 as a number, and .inf as one.
        return {2: "2", float("inf"): "inf"}.get(p, p) if isinstance(p, (int, float)) else p

    def table(self) -> str:
        return self.name or "normsim"

    def reads(self) -> tuple[str, ...]:
        return (self.by,)

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): pa.float32()}

    def _file(self) -> VectorFile:
        return VectorFile(self.targets, self.targets_sha256, self.column or self.by)

    def weights(self) -> str:
        return self._file().identity()

    def check(self) -> None:
        self._file().check(self._checked)

    def _checked(self) -> np.ndarray:
        rows = self._file().vectors()
        for _ in in_tiles(rows, self.targets, unit=True):
            pass
        return rows

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)
        if self.made_by:
            refuse_another_maker(self, self.by, made_by, self.targets, load(self.made_by))

    def setup(self) -> None:
        self._targets = self._file().vectors()
        if self.p == "2":
            wide = (tile.astype(np.float64) for _, tile in in_tiles(self._targets, self.targets, unit=True))
            self._targets = sum((tile.T @ tile for tile in wide), np.zeros((self._targets.shape[1],) * 2))

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        vectors = read_vectors(rows[self.by], self.by, self._targets.shape[1])
        value = self._norm(vectors.unit) if self.p == "2" else self._greatest(vectors.unit)
        return result(vectors, {self.table(): value.astype(np.float32)})

    def _norm(self, unit: np.ndarray) -> np.ndarray:
        wide = unit.astype(np.float64)
        # Rounding may take a sum of squares below 0.
        return np.sqrt(np.maximum(np.einsum("nd,nd->n", wide @ self._targets, wide), 0))  # type: ignore[no-any-return]

    def _greatest(self, unit: np.ndarray) -> np.ndarray:
        best = np.full(len(unit), -np.inf, np.float32)
        for _, tile in in_tiles(self._targets, self.targets, unit=True):
            best = np.maximum(best, nearest(unit, tile)[0])
        return best
