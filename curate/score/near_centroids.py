"""Which of many centroids an image is near, and whether a target is near that one: DataComp's image-based filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, PrivateAttr

from curate.alike.vector_pairs import nearest
from curate.arrays.vectors import stored_vectors
from curate.catalog import load
from curate.errors import CurateError
from curate.models.heads import is_url
from curate.models.made_by import refuse_another_maker, refuse_older
from curate.models.vector_file import VectorFile, in_tiles
from curate.op import Op, Rows, Score

#: Multiplications that finding the hit centroids may take in every worker: about a minute.
MOST_WORK = 2 * 10**12


class NearCentroids(Score):
    """Columns `<by>_near_centroid`, the number of the centroid with the greatest inner product, and `<by>_near_score`,
    that product; with `targets` also `<by>_near_hit`, whether a target vector has the same centroid.

    DataComp's image-based filter keeps rows with a hit, of 100,000 centroids, the targets being ImageNet-1k's training
    images. Vectors and centroids are taken as they are, as there: nothing is made length 1, so a long centroid draws
    more rows. Of equal products the first centroid counts. `balance.clusters: {unit: false, write: FILE}` makes such
    centroids; DataComp trains them on rows that pass its caption rule, 20 iterations, on all of a small pool, 30 % of a
    large one, 3 % of the largest.

    by: column of image embeddings.
    centroids: a .npy (k x d), or a .parquet with them in `column`; by path or URL.
    targets: embeddings of the targets by the same model, a file of the same kinds. Or the hit centroids themselves, a
        .npy of whole numbers: for many targets run this op without `targets` on a store of them, and take its
        `<by>_near_centroid`. Every worker finds the centroids of targets for itself, so that is refused where it takes
        over 2 * 10^12 multiplications.
    column: of a .parquet; by default that of `by`.
    centroids_sha256, targets_sha256: of the files; required for URLs. They, not the places, are part of the table's
        identity.
    made_by: the op that made the vectors of the files: `{score.clip: {model: ...}}`. Where `by` was made by another,
        the op refuses.

    Time grows with rows * centroids * dimensions.
    """

    columns_by_name: ClassVar[bool] = True
    cite: ClassVar[str] = "Gadre et al., DataComp, 2023; mlfoundations/datacomp baselines (image_based)"
    how: ClassVar[frozenset[str]] = Op.how | {
        "centroids", "centroids_sha256", "targets", "targets_sha256", "column", "made_by",
    }  # fmt: skip
    # Vectors of the files are made float32 again for each batch.
    batch_size: int = 16_384
    by: str = "clip_l14_img"
    centroids: str
    centroids_sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    targets: str = ""
    targets_sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    column: str = ""
    made_by: str | dict[str, Any] = ""

    #: float[k, d], and bool[k]: whether a target has the centroid.
    _centroids: Any = PrivateAttr(None)
    _hit: Any = PrivateAttr(None)

    def table(self) -> str:
        return self.name or f"{self.by}_near"

    def reads(self) -> tuple[str, ...]:
        return (self.by,)

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def makes(self) -> dict[str, pa.DataType]:
        kinds = {"centroid": pa.uint32(), "score": pa.float32(), **({"hit": pa.bool_()} if self.targets else {})}
        return {f"{self.table()}_{name}": kind for name, kind in kinds.items()}

    def _files(self) -> list[VectorFile]:
        """The file of centroids, and that of targets where there is one."""
        named = [(self.centroids, self.centroids_sha256), (self.targets, self.targets_sha256)]
        return [VectorFile(name, sha256, self.column or self.by) for name, sha256 in named if name]

    def weights(self) -> str:
        return "+".join(file.identity() for file in self._files())

    def check(self) -> None:
        for file in self._files():
            file.check(file.numbers)
        if not any(is_url(file.source) for file in self._files()):
            self._open()

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)
        if self.made_by:
            refuse_another_maker(self, self.by, made_by, self.centroids, load(self.made_by))

    def setup(self) -> None:
        self._centroids, targets = self._open()
        if targets is not None:
            self._hit = np.zeros(len(self._centroids), bool)
            self._hit[self._hits(targets)] = True

    def _open(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The centroids, and the targets: vectors, or numbers of centroids.

        Raises:
            CurateError: for files that do not fit each other, and for too many targets.
        """
        first, *others = self._files()
        centroids = first.vectors()
        for _ in in_tiles(centroids, first.source, unit=False):
            pass
        if not others:
            return centroids, None
        targets, (k, width) = others[0].numbers(), centroids.shape
        if not targets.size:
            raise CurateError(f"targets: '{self.targets}' is empty: no centroid would be hit, and no row kept")
        if targets.ndim == 1 and targets.dtype.kind in "iu":
            if (over := targets[(targets < 0) | (targets >= k)]).size:
                raise CurateError(f"targets: '{self.targets}' names centroid {over[0]}, '{self.centroids}' has {k:,}")
            return centroids, targets
        targets = others[0].vectors()
        if targets.shape[1] != width:
            raise CurateError(
                f"'{self.targets}' has vectors of {targets.shape[1]} numbers, '{self.centroids}' centroids of {width}: "
                "two models made them"
            )
        if len(targets) * k * width > MOST_WORK:
            raise CurateError(
                f"targets: {len(targets):,} vectors and {k:,} centroids are too many to be compared in every worker: "
                f"run score.near_centroids without `targets` on a store of them, and give the values of its "
                f"`{self.by}_near_centroid` as a .npy of whole numbers"
            )
        return centroids, targets

    def _hits(self, targets: np.ndarray) -> np.ndarray:
        if targets.ndim == 1:
            return np.asarray(targets).astype(np.int64)
        tiles = in_tiles(targets, self.targets, unit=False)
        return np.concatenate([np.unique(self._nearest(tile)[1]) for _, tile in tiles])

    def _nearest(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(greatest inner product of each row, the first centroid that has it)."""
        best, place = np.full(len(rows), -np.inf, np.float32), np.zeros(len(rows), np.int64)
        for first, tile in in_tiles(self._centroids, self.centroids, unit=False):
            product, which = nearest(rows, tile)
            better = product > best
            best, place = np.where(better, product, best), np.where(better, first + which, place)
        return best, place

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        stored = stored_vectors(rows[self.by], self.by, self._centroids.shape[1])
        score, centroid = self._nearest(stored.values)
        values = (centroid, score, *([] if self._hit is None else [self._hit[centroid]]))
        named = zip(self.makes().items(), values, strict=True)
        columns = {name: pa.array(value, kind, mask=~stored.good) for (name, kind), value in named}
        return {**columns, "status": stored.status}
