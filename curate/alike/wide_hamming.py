"""All pairs of 256-bit hashes within a few bits, exactly: the keys that every such pair shares, and the links.

Cut 256 bits into m pieces. Two hashes that differ in fewer than 2m bits differ in one bit or none in some piece (multi-
index hashing: Norouzi et al., 2012). So of the two halves of that piece one is equal, which is the key they share, and
the other is equal but for one bit, which leaves few of the rows of that key to compare: with radius 31, 16 pieces of 16
bits make 32 keys of 8 bits, and a row is compared with 9 of every 256 rows that it shares a key with.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.alike.forest import union
from curate.alike.hamming import count_bits
from curate.arrays.compiled import compiled, inlined

BITS = 256
#: The largest radius: 16 pieces, whose halves are single bytes.
FARTHEST = 31
#: Groups of fewer rows are compared all with all.
FEW = 32


def half_type(radius: int) -> Any:
    """The unsigned integer as wide as half a piece, the widest that makes enough pieces for the radius.

    >>> [half_type(radius).__name__ for radius in (3, 7, 15, 31)]
    ['uint64', 'uint32', 'uint16', 'uint8']
    """
    kinds = (np.uint64, np.uint32, np.uint16, np.uint8)
    return next(kind for kind in kinds if radius < BITS // (8 * kind().itemsize))


def near_wide(words: np.ndarray, groups: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, bits between them) of links between hashes of one group, as places in `words`: a minimum spanning forest
    of all pairs within `radius` bits that share the group's half of a piece and all but a bit of the other half.

    words: uint64[n, 4]. groups: int64 bounds of the runs of hashes that share a key.
    """
    words = np.ascontiguousarray(words)
    kind = half_type(radius)
    halves = words.view(kind)
    return _near(words, halves, groups, radius, 8 * kind().itemsize)  # type: ignore[no-any-return]


def nearest_wide(words: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bits to the nearest of `others`, which one it is) of each hash; the first where several are."""
    return _nearest(np.ascontiguousarray(words), np.ascontiguousarray(others))  # type: ignore[no-any-return]


@inlined
def _distance(words: Any, i: Any, j: Any) -> Any:
    bits = np.int64(0)
    for k in range(4):
        bits += count_bits(words[i, k] ^ words[j, k])
    return bits


@compiled
def _near(words: Any, halves: Any, groups: Any, radius: Any, width: Any) -> Any:
    room = 2 * len(words) + 65536
    links = np.empty((3, room), np.int64)
    found = 0
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
                            if found == room:
                                found = _thinned(links, found, len(words), radius)
                            links[0, found], links[1, found], links[2, found] = order[i], order[j], bits
                            found += 1
    found = _thinned(links, found, len(words), radius)
    return links[0, :found].copy(), links[1, :found].copy(), links[2, :found].copy()


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
def _thinned(links: Any, found: Any, count: Any, radius: Any) -> Any:
    """Keep a minimum spanning forest of the first `found` links, in front; how many it has."""
    order, _ = _sorted_by(links[2, :found], radius + 1)
    parent = np.arange(count)
    kept = np.zeros(found, np.bool_)
    for i in order:
        kept[i] = union(parent, links[0, i], links[1, i])
    left = 0
    for i in range(found):
        if kept[i]:
            links[:, left] = links[:, i]
            left += 1
    return left


@compiled
def _nearest(words: Any, others: Any) -> Any:
    bits, place = np.full(len(words), BITS + 1, np.int64), np.zeros(len(words), np.int64)
    for i in range(len(words)):
        for j in range(len(others)):
            distance = np.int64(0)
            for k in range(4):
                distance += count_bits(words[i, k] ^ others[j, k])
            if distance < bits[i]:
                bits[i], place[i] = distance, j
    return bits, place
