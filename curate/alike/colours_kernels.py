"""The compiled loop of colours: cells against the first row of each kind of their group."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.arrays.compiled import compiled

#: A row that fits none is compared with so many kinds of its group at most.
MOST_KINDS = 1000


@compiled
def kinds(cells: Any, bounds: Any, apart: Any) -> Any:
    kind = np.arange(len(cells))
    firsts = np.empty(MOST_KINDS, np.int64)
    for group in range(len(bounds) - 1):
        known = 0
        for i in range(bounds[group], bounds[group + 1]):
            for n in range(known):
                j, near = firsts[n], True
                for k in range(cells.shape[1]):
                    if abs(np.int64(cells[i, k]) - np.int64(cells[j, k])) > apart:
                        near = False
                        break
                if near:
                    kind[i] = j
                    break
            if kind[i] == i and known < MOST_KINDS:
                firsts[known] = i
                known += 1
    return kind
