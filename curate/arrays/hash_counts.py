"""Counts of strings by their hash: sums of parts are equal in any order, and no string is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curate.arrays.string_hash import hash_strings


class HashCounts:
    """How often each string stands in a pool, by its XXH64: among 10^8 strings two share one by a chance of 1 in 3,700.

    Adding puts parts aside and sorts them in when they are as large as what is there: each is sorted a few times.

    >>> both = HashCounts.of(pa.array(["a", "b", "a"])) + HashCounts.of(pa.array(["a"]))
    >>> both.find(hash_strings(pa.array(["a", "b", "c"]))).tolist(), both.total()
    ([3, 1, 0], 4)
    """

    def __init__(self, hashes: np.ndarray, counts: np.ndarray):
        """hashes: uint64[n], sorted, each once. counts: int64[n]."""
        self._parts = [(hashes, counts)]

    @classmethod
    def of(cls, strings: pa.Array) -> HashCounts:
        hashes, counts = np.unique(hash_strings(strings), return_counts=True)
        return cls(hashes, counts.astype(np.int64))

    @property
    def hashes(self) -> np.ndarray:
        return self._whole()[0]

    @property
    def counts(self) -> np.ndarray:
        return self._whole()[1]

    def total(self) -> int:
        return int(self.counts.sum())

    def __len__(self) -> int:
        return len(self.hashes)

    def __add__(self, other: HashCounts) -> HashCounts:
        total = HashCounts(*self._parts[0])
        total._parts = [*self._parts, *other._parts]
        while len(total._parts) > 1 and 2 * len(total._parts[-1][0]) >= len(total._parts[-2][0]):
            total._parts[-2:] = [_merged(total._parts[-2:])]
        return total

    def at_least(self, count: int) -> HashCounts:
        """Those that stand so often or more."""
        enough = self.counts >= count
        return HashCounts(self.hashes[enough], self.counts[enough])

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """int64[n]: the count of each hash, 0 for one that is not there."""
        if not len(self):
            return np.zeros(len(hashes), np.int64)
        place = np.minimum(np.searchsorted(self.hashes, hashes), len(self) - 1)
        return np.where(self.hashes[place] == hashes, self.counts[place], 0)

    def _whole(self) -> tuple[np.ndarray, np.ndarray]:
        if len(self._parts) > 1:
            self._parts = [_merged(self._parts)]
        return self._parts[0]

    def __getstate__(self) -> dict[str, Any]:
        self._whole()
        return self.__dict__


def _merged(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    hashes = np.concatenate([part[0] for part in parts])
    order = np.argsort(hashes, kind="stable")
    hashes, counts = hashes[order], np.concatenate([part[1] for part in parts])[order]
    first = np.flatnonzero(np.diff(hashes, prepend=hashes[:1] + np.uint64(1)) != 0) if len(hashes) else np.zeros(0, int)
    return hashes[first], np.add.reduceat(counts, first) if len(first) else counts
