"""Compiled loops of hamming: bits between 64-bit hashes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.arrays.compiled import compiled, inlined, read, written

#: More bits than two hashes of 64 bits can differ in.
FAR = 65


@inlined
def count_bits(x: Any) -> Any:
    """Number of set bits; the compiler knows this idiom as one instruction."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled(read("uint64"), read("int64"), types.int64, written("uint64"), written("int64", 2), written("int64", 2))
def forest(hashes: Any, groups: Any, radius: Any, values: Any, scratch: Any, links: Any) -> Any:
    """How many links[:, i] are filled: two places in `hashes`, and the bits between them.

    Prim's way: whatever is closest to the tree comes next, so no list of pairs is held. `values` and `scratch` int64[3]
    have a place for each row of the largest group.
    """
    edges = 0
    outside, best, link = scratch[0], scratch[1], scratch[2]
    for group in range(len(groups) - 1):
        start, stop = groups[group], groups[group + 1]
        count, current = stop - start - 1, start
        for i in range(count):
            outside[i], values[i] = start + 1 + i, hashes[start + 1 + i]
            best[i], link[i] = FAR, 0
        while count > 0:
            value = hashes[current]
            closest, place = FAR + 1, 0
            for i in range(count):
                distance = count_bits(values[i] ^ value)
                if distance <= radius and distance < best[i]:
                    best[i], link[i] = distance, current
                if best[i] < closest:
                    closest, place = best[i], i
            if closest <= radius:
                links[0, edges], links[1, edges], links[2, edges] = link[place], outside[place], closest
                edges += 1
            current = outside[place]
            count -= 1
            outside[place], values[place] = outside[count], values[count]
            best[place], link[place] = best[count], link[count]
    return edges


@compiled(read("uint64"), read("uint64"), written("int64"), written("int64"))
def nearest(hashes: Any, others: Any, bits: Any, place: Any) -> None:
    """`bits`: more than any two hashes can differ in at first."""
    for i in range(len(hashes)):
        for j in range(len(others)):
            distance = count_bits(hashes[i] ^ others[j])
            if distance < bits[i]:
                bits[i], place[i] = distance, j
