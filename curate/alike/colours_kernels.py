"""The compiled loops of colours: means of cells; and cells against the first row of each kind of their group."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.arrays.compiled import compiled, inlined, read, written

#: Bits after the point of the weight of a pixel in a mean, as Pillow has them for levels of 8 bits.
BITS = 22

#: A row that fits none is compared with so many kinds of its group at most.
MOST_KINDS = 1000


@inlined
def mean(total: Any, count: Any) -> Any:
    weight = np.int64(0.5 + (1 / count) * (1 << BITS))
    return np.uint8((total * weight + (1 << (BITS - 1))) >> BITS)


@compiled(read("uint8", 2), read("int64", 2), read("int64", 2))
def means(colours: Any, across: Any, down: Any) -> Any:
    """uint8[cells, 3 x cells] of uint8[height, 3 x width]; across, down: int64[cells, 2], as curate.alike.colours cuts
    each side."""
    cells = len(across)
    rows = np.empty((len(colours), 3 * cells), np.uint8)
    for i in range(len(colours)):
        for c in range(cells):
            count = across[c, 1] - across[c, 0]
            part = colours[i, 3 * across[c, 0] : 3 * across[c, 1]]
            red, green, blue = np.int32(0), np.int32(0), np.int32(0)
            for k in range(count):
                red += np.int32(part[3 * k])
                green += np.int32(part[3 * k + 1])
                blue += np.int32(part[3 * k + 2])
            rows[i, 3 * c] = mean(red, count)
            rows[i, 3 * c + 1] = mean(green, count)
            rows[i, 3 * c + 2] = mean(blue, count)
    out = np.empty((cells, 3 * cells), np.uint8)
    for c in range(cells):
        for j in range(3 * cells):
            total = np.int64(0)
            for i in range(down[c, 0], down[c, 1]):
                total += np.int64(rows[i, j])
            out[c, j] = mean(total, down[c, 1] - down[c, 0])
    return out


@compiled(read("uint8", 2), read("int64"), types.int64, written("int64"), written("int64"))
def kinds(cells: Any, bounds: Any, apart: Any, firsts: Any, kind: Any) -> None:
    """`kind`, each row's own place, becomes the first row of its kind; `firsts` has MOST_KINDS places to work in."""
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
