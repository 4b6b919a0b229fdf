"""Clusters of embeddings: spherical k-means on a seeded sample, then every row to its nearest centroid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator, model_validator
from rich.markup import escape

from curate.alike.against_old import OldStore
from curate.alike.centroids import Centroids, digest, write_centroids
from curate.alike.vector_pairs import nearest, nearest_few
from curate.alike.vector_sample import Sample, Samples
from curate.arrays.string_hash import hash_strings
from curate.arrays.vectors import lengths, normalised, read_vectors, stored_vectors
from curate.errors import CurateError
from curate.messages.progress import console
from curate.models.made_by import refuse_older
from curate.op import Fitted, Rows, Summed

#: Options of training.
TRAINING = {"k", "sample", "iterations", "seed"}
#: Options that came later, and what they are without: tables keep the identity that they had before.
LATER = {"nearest": 1, "unit": True, "labels": 0}


class Clusters(Fitted):
    """`<by>_cluster` is the number of the row's cluster, `<by>_cluster_cos` its cosine with the centroid (with `unit`
    false `<by>_cluster_score`, their inner product).

    by: a column of embeddings, as score.clip stores them: `clip_img`.
    k: number of clusters. SemDeDup takes 50,000 for 440 M pairs.
    sample: rows that the centroids are trained on, per cluster: those whose uids have the lowest seeded hashes, so the
        same on any cluster and for any order of the rows. With fewer rows than k, each is a centroid.
    iterations: of k-means on the sample.
    nearest: for so many centroids, the nearest first; `<by>_cluster_2` is the second. dedupe.semantic then compares
        rows on two sides of a border.
    labels: `<by>_cluster_labels` lists so many centroids, the nearest first, as MLCD's 8 labels of an image.
    unit: false takes vectors as they are stored and trains centroids by Euclidean distance, which are not made length
        1; a row then belongs to the centroid with the greatest inner product, as DataComp's image-based filter has it.
    centroids: centroids that are taken in place of training: a store, for those of its table of the same name, or a
        .npy (k x d). The clusters then mean the same as there, as `against` of dedupe.semantic wants it. `k`, `sample`,
        `iterations` and `seed` are for training. Nothing is written there.
    write: a .npy that the centroids are written to, for score.near_centroids or another store.

    The centroids are kept beside the table. One assignment pass follows. Training takes sample * k^2 * dimensions *
    iterations multiplications.
    """

    cite: ClassVar[str] = "Abbas et al., SemDeDup, 2023"
    how: ClassVar[frozenset[str]] = Fitted.how | {"write"}
    batch_size: int = 10_000
    by: str
    k: int = Field(1000, ge=1, le=2**20)
    sample: int = Field(64, ge=1)
    iterations: int = Field(25, ge=1)
    seed: int = Field(1234, ge=0, lt=2**31)
    nearest: int = Field(1, ge=1, le=8)
    labels: int = Field(0, ge=0, le=64)
    unit: bool = True
    centroids: str = ""
    write: str = ""

    @field_validator("write")
    @classmethod
    def _is_npy(cls, write: str) -> str:
        if write and not write.endswith(".npy"):
            raise ValueError(f"'{write}' does not end in .npy")
        return write

    @model_validator(mode="after")
    def _trained_or_taken(self) -> Clusters:
        if self.centroids and (also := sorted(self.model_fields_set & TRAINING)):
            raise ValueError(f"`{also[0]}` is for training: with `centroids` there is none")
        return self

    def spec(self) -> dict[str, Any]:
        spec = super().spec()
        for name in [name for name, usual in LATER.items() if getattr(self, name) == usual]:
            del spec["options"][name]
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
        near = "cos" if self.unit else "score"
        more: dict[str, pa.DataType] = {
            f"{self.table()}_{number}": pa.uint32() for number in range(2, self.nearest + 1)
        }
        more |= {f"{self.table()}_labels": pa.list_(pa.uint32())} if self.labels else {}
        return {self.table(): pa.uint32(), f"{self.table()}_{near}": pa.float32(), **more}

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, "uid")))

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)
        if not self.centroids or self.centroids.partition("?")[0].endswith(".npy"):
            return
        if fault := OldStore.of(self.centroids).fault(self.by, made_by.get(self.by, {})):
            raise CurateError(f"balance.clusters: {fault}")

    def fit(self, summed: Summed) -> np.ndarray:
        """The centroids, float32[k, d], of length 1 where vectors are, from the sample of vectors of the length that
        most rows have."""
        if self.centroids:
            taken = Centroids.of(self.centroids, self.table()).read()
            # Those of this op stay as they are, to the last bit.
            of_length_1 = np.allclose(np.linalg.norm(taken, axis=1), 1, atol=1e-4)
            return normalised(taken, self.centroids) if self.unit and not of_length_1 else taken
        sample = summed(self._samples).most()
        if sample is None:
            return np.zeros((0, 0), np.float32)
        rows = sample.vectors
        if len(rows) <= self.k:
            return rows
        import faiss

        options = {"niter": self.iterations, "seed": self.seed, "spherical": self.unit, "min_points_per_centroid": 1}
        kmeans = faiss.Kmeans(rows.shape[1], self.k, max_points_per_centroid=len(rows), **options)
        kmeans.train(rows)
        return np.asarray(kmeans.centroids, np.float32)

    def _samples(self, rows: Rows) -> Samples:
        uids, numbers = rows["uid"], lengths(rows[self.by], self.by)
        total = Samples({})
        for length in np.unique(numbers[numbers > 0]).tolist():
            places = pa.array(np.flatnonzero(numbers == length))
            vectors, status = self._vectors(rows[self.by].take(places), length, True)
            good = [uid for uid, word in zip(uids.take(places).to_pylist(), status, strict=True) if word == "ok"]
            ranks = hash_strings([f"{self.seed}:{uid}" for uid in good])
            total += Samples({length: Sample(ranks, vectors[status == "ok"], self.k * self.sample, len(good))})
        return total

    def _vectors(self, column: pa.Array, width: int, refused: bool) -> tuple[np.ndarray, np.ndarray]:
        """(float32[n, width], a word per row). refused: whether vectors of another model are."""
        if self.unit:
            return read_vectors(column, self.by, width, another_model=refused)
        return stored_vectors(column, self.by, width, another_model=refused)

    def batch(self, rows: Rows, fitted: Any) -> Mapping[str, Any]:
        vectors, status = self._vectors(rows[self.by], fitted.shape[1], bool(self.centroids))
        good, number = status == "ok", max(self.nearest, self.labels)
        near, clusters = np.zeros(len(vectors), np.float32), np.full((number, len(vectors)), -1)
        if good.any():
            near[good], clusters[0, good] = nearest(vectors[good], fitted)
        if good.any() and number > 1:
            clusters[:, good] = nearest_few(vectors[good], fitted, number).T
        first, cosines, *_ = self.makes()
        numbers = dict(zip([first, *(f"{first}_{n}" for n in range(2, self.nearest + 1))], clusters, strict=False))
        columns: dict[str, Any] = {
            name: pa.array(value, pa.uint32(), mask=~good | (value < 0)) for name, value in numbers.items()
        }
        columns[cosines] = pa.array(near, pa.float32(), mask=~good)
        if self.labels:
            columns[f"{first}_labels"] = _lists(clusters[: self.labels].T, good)
        return {**columns, "status": status}

    def export(self, learned: pa.Table) -> None:
        if self.write:
            column = learned["centroid"].combine_chunks()
            rows = np.asarray(column.flatten()).reshape(len(column), column.type.list_size)
            write_centroids(rows, self.write)
            console.print(f"[dim]{self.table()}: {len(rows):,} centroids of {rows.shape[1]} in {escape(self.write)}")

    def learned(self, fitted: Any) -> pa.Table:
        numbers = pa.array(np.ascontiguousarray(fitted, np.float32).ravel())
        return pa.table({"centroid": pa.FixedSizeListArray.from_arrays(numbers, max(1, fitted.shape[1]))})

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {"clusters": len(fitted), "centroids": digest(fitted)}


def _lists(labels: np.ndarray, good: np.ndarray) -> pa.Array:
    """list<uint32> of int64[n, m], without -1; null where not `good` (bool[n])."""
    known = (labels >= 0) & good[:, None]
    ends = np.append(0, np.cumsum(known.sum(axis=1))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(labels[known], pa.uint32()), mask=pa.array(~good))
