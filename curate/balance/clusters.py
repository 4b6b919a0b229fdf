"""Clusters of embeddings: spherical k-means on a seeded sample, then every row to its nearest centroid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.errors import CurateError
from curate.op import Counted, Rows
from curate.string_hash import hash_strings
from curate.vectors import nearest, unit_rows


class Clusters(Counted):
    """`<by>_cluster` is the number of the row's cluster, `<by>_cluster_cos` its cosine with the centroid.

    by: a column of embeddings, as score.clip stores them: `clip_img`.
    k: number of clusters. SemDeDup takes 50,000 for 440 M pairs.
    sample: rows that the centroids are trained on, per cluster: those whose uids have the lowest seeded hashes, so the
        same on any cluster and for any order of the rows. With fewer rows than k, each is a centroid.
    iterations: of k-means on the sample.

    One assignment pass follows. Training takes sample * k^2 * dimensions * iterations multiplications.
    """

    cite: ClassVar[str] = "Abbas et al., SemDeDup, 2023"
    batch_size: int = 10_000
    by: str
    k: int = Field(1000, ge=1, le=2**20)
    sample: int = Field(64, ge=1)
    iterations: int = Field(25, ge=1)
    seed: int = Field(1234, ge=0, lt=2**31)

    def table(self) -> str:
        return self.name or f"{self.by}_cluster"

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): pa.uint32(), f"{self.table()}_cos": pa.float32()}

    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, "uid")))

    def count(self, rows: Rows) -> Any:
        ranks = hash_strings([f"{self.seed}:{uid}" for uid in rows["uid"].to_pylist()])
        return Sample(ranks, unit_rows(rows[self.by], self.by), self.k * self.sample)

    def settle(self, total: Any) -> np.ndarray:
        """The centroids, float32[k, d] of length 1, from the sample."""
        rows = total.vectors
        if len(rows) <= self.k:
            return rows  # type: ignore[no-any-return]
        try:
            import faiss
        except ImportError as error:
            raise CurateError("balance.clusters needs faiss: pip install faiss-cpu") from error
        options = {"niter": self.iterations, "seed": self.seed, "spherical": True, "min_points_per_centroid": 1}
        kmeans = faiss.Kmeans(rows.shape[1], self.k, max_points_per_centroid=len(rows), **options)
        kmeans.train(rows)
        return np.asarray(kmeans.centroids, np.float32)

    def batch(self, rows: Rows, total: Any) -> Mapping[str, Any]:
        cos, cluster = nearest(unit_rows(rows[self.by], self.by, total.shape[1]), total)
        return {self.table(): cluster, f"{self.table()}_cos": cos}

    def report(self, total: Any) -> dict[str, Any]:
        return {"clusters": len(total)}


class Sample:
    """The vectors of the lowest ranks; adds up in any order."""

    def __init__(self, ranks: np.ndarray, vectors: np.ndarray, most: int):
        order = np.argsort(ranks, kind="stable")[:most]
        self.ranks, self.vectors, self.most = ranks[order], vectors[order], most

    def __add__(self, other: Sample) -> Sample:
        if not len(self.ranks) or not len(other.ranks):
            return self if len(self.ranks) else other
        if self.vectors.shape[1] != other.vectors.shape[1]:
            lengths = self.vectors.shape[1], other.vectors.shape[1]
            raise CurateError(f"embeddings of {lengths[0]} and of {lengths[1]} numbers: two models made them")
        ranks = np.concatenate([self.ranks, other.ranks])
        return Sample(ranks, np.concatenate([self.vectors, other.vectors]), self.most)
