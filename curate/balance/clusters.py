"""Clusters of embeddings: spherical k-means on a seeded sample, then every row to its nearest centroid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field, model_validator

from curate.alike.against_old import OldStore
from curate.alike.vector_pairs import nearest, nearest_few
from curate.arrays.string_hash import hash_strings
from curate.arrays.vectors import lengths, read_vectors
from curate.errors import CurateError
from curate.models.made_by import refuse_older
from curate.op import Fitted, Rows, Summed
from curate.store.store import LEARNED, Store

#: Options of training.
TRAINING = {"k", "sample", "iterations", "seed"}


class Clusters(Fitted):
    """`<by>_cluster` is the number of the row's cluster, `<by>_cluster_cos` its cosine with the centroid.

    by: a column of embeddings, as score.clip stores them: `clip_img`.
    k: number of clusters. SemDeDup takes 50,000 for 440 M pairs.
    sample: rows that the centroids are trained on, per cluster: those whose uids have the lowest seeded hashes, so the
        same on any cluster and for any order of the rows. With fewer rows than k, each is a centroid.
    iterations: of k-means on the sample.
    nearest: for so many centroids, the nearest first; `<by>_cluster_2` is the second. dedupe.semantic then compares
        rows on two sides of a border.
    centroids: a store whose centroids are taken, by the table of the same name there, in place of training: the
        clusters of both then mean the same, as `against` of dedupe.semantic wants it. `k`, `sample`, `iterations` and
        `seed` are for training. Nothing is written there.

    The centroids are kept beside the table. One assignment pass follows. Training takes sample * k^2 * dimensions *
    iterations multiplications.
    """

    cite: ClassVar[str] = "Abbas et al., SemDeDup, 2023"
    batch_size: int = 10_000
    by: str
    k: int = Field(1000, ge=1, le=2**20)
    sample: int = Field(64, ge=1)
    iterations: int = Field(25, ge=1)
    seed: int = Field(1234, ge=0, lt=2**31)
    nearest: int = Field(1, ge=1, le=8)
    centroids: str = ""

    @model_validator(mode="after")
    def _trained_or_taken(self) -> Clusters:
        if self.centroids and (also := sorted(self.model_fields_set & TRAINING)):
            raise ValueError(f"`{also[0]}` is for training: with `centroids` there is none")
        return self

    def spec(self) -> dict[str, Any]:
        spec = super().spec()
        if self.nearest == 1:
            # Tables keep the identity that they had before there was the option.
            del spec["options"]["nearest"]
        # Which centroids they are is in the weights.
        for name in ("centroids", *(sorted(TRAINING) if self.centroids else ())):
            del spec["options"][name]
        return spec

    def weights(self) -> str:
        return Centroids.of(self.centroids, self.table()).name if self.centroids else ""

    def check(self) -> None:
        self.weights()

    def table(self) -> str:
        return self.name or f"{self.by}_cluster"

    def packages(self) -> tuple[str, ...]:
        return ("faiss", "numba")

    def makes(self) -> dict[str, pa.DataType]:
        more = {f"{self.table()}_{number}": pa.uint32() for number in range(2, self.nearest + 1)}
        return {self.table(): pa.uint32(), f"{self.table()}_cos": pa.float32(), **more}

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, "uid")))

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)
        if self.centroids and (fault := OldStore.of(self.centroids).fault(self.by, made_by.get(self.by, {}))):
            raise CurateError(f"balance.clusters: {fault}")

    def fit(self, summed: Summed) -> np.ndarray:
        """The centroids, float32[k, d] of length 1, from the sample of vectors of the length that most rows have."""
        if self.centroids:
            return Centroids.of(self.centroids, self.table()).read()
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
        cos, cluster = np.zeros(len(vectors.unit), np.float32), np.full((self.nearest, len(vectors.unit)), -1)
        if vectors.good.any():
            cos[vectors.good], cluster[0, vectors.good] = nearest(vectors.unit[vectors.good], fitted)
        if vectors.good.any() and self.nearest > 1:
            cluster[:, vectors.good] = nearest_few(vectors.unit[vectors.good], fitted, self.nearest).T
        columns: dict[str, Any] = {
            name: pa.array(value, kind, mask=~vectors.good | (value < 0 if name != f"{self.table()}_cos" else False))
            for (name, kind), value in zip(self.makes().items(), (cluster[0], cos, *cluster[1:]), strict=True)
        }
        return {**columns, "status": vectors.status}

    def learned(self, fitted: Any) -> pa.Table:
        numbers = pa.array(np.ascontiguousarray(fitted, np.float32).ravel())
        return pa.table({"centroid": pa.FixedSizeListArray.from_arrays(numbers, max(1, fitted.shape[1]))})

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {"clusters": len(fitted), "centroids": digest(fitted)}


def digest(centroids: np.ndarray) -> str:
    """12 hex digits that tell centroids from others."""
    return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(centroids, np.float32).tobytes())[:12]


@dataclass(frozen=True)
class Centroids:
    """Those of a table of a store. name: their digest."""

    store: Store
    folder: str
    name: str

    @classmethod
    def of(cls, store: str, table: str) -> Centroids:
        """
        Raises:
            CurateError: when there is no such table, or it keeps no centroids.
        """
        old = OldStore.of(store)
        folder = old.manifest.table_folder(table, old.name)
        if not (name := old.learned(folder)):
            raise CurateError(
                f"centroids: table '{table}' of {old.name} keeps none: it is not of balance.clusters, or of an earlier "
                f"curate; delete the folder {old.name}/{folder}, and make it again there"
            )
        return cls(old.view.store, folder, name)

    def read(self) -> np.ndarray:
        table = self.store.read_file(f"{self.folder}/{LEARNED}")
        column = table["centroid"].combine_chunks()
        return np.asarray(column.flatten()).reshape(len(column), column.type.list_size)


class Sample:
    """The vectors of the lowest ranks, `most` of them, of so many rows; adds up in any order.

    Half as many more are held at most: to sort them out copies all.
    """

    def __init__(self, ranks: np.ndarray, vectors: np.ndarray, most: int, rows: int):
        self._parts = [(ranks, vectors)]
        self._last: int | None = None  # a rank behind which none stays, once there are enough
        self.most, self.rows = most, rows

    @property
    def ranks(self) -> np.ndarray:
        return self._sort_out()[0]

    @property
    def vectors(self) -> np.ndarray:
        return self._sort_out()[1]

    def __add__(self, other: Sample) -> Sample:
        total = Sample(*self._parts[0], self.most, self.rows + other.rows)
        total._parts, total._last = [*self._parts, *map(self._lower, other._parts)], self._last
        if sum(len(ranks) for ranks, _ in total._parts) > 1.5 * self.most:
            total._sort_out()
        return total

    def _lower(self, part: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """What of another's part may stay."""
        if self._last is None:
            return part
        low = part[0] < self._last
        return part[0][low], part[1][low]

    def __getstate__(self) -> dict[str, Any]:
        self._sort_out()
        return self.__dict__

    def _sort_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Hold what stays, by rank; of equal ranks the one that was added first comes first."""
        ranks = np.concatenate([ranks for ranks, _ in self._parts])
        order = np.argsort(ranks, kind="stable")[: self.most]
        if len(self._parts) > 1 or not np.array_equal(order, np.arange(len(ranks))):
            vectors, first = np.empty((len(order), *self._parts[0][1].shape[1:]), np.float32), 0
            for part, some in self._parts:
                here = np.flatnonzero((order >= first) & (order < first + len(part)))
                vectors[here] = some[order[here] - first]
                first += len(part)
            self._parts = [(ranks[order], vectors)]
        if len(order) == self.most:
            self._last = int(self._parts[0][0][-1])
        return self._parts[0]


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
