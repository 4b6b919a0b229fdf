"""Seeded batches of rows: which rows are compared together, the same on any cluster and in any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.arrays.string_hash import hash_pairs, hash_strings


@dataclass(frozen=True)
class Batches:
    """Several partitions of the rows into batches, by a hash of (seed, partition, uid).

    joined: int64[partitions, m], the batch that each of m hashes belongs to: too small ones are put together.
    """

    seed: int
    joined: np.ndarray

    @classmethod
    def equal(cls, seed: int, partitions: int, rows: int, size: int) -> Batches:
        """ceil(rows / size) of them, which have about as many rows each."""
        number = max(1, -(-rows // size))
        return cls(seed, np.tile(np.arange(number), (partitions, 1)))

    def of(self, uids: pa.Array) -> np.ndarray:
        """int64[partitions, n]: the batch of each row."""
        hashes = hash_strings(uids)
        batches = np.empty((len(self.joined), len(hashes)), np.int64)
        for partition, joined in enumerate(self.joined):
            draws = hash_pairs(hashes, np.full(len(hashes), partition, np.uint64), self.seed)
            batches[partition] = joined[(draws % np.uint64(len(joined))).astype(np.int64)]
        return batches

    def sizes(self, uids: pa.Array) -> np.ndarray:
        """int64[partitions, m]: the rows of each batch; adds up."""
        return np.stack([np.bincount(batch, minlength=self.joined.shape[1]) for batch in self.of(uids)])

    def without_small(self, sizes: np.ndarray, least: float) -> Batches:
        """The same with each batch of fewer than `least` rows put together with its neighbours. sizes: of all rows."""
        if (sizes >= least).all():
            return self
        return Batches(self.seed, np.stack([_joined(some, least) for some in sizes]))


def _joined(sizes: np.ndarray, least: float) -> np.ndarray:
    """
    >>> _joined(np.array([1, 5, 4, 2]), 3).tolist(), _joined(np.array([1, 1]), 3).tolist()
    ([0, 0, 1, 1], [0, 0])
    """
    numbers, number, rows = np.zeros(len(sizes), np.int64), 0, 0
    for place, size in enumerate(sizes.tolist()):
        if rows >= least:
            number, rows = number + 1, 0
        numbers[place] = number
        rows += size
    # The last one may be too small still: it goes to the one before.
    return np.minimum(numbers, number - 1) if rows < least and number else numbers
