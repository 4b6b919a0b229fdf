"""Compiled loops of wide_hamming: bits between 256-bit hashes."""

# Compiled code is flat: arrays as arguments.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.alike.forest_kernels import union
from curate.alike.hamming_kernels import count_bits
from curate.arrays.compiled import compiled, inlined, read, written

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


@inlined
def _half(words: Any, i: Any, k: Any, width: Any) -> Any:
    """The k-th `width` bits of a hash, the low ones of its words first."""
    at = k * width
    mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - width)
    return (words[i, at >> 6] >> np.uint64(at & 63)) & mask


@inlined
def _other_half(words: Any, start: Any, stop: Any, width: Any) -> Any:
    """The other half of the piece whose half all rows share; -1 where they share more than that one half."""
    shared, place = 0, np.int64(0)
    for k in range(256 // width):
        first = _half(words, start, k, width)
        same = True
        for i in range(start + 1, stop):
            if _half(words, i, k, width) != first:
                same = False
                break
        if same:
            shared += 1
            place = k
    return place ^ 1 if shared == 1 else np.int64(-1)


@inlined
def _sorted_by(values: Any, count: Any, most: Any, bounds: Any, at: Any, order: Any) -> None:
    """Puts the places of `count` values under `most` in their order, and the bounds of each value's run."""
    for value in range(most + 1):
        bounds[value] = 0
    for i in range(count):
        bounds[values[i] + 1] += 1
    for value in range(most):
        bounds[value + 1] += bounds[value]
        at[value] = bounds[value]
    for i in range(count):
        order[at[values[i]]] = i
        at[values[i]] += 1


@inlined
def _thinned(links: Any, filled: Any, radius: Any, bounds: Any, at: Any, order: Any, parent: Any, kept: Any) -> Any:
    """Keep a minimum spanning forest of the first `filled` links, in front; how many it has."""
    _sorted_by(links[2], filled, radius + 1, bounds, at, order)
    for i in range(len(parent)):
        parent[i] = i
    for i in range(filled):
        kept[order[i]] = union(parent, links[0, order[i]], links[1, order[i]])
    place = np.int64(0)
    for i in range(filled):
        if kept[i]:
            for k in range(3):
                links[k, place] = links[k, i]
            place += 1
    return place


@inlined
def _in_buckets(
    words: Any, start: Any, size: Any, other: Any, width: Any, near: Any, values: Any, bounds: Any, at: Any, places: Any
) -> None:
    """A group's hashes into `near`, in the order of their half `other` (-1: as they are); bounds of its values."""
    if other >= 0:
        for i in range(size):
            values[i] = np.int64(_half(words, start + i, other, width))
        _sorted_by(values, size, 1 << width, bounds, at, places)
    else:
        bounds[0], bounds[1] = 0, size
        for i in range(size):
            places[i] = i
    for i in range(size):
        places[i] += start
        for k in range(4):
            near[i, k] = words[places[i], k]


@compiled(
    read("uint64", 2), read("int64"), types.int64, types.int64, written("int64", 2), written("uint64", 2),
    written("int64", 2), written("int64", 2), written("int64", 2), written("int64", 2), written("int64"),
    written("boolean"),
)  # fmt: skip
def near_pairs(
    words: Any, groups: Any, radius: Any, width: Any, links: Any, near: Any,
    rows: Any, runs: Any, distances: Any, order: Any, parent: Any, kept: Any,
) -> Any:  # fmt: skip
    """How many links[:, i] are filled: two places in `words`, and the bits between them.

    To work in: near uint64[rows of the largest group, 4], rows int64[2, those], runs int64[2, values of a half + 1],
    distances int64[2, radius + 2], order int64[1, links], parent int64[words], kept bool[links].
    """
    filled, room = np.int64(0), links.shape[1]
    bounds, places = runs[0], rows[0]
    for group in range(len(groups) - 1):
        start, size = groups[group], groups[group + 1] - groups[group]
        other = _other_half(words, start, start + size, width)
        if width > 16 or size < FEW:
            other = np.int64(-1)
        flips, buckets = (width, 1 << width) if other >= 0 else (np.int64(0), np.int64(1))
        _in_buckets(words, start, size, other, width, near, rows[1], bounds, runs[1], places)
        for bucket in range(buckets):
            # Its own bucket, then those whose half is one bit more.
            for flip in range(-1, flips if bounds[bucket] < bounds[bucket + 1] else -1):
                next_one = bucket if flip < 0 else bucket | (1 << flip)
                if flip >= 0 and next_one == bucket:
                    continue
                for i in range(bounds[bucket], bounds[bucket + 1]):
                    for j in range(i + 1 if flip < 0 else bounds[next_one], bounds[next_one + 1]):
                        bits = _distance(near, i, j)
                        if bits > radius:
                            continue
                        if filled == room:
                            filled = _thinned(links, filled, radius, distances[0], distances[1], order[0], parent, kept)
                        links[0, filled], links[1, filled], links[2, filled] = places[i], places[j], bits
                        filled += 1
    return _thinned(links, filled, radius, distances[0], distances[1], order[0], parent, kept)


@compiled(read("uint64", 2), read("uint64", 2), written("int64"), written("int64"))
def nearest(words: Any, others: Any, bits: Any, place: Any) -> None:
    """`bits`: more than any two hashes can differ in at first."""
    for i in range(len(words)):
        for j in range(len(others)):
            distance = np.int64(0)
            for k in range(4):
                distance += count_bits(words[i, k] ^ others[j, k])
            if distance < bits[i]:
                bits[i], place[i] = distance, j
