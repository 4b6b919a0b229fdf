"""The share of close pairs that lie in different clusters: measured for a sample of rows, with all rows there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.arrays.rows import Rows
from curate.arrays.vectors import lengths, read_vectors

#: Rows whose cosines with the sample are held at a time.
AT_ONCE = 4096


@dataclass(frozen=True)
class Sample:
    """Rows of the lowest ranks, `most` of them or fewer; adds up in any order.

    ranks: uint64[n]. places: int64[n], of the rows among all. vectors: of length 1, each float32[d].
    clusters: int64[n, c], -1 where there is none.
    """

    ranks: np.ndarray
    places: np.ndarray
    vectors: list[np.ndarray]
    clusters: np.ndarray
    most: int

    @classmethod
    def of(
        cls,
        ranks: np.ndarray,
        usable: np.ndarray,
        places: np.ndarray,
        column: pa.Array,
        name: str,
        clusters: np.ndarray,
        most: int,
    ) -> Sample:
        """From rows, those of them that are `usable` (bool[n]) and have a vector and a cluster. column: the vectors."""
        sizes = lengths(column, name)
        chosen = np.flatnonzero(usable & (sizes > 0) & (clusters[:, 0] >= 0))
        chosen = chosen[np.lexsort((places[chosen], ranks[chosen]))][:most]
        vectors = [read_vectors(column.slice(i, 1), name, sizes[i]).unit[0] for i in chosen.tolist()]
        whole = np.array([vector.any() for vector in vectors], bool)
        chosen = chosen[whole]
        kept = [vector for vector, good in zip(vectors, whole.tolist(), strict=True) if good]
        return cls(ranks[chosen], places[chosen], kept, clusters[chosen], most)

    def __add__(self, other: Sample) -> Sample:
        ranks, places = (np.concatenate([getattr(self, n), getattr(other, n)]) for n in ("ranks", "places"))
        order = np.lexsort((places, ranks))[: self.most]
        vectors = [*self.vectors, *other.vectors]
        clusters = np.concatenate([self.clusters, other.clusters])
        return Sample(ranks[order], places[order], [vectors[i] for i in order], clusters[order], self.most)


def places_of(rows: Rows) -> np.ndarray:
    """int64[n]: of each row's shard and row, one number."""
    shard, row = (rows[name].to_numpy(zero_copy_only=False).astype(np.int64) for name in ("shard", "row"))
    return (shard << 32) | row  # type: ignore[no-any-return]


def parted(
    sample: Sample, places: np.ndarray, column: pa.Array, name: str, clusters: np.ndarray, over: float
) -> np.ndarray:
    """int64[1 + c]: pairs of a row of the sample and another of these rows with a cosine over `over`; and how many of
    them share none of their first, first two, ... clusters."""
    sizes = lengths(column, name)
    count = np.zeros(1 + clusters.shape[1], np.int64)
    for length in {len(vector) for vector in sample.vectors}:
        probes = np.flatnonzero([len(vector) == length for vector in sample.vectors])
        unit = np.stack([sample.vectors[i] for i in probes])
        alike = np.flatnonzero((sizes == length) & (clusters[:, 0] >= 0))
        for start in range(0, len(alike), AT_ONCE):
            rows = alike[start : start + AT_ONCE]
            cos = read_vectors(column.take(pa.array(rows)), name, length).unit @ unit.T
            a, b = np.nonzero(cos > over)
            a, b = rows[a], probes[b]
            other = places[a] != sample.places[b]
            count += _parted(clusters[a[other]], sample.clusters[b[other]])
    return count


def _parted(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pairs, and those that share none of their first clusters."""
    shared = (a[:, :, None] == b[:, None, :]) & (a[:, :, None] >= 0)
    return np.array(
        [len(a), *((~shared[:, :n, :n].any(axis=(1, 2))).sum() for n in range(1, a.shape[1] + 1))], np.int64
    )
