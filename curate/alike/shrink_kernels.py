"""The compiled loops of shrinking: one direction each, rounded to whole levels; and low frequencies of what is left.

Sums are of whole numbers of 32 bits, so the order in which a processor adds them up changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.arrays.compiled import compiled, inlined, read

#: As curate.alike.shrink has it: a change there is not seen by numba's cache.
BITS = 22
HALF = 1 << (BITS - 1)


@inlined
def level(total: Any) -> Any:
    return np.uint8(min(max(total >> BITS, 0), 255))


@compiled(read("uint8", 2), read("int32", 2), read("int64"), read("int64"))
def across(levels: Any, weights: Any, first: Any, count: Any) -> Any:
    """uint8[rows, places] of uint8[rows, pixels]."""
    out = np.empty((len(levels), len(weights)), np.uint8)
    for i in range(len(levels)):
        for j in range(len(weights)):
            pixels, times = levels[i, first[j] : first[j] + count[j]], weights[j, : count[j]]
            total = np.int32(HALF)
            for k in range(len(pixels)):
                total += np.int32(times[k]) * np.int32(pixels[k])
            out[i, j] = level(total)
    return out


@compiled(read("uint8", 2), read("int32", 2), read("int64"), read("int64"))
def down(levels: Any, weights: Any, first: Any, count: Any) -> Any:
    """uint8[places, columns] of uint8[pixels, columns]."""
    out = np.empty((len(weights), levels.shape[1]), np.uint8)
    totals = np.empty(levels.shape[1], np.int32)
    for i in range(len(weights)):
        totals[:] = HALF
        for k in range(count[i]):
            pixels, times = levels[first[i] + k], weights[i, k]
            for j in range(len(totals)):
                totals[j] += np.int32(times) * np.int32(pixels[j])
        for j in range(len(totals)):
            out[i, j] = level(totals[j])
    return out


@compiled(read("float64", 2), read("float64", 2))
def frequencies(cosines: Any, small: Any) -> Any:
    """float64[kept, kept] of float64[side, side]; cosines: float64[kept, side]. Plain loops: the library behind numpy's
    product takes a thread per core, where this runs in threads already (ten times slower), and rounds another way
    elsewhere."""
    kept, side = cosines.shape
    half, waves = np.zeros((kept, side)), np.zeros((kept, kept))
    for i in range(kept):
        for k in range(side):
            for j in range(side):
                half[i, j] += cosines[i, k] * small[k, j]
    for i in range(kept):
        for j in range(kept):
            for k in range(side):
                waves[i, j] += half[i, k] * cosines[j, k]
    return waves
