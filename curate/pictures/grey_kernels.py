"""The compiled loops of grey: levels of pixels, and how often each level occurs."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.arrays.compiled import compiled, read

#: Tables that a histogram is counted in, so that equal neighbours do not wait for each other.
TABLES = 4


@compiled(read("uint8"))
def luma(colours: Any) -> Any:
    """uint8[n] of uint8[3 n]: ITU-R 601, rounded, in the whole numbers of 16 bits that Pillow's mode L takes."""
    levels = np.empty(len(colours) // 3, np.uint8)
    for i in range(len(levels)):
        red, green, blue = np.uint32(colours[3 * i]), np.uint32(colours[3 * i + 1]), np.uint32(colours[3 * i + 2])
        weighed = np.uint32(red * np.uint32(19595)) + np.uint32(green * np.uint32(38470))
        levels[i] = np.uint32(weighed + np.uint32(blue * np.uint32(7471)) + np.uint32(32768)) >> np.uint32(16)
    return levels


@compiled(read("uint8"))
def histogram(levels: Any) -> Any:
    """int64[256] of uint8[n]."""
    counts = np.zeros((TABLES, 256), np.int64)
    even = len(levels) // TABLES * TABLES
    for i in range(0, even, TABLES):
        for table in range(TABLES):
            counts[table, levels[i + table]] += 1
    for i in range(even, len(levels)):
        counts[0, levels[i]] += 1
    for k in range(256):
        for table in range(1, TABLES):
            counts[0, k] += counts[table, k]
    return counts[0]
