"""Which rows have the greatest scores of a float32 column: found by two histograms of its bits, exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from curate.op import Rows

#: Bins of the upper, and of the lower, half of 32 bits.
BINS = 1 << 16


def _ordered(column: pa.Array) -> np.ndarray:
    """uint32[m], in the order of the scores, of the rows that have one."""
    scores = column.drop_null().to_numpy(zero_copy_only=False).astype(np.float32) + np.float32(0)  # -0.0 is 0.0
    bits = scores[~np.isnan(scores)].view(np.uint32)
    return np.asarray(np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)))


@dataclass(frozen=True)
class BestOf:
    """Scores whose ordered bits are `least` or more. rows: how many of the best of a bin are still to be found."""

    least: int
    rows: int = 0

    @classmethod
    def none(cls) -> BestOf:
        return cls(1 << 32)

    def narrowed(self, low: Histogram) -> BestOf:
        """By the histogram of the lower bits in this bin."""
        return replace(low.bin_of(self.rows), least=self.least + (low.bin_of(self.rows).least >> 16))

    def holds(self, column: pa.Array) -> np.ndarray:
        """bool[n]; false for a row without a score."""
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        held = np.zeros(len(column), bool)
        held[valid] = _ordered(column).astype(np.int64) >= self.least
        return held


@dataclass(frozen=True)
class Histogram:
    """int64[BINS] of the upper 16 bits, or of the lower ones of those in a bin; adds up."""

    counts: np.ndarray

    @classmethod
    def of(cls, rows: Rows, column: str, inside: BestOf | None = None) -> Histogram:
        bits = _ordered(rows[column])
        if inside is not None:
            bits = bits[bits >> 16 == inside.least >> 16] << 16
        return cls(np.bincount(bits >> 16, minlength=BINS).astype(np.int64))

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.counts + other.counts)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def bin_of(self, rows: int) -> BestOf:
        """The bin in which the last of so many best scores lies, and how many of its own are among them."""
        above = np.cumsum(self.counts[::-1])[::-1]
        place = int(np.flatnonzero(above >= rows)[-1])
        return BestOf(place << 16, rows - int(above[place] - self.counts[place]))
