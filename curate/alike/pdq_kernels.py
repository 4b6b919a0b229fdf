"""The compiled loop of PDQ: an image shrunk to 64 x 64, and how much of it changes from place to place."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.arrays.compiled import compiled, read

#: Rows that are shrunk together, pixel by pixel: one does not wait for the sums of another.
ROWS = 8


@compiled(read("uint8", 2), read("float64", 2), read("int64", 2), read("float64", 2), read("int64", 2))
def shrunk(colours: Any, across: Any, across_ends: Any, down: Any, down_ends: Any) -> Any:
    """float64[places, places] of the brightness of uint8[height, 3 x width]: float32, thousandths of R 299 + G 587 +
    B 114. Every sum goes from left to right and from the top down, so that it is rounded in one way only.

    across, down: float64[places, most], the weights of a place from its first pixel on; with ends int64[places, 2], its
        first pixel and the one behind its last.
    """
    height, width, places = len(colours), colours.shape[1] // 3, len(across)
    rows = np.empty((height, places))
    grey, sums = np.zeros((width, ROWS)), np.empty(ROWS)
    for top in range(0, height, ROWS):
        some = min(ROWS, height - top)
        for r in range(some):
            row = colours[top + r]
            for x in range(width):
                whole = np.int32(row[3 * x]) * 299 + np.int32(row[3 * x + 1]) * 587 + np.int32(row[3 * x + 2]) * 114
                grey[x, r] = np.float32(whole) / np.float32(1000)
        for j in range(places):
            first, weights = across_ends[j, 0], across[j]
            sums[:] = 0.0
            for k in range(across_ends[j, 1] - first):
                for r in range(ROWS):
                    sums[r] += weights[k] * grey[first + k, r]
            for r in range(some):
                rows[top + r, j] = sums[r]
    small = np.zeros((places, places))
    for i in range(places):
        for k in range(down_ends[i, 1] - down_ends[i, 0]):
            row, weight = rows[down_ends[i, 0] + k], down[i, k]
            for j in range(places):
                small[i, j] += weight * row[j]
    return small


@compiled(read("float64", 2))
def steps(small: Any) -> Any:
    """Sum of the differences of all neighbours in both directions, each in whole hundredths of 255, cut off."""
    total = 0.0
    for i in range(len(small)):
        for j in range(len(small)):
            if i:
                total += abs(np.trunc((small[i, j] - small[i - 1, j]) * 100 / 255))
            if j:
                total += abs(np.trunc((small[i, j] - small[i, j - 1]) * 100 / 255))
    return total
