"""Compiled loops of wide_hamming: bits between 256-bit hashes."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.alike.forest_kernels import union
from curate.alike.hamming_kernels import count_bits
from curate.arrays.compiled import compiled, inlined

#: More bits than two hashes of 256 bits can differ in.
FAR = 257
#: Groups of fewer rows are compared all with all.
FEW = 32


@inlined
def _distance(words: Any, i: Any, j: Any) -> Any:
    bits = np.int64(0)
    for k in range(4):
        bits += count_bits(words[i, k] ^ words[j, k])
    return bits


@compiled
def near_pairs(words: Any, halves: Any, groups: Any, radius: Any, width: Any) -> Any:
    room = 2 * len(words) + 65536
    links = np.empty((3, room), np.int64)
    filled = 0
    for group in range(len(groups) - 1):
        start, stop = groups[group], groups[group + 1]
        other = _other_half(halves, start, stop)
        order = np.arange(start, stop)
        buckets = np.array([0, stop - start])
        split = width <= 16 and other >= 0 and stop - start >= FEW
        if split:
            order, buckets = _sorted_by(halves[start:stop, other], 1 << width)
            order = order + start
        near = words[order]
        for bucket in range(len(buckets) - 1):
            first, last = buckets[bucket], buckets[bucket + 1]
            if first == last:
                continue
            # Its own bucket, then those whose half is one bit more.
            for flip in range(-1, width if split else 0):
                next_one = bucket if flip < 0 else bucket | (1 << flip)
                if flip >= 0 and next_one == bucket:
                    continue
                for i in range(first, last):
                    for j in range(i + 1 if flip < 0 else buckets[next_one], buckets[next_one + 1]):
                        bits = _distance(near, i, j)
                        if bits <= radius:
                            if filled == room:
                                filled = _thinned(links, filled, len(words), radius)
                            links[0, filled], links[1, filled], links[2, filled] = order[i], order[j], bits
                            filled += 1
    filled = _thinned(links, filled, len(words), radius)
    return links[0, :filled].copy(), links[1, :filled].copy(), links[2, :filled].copy()


@inlined
def _other_half(halves: Any, start: Any, stop: Any) -> Any:
    """The other half of the piece whose half all rows share; -1 where they share more than that one half."""
    shared, place = 0, 0
    for k in range(halves.shape[1]):
        same = True
        for i in range(start + 1, stop):
            if halves[i, k] != halves[start, k]:
                same = False
                break
        if same:
            shared += 1
            place = k
    return place ^ 1 if shared == 1 else -1


@compiled
def _sorted_by(values: Any, most: Any) -> Any:
    """(places in order of small values, bounds of each value's run)."""
    bounds = np.zeros(most + 1, np.int64)
    for value in values:
        bounds[np.int64(value) + 1] += 1
    bounds = np.cumsum(bounds)
    order, at = np.empty(len(values), np.int64), bounds.copy()
    for i in range(len(values)):
        value = np.int64(values[i])
        order[at[value]] = i
        at[value] += 1
    return order, bounds


@compiled
def _thinned(links: Any, filled: Any, count: Any, radius: Any) -> Any:
    """Keep a minimum spanning forest of the first `filled` links, in front; how many it has."""
    order, _ = _sorted_by(links[2, :filled], radius + 1)
    parent = np.arange(count)
    kept = np.zeros(filled, np.bool_)
    for i in order:
        kept[i] = union(parent, links[0, i], links[1, i])
    place = 0
    for i in range(filled):
        if kept[i]:
            links[:, place] = links[:, i]
            place += 1
    return place


@compiled
def nearest(words: Any, others: Any) -> Any:
    bits, place = np.full(len(words), FAR, np.int64), np.zeros(len(words), np.int64)
    for i in range(len(words)):
        for j in range(len(others)):
            distance = np.int64(0)
            for k in range(4):
                distance += count_bits(words[i, k] ^ others[j, k])
            if distance < bits[i]:
                bits[i], place[i] = distance, j
    return bits, place
