"""The compiled loop of PDQ: an image shrunk to 64 x 64, and the low frequencies of that."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.arrays.compiled import compiled


@compiled
def shrunk(grey: Any, across: Any, across_ends: Any, down: Any, down_ends: Any, cosines: Any) -> Any:
    """(float64[64, 64], its frequencies float64[16, 16]). Plain loops: the library behind numpy's product takes a
    thread per core, where this runs in threads already (ten times slower), and rounds another way elsewhere."""
    kept, side = cosines.shape
    rows = np.zeros((len(grey), side))
    for i in range(len(grey)):
        for j in range(side):
            for k in range(across_ends[j, 0], across_ends[j, 1]):
                rows[i, j] += across[j, k] * grey[i, k]
    small = np.zeros((side, side))
    for i in range(side):
        for k in range(down_ends[i, 0], down_ends[i, 1]):
            for j in range(side):
                small[i, j] += down[i, k] * rows[k, j]
    half, waves = np.zeros((kept, side)), np.zeros((kept, kept))
    for i in range(kept):
        for k in range(side):
            for j in range(side):
                half[i, j] += cosines[i, k] * small[k, j]
    for i in range(kept):
        for j in range(kept):
            for k in range(side):
                waves[i, j] += half[i, k] * cosines[j, k]
    return small, waves
