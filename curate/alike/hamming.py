"""All pairs of 64-bit hashes within a few bits of each other, exactly: keys that every such pair shares, and the links.

Split 64 bits into m pieces. Two hashes that differ in at most r bits differ in at most r pieces, so they are equal in
some m - r of them: the hash masked to those pieces is a key that they share, for one of the C(m, r) choices. This is
the pigeonhole rule of multi-index hashing (Norouzi et al., 2012) taken over sets of pieces: with radius 6 and 8 pieces
it makes 28 keys of 16 bits, where single pieces of 16 bits, each tried with one flipped bit, need 68.
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

BITS = 64


def covering_masks(radius: int, pieces: int) -> np.ndarray:
    """uint64 masks such that any two hashes within `radius` bits are equal under at least one of them.

    >>> len(covering_masks(6, 8)), hex(covering_masks(6, 8)[0])
    (28, '0xffff')
    """
    bounds = [round(i * BITS / pieces) for i in range(pieces + 1)]
    bits = [((1 << bounds[i + 1]) - 1) ^ ((1 << bounds[i]) - 1) for i in range(pieces)]
    return np.array(
        [sum(bits[i] for i in chosen) for chosen in combinations(range(pieces), pieces - radius)], np.uint64
    )


def masks_needed(radius: int, pieces: int) -> int:
    """Keys per hash."""
    return comb(pieces, radius)


def near_hashes(hashes: np.ndarray, groups: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, bits between them) of links between hashes of one group, as places in `hashes`: a minimum spanning forest
    of all pairs within `radius` bits, so it has their connected components at that radius and every smaller one.

    groups: int64 bounds of the runs of hashes that are compared, all with all.

    >>> links = near_hashes(np.array([0, 7, 1, 255], np.uint64), np.array([0, 4]), 2)
    >>> [part.tolist() for part in links]
    [[0, 2], [2, 1], [1, 2]]
    """
    from curate.alike import hamming_kernels as kernels

    largest = int(np.diff(groups).max(initial=0))
    links = np.empty((3, len(hashes)), np.int64)
    count = kernels.forest(
        hashes, groups, radius, np.empty(largest, np.uint64), np.empty((3, largest), np.int64), links
    )
    a, b, bits = links[:, :count].copy()
    return a, b, bits


def nearest_hash(hashes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bits to the nearest of `others`, which one it is) of each hash; the first where several are.

    >>> [part.tolist() for part in nearest_hash(np.array([7, 0], np.uint64), np.array([255, 3, 4], np.uint64))]
    [[1, 1], [1, 2]]
    """
    from curate.alike import hamming_kernels as kernels

    bits, place = np.full(len(hashes), kernels.FAR, np.int64), np.zeros(len(hashes), np.int64)
    kernels.nearest(hashes, others, bits, place)
    return bits, place
