"""Which keys are met, as marks in a row of bits (Bloom, 1970): an old row that has none of them meets no new row."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.store.store import Store

#: Bits that a key sets.
PROBES = 4
#: Rows that only look as if they met one, for each new row, at most; more where memory is short of bits.
MISTAKEN = 1 / 20
#: Part of a worker's memory that marks may take.
MEMORY_SHARE = 8
#: Odd numbers that spread keys: the golden ratio's and MurmurHash3's.
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFF51AFD7ED558CCD)


def bits_for(new: int, old: int, bands: int, memory: int) -> int:
    """Bits for the keys of so many new rows, a power of two; 0 where a worker's memory has no room for a quarter of
    them.

    old: rows that are looked at. bands: keys of a row. memory: bytes of a worker.

    >>> bits_for(1000, 9000, 1, 10**9), bits_for(10**9, 9 * 10**9, 18, 10**9)
    (16384, 0)
    """
    per_key = PROBES * max(1.0, bands * old / max(1, new) / MISTAKEN) ** (1 / PROBES)
    bits = 1 << max(6, math.ceil(math.log2(max(1, new * bands) * per_key)))
    most = 1 << max(6, (8 * memory // MEMORY_SHARE).bit_length() - 1)
    return min(bits, most) if most >= bits // 4 else 0


def spread(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """uint64[n] of keys of two uint64 each: equal for equal keys, and all bits hang on all of theirs."""
    spread = (first * _FIRST) ^ second
    for _ in range(2):
        spread ^= spread >> np.uint64(32)
        spread *= _SECOND
    spread ^= spread >> np.uint64(32)
    return spread  # type: ignore[no-any-return]


@dataclass(frozen=True)
class KeyMarks:
    """words: uint64[n], of n a power of two."""

    words: np.ndarray

    @classmethod
    def none(cls, bits: int) -> KeyMarks:
        return cls(np.zeros(bits // 64, np.uint64))

    @classmethod
    def read(cls, store: Store, name: str) -> KeyMarks:
        return cls(store.read_file(name)["marks"].to_numpy())

    def write(self, store: Store, name: str) -> None:
        store.write_file(name, pa.table({"marks": self.words}), compression="none")

    def mark(self, keys: np.ndarray) -> None:
        """keys: uint64[m], spread.

        >>> marks = KeyMarks.none(1024)
        >>> keys = spread(np.arange(3, dtype=np.uint64), np.zeros(3, np.uint64))
        >>> marks.mark(keys[:2])
        >>> marks.holds(keys).tolist()
        [True, True, False]
        """
        for probe in range(PROBES):
            np.bitwise_or.at(self.words, *self._place(keys, probe))

    def holds(self, keys: np.ndarray) -> np.ndarray:
        """bool[m]: whether a key is marked; true of all that are, and by chance of a few others."""
        marked: np.ndarray = np.arange(len(keys))
        for probe in range(PROBES):  # most keys are done with after the first
            word, bit = self._place(keys[marked], probe)
            marked = marked[self.words[word] & bit != 0]
        held = np.zeros(len(keys), bool)
        held[marked] = True
        return held

    def _place(self, keys: np.ndarray, probe: int) -> tuple[np.ndarray, np.ndarray]:
        """One of the bits of each key: the word that it lies in, and the bit there."""
        step = (keys * _FIRST >> np.uint64(20)) | np.uint64(1)
        place = (keys + np.uint64(probe) * step) & np.uint64(64 * len(self.words) - 1)
        return (place >> np.uint64(6)).astype(np.int64), np.uint64(1) << (place & np.uint64(63))
