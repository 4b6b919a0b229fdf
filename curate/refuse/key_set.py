"""A set of keys in two sorted columns of uint64: 16 bytes a key, in memory or mapped from a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class KeySet:
    """high, low: uint64[n], sorted by high, then low; each key once."""

    high: np.ndarray
    low: np.ndarray

    @classmethod
    def of(cls, keys: np.ndarray) -> KeySet:
        """keys: uint64[n, 2], in any order, some of them twice.

        >>> keys = KeySet.of(np.array([[7, 1], [3, 2], [7, 1]], np.uint64))
        >>> len(keys), keys.holds(np.array([[7, 1], [7, 2]], np.uint64)).tolist()
        (2, [True, False])
        """
        keys = distinct(keys)
        return cls(np.ascontiguousarray(keys[:, 0]), np.ascontiguousarray(keys[:, 1]))

    def __len__(self) -> int:
        return len(self.high)

    def holds(self, keys: np.ndarray) -> np.ndarray:
        """bool[m]: which of the keys, uint64[m, 2], are in the set."""
        inside = np.zeros(len(keys), bool)
        if not len(self):
            return inside
        # In order, so that neighbours in a mapped file are read together.
        order = np.argsort(keys[:, 0], kind="stable")
        at = np.searchsorted(self.high, keys[order, 0])
        waiting = np.arange(len(order))
        while len(waiting):  # a second time only where two keys share a high half
            place = at[waiting]
            waiting = waiting[place < len(self)]
            place = place[place < len(self)]
            asked = keys[order[waiting]]
            same = self.high[place] == asked[:, 0]
            waiting, place, asked = waiting[same], place[same], asked[same]
            equal = self.low[place] == asked[:, 1]
            inside[order[waiting[equal]]] = True
            waiting = waiting[~equal]
            at[waiting] += 1
        return inside


def distinct(keys: np.ndarray) -> np.ndarray:
    """uint64[m, 2]: the keys sorted, each once."""
    keys = keys[np.lexsort((keys[:, 1], keys[:, 0]))]
    if len(keys):
        keys = keys[np.append(True, (keys[1:] != keys[:-1]).any(axis=1))]
    return keys
