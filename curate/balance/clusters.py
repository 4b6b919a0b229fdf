"""Clusters of embeddings: spherical k-means on a seeded sample, then every row to its nearest centroid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.alike.vector_pairs import nearest
from curate.arrays.string_hash import hash_strings
from curate.arrays.vectors import lengths, read_vectors
from curate.errors import CurateError
from curate.models.made_by import refuse_older
from curate.op import Fitted, Rows, Summed


class Clusters(Fitted):
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

    def packages(self) -> tuple[str, ...]:
        return ("faiss", "numba")

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): pa.uint32(), f"{self.table()}_cos": pa.float32()}

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, "uid")))

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)

    def fit(self, summed: Summed) -> np.ndarray:
        """The centroids, float32[k, d] of length 1, from the sample of vectors of the length that most rows have."""
        sample = summed(self._samples).most()
        if sample is None:
            return np.zeros((0, 0), np.float32)
        rows = sample.vectors
        if len(rows) <= self.k:
            return rows
        import faiss

        options = {"niter": self.iterations, "seed": self.seed, "spherical": True, "min_points_per_centroid": 1}
        kmeans = faiss.Kmeans(rows.shape[1], self.k, max_points_per_centroid=len(rows), **options)
        kmeans.train(rows)
        return np.asarray(kmeans.centroids, np.float32)

    def _samples(self, rows: Rows) -> Samples:
        uids, numbers = rows["uid"], lengths(rows[self.by], self.by)
        total = Samples({})
        for length in np.unique(numbers[numbers > 0]).tolist():
            places = pa.array(np.flatnonzero(numbers == length))
            vectors = read_vectors(rows[self.by].take(places), self.by, length)
            good = [uid for uid, is_good in zip(uids.take(places).to_pylist(), vectors.good, strict=True) if is_good]
            ranks = hash_strings([f"{self.seed}:{uid}" for uid in good])
            total += Samples({length: Sample(ranks, vectors.unit[vectors.good], self.k * self.sample, len(good))})
        return total

    def batch(self, rows: Rows, fitted: Any) -> Mapping[str, Any]:
        vectors = read_vectors(rows[self.by], self.by, fitted.shape[1], another_model=False)
        cos, cluster = np.zeros(len(vectors.unit), np.float32), np.zeros(len(vectors.unit), np.int64)
        if vectors.good.any():
            cos[vectors.good], cluster[vectors.good] = nearest(vectors.unit[vectors.good], fitted)
        values = (cluster, cos)
        columns: dict[str, Any] = {
            name: pa.array(value, kind, mask=~vectors.good)
            for (name, kind), value in zip(self.makes().items(), values, strict=True)
        }
        return {**columns, "status": vectors.status}

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {"clusters": len(fitted)}


class Sample:
    """The vectors of the lowest ranks, of so many rows; adds up in any order."""

    def __init__(self, ranks: np.ndarray, vectors: np.ndarray, most: int, rows: int):
        order = np.argsort(ranks, kind="stable")[:most]
        self.ranks, self.vectors, self.most, self.rows = ranks[order], vectors[order], most, rows

    def __add__(self, other: Sample) -> Sample:
        ranks = np.concatenate([self.ranks, other.ranks])
        vectors = np.concatenate([self.vectors, other.vectors])
        return Sample(ranks, vectors, self.most, self.rows + other.rows)


class Samples:
    """A sample for each length of vectors."""

    def __init__(self, of: Mapping[int, Sample]):
        self.of = dict(of)

    def __add__(self, other: Samples) -> Samples:
        both = {n: self.of[n] + other.of[n] for n in self.of.keys() & other.of.keys()}
        return Samples({**self.of, **other.of, **both})

    def most(self) -> Sample | None:
        """That of the length that most rows have.

        Raises:
            CurateError: when two lengths have equally many: which rows are the odd ones cannot be told.
        """
        used = [item for item in self.of.items() if item[1].rows]
        ranked = sorted(used, key=lambda item: -item[1].rows)
        if len(ranked) > 1 and ranked[0][1].rows == ranked[1][1].rows:
            one, two = sorted((ranked[0][0], ranked[1][0]))
            raise CurateError(f"as many embeddings of {one} numbers as of {two}: two models made them")
        return ranked[0][1] if ranked else None
