"""Compiled loops of hamming: bits between 64-bit hashes."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.arrays.compiled import compiled, inlined

#: More bits than two hashes of 64 bits can differ in.
FAR = 65


@inlined
def count_bits(x: Any) -> Any:
    """Number of set bits; the compiler knows this idiom as one instruction."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def forest(hashes: Any, groups: Any, radius: Any) -> Any:
    """Prim's way: whatever is closest to the tree comes next, so no list of pairs is held."""
    a, b = np.empty(len(hashes), np.int64), np.empty(len(hashes), np.int64)
    bits = np.empty(len(hashes), np.int64)
    edges = 0
    for group in range(len(groups) - 1):
        start, stop = groups[group], groups[group + 1]
        count, current = stop - start - 1, start
        outside, values = np.arange(start + 1, stop), hashes[start + 1 : stop].copy()
        best, link = np.full(count, FAR, np.int64), np.zeros(count, np.int64)
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
                a[edges], b[edges], bits[edges] = link[place], outside[place], closest
                edges += 1
            current = outside[place]
            count -= 1
            outside[place], values[place] = outside[count], values[count]
            best[place], link[place] = best[count], link[count]
    return a[:edges].copy(), b[:edges].copy(), bits[:edges].copy()


@compiled
def nearest(hashes: Any, others: Any) -> Any:
    bits, place = np.full(len(hashes), FAR, np.int64), np.zeros(len(hashes), np.int64)
    for i in range(len(hashes)):
        for j in range(len(others)):
            distance = count_bits(hashes[i] ^ others[j])
            if distance < bits[i]:
                bits[i], place[i] = distance, j
    return bits, place
