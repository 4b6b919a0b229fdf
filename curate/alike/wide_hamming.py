"""All pairs of 256-bit hashes within a few bits, exactly: the keys that every such pair shares, and the links. And keys
that most such pairs share, for so many rows that the first bring too many together.

Cut 256 bits into m pieces. Two hashes that differ in fewer than 2m bits differ in one bit or none in some piece (multi-
index hashing: Norouzi et al., 2012). So of the two halves of that piece one is equal, which is the key they share, and
the other is equal but for one bit, which leaves few of the rows of that key to compare: with radius 31, 16 pieces of 16
bits make 32 keys of 8 bits, and a row is compared with 9 of every 256 rows that it shares a key with.
"""

from __future__ import annotations

from math import ceil, comb, log
from typing import Any

import numpy as np

from curate.arrays.string_hash import hash_pairs

BITS = 256
#: The largest radius: 16 pieces, whose halves are single bytes.
FARTHEST = 31


def half_type(radius: int) -> Any:
    """The unsigned integer as wide as half a piece, the widest that makes enough pieces for the radius.

    >>> [half_type(radius).__name__ for radius in (3, 7, 15, 31)]
    ['uint64', 'uint32', 'uint16', 'uint8']
    """
    kinds = (np.uint64, np.uint32, np.uint16, np.uint8)
    return next(kind for kind in kinds if radius < BITS // (8 * kind().itemsize))


def agreeing(distance: int, bits: int) -> float:
    """Probability that two hashes so many bits apart are equal in `bits` places drawn by chance: none of the drawn is
    one in which they differ, C(256 - distance, bits) of C(256, bits) draws. It holds for any two hashes (bit sampling:
    Indyk and Motwani, 1998).

    >>> f"{agreeing(31, 24):.4f} {agreeing(10, 24):.4f}"
    '0.0385 0.3668'
    """
    return comb(BITS - distance, bits) / comb(BITS, bits)


def keys_for(recall: float, distance: int, bits: int) -> int:
    """Keys of `bits` places each, of which two hashes so far apart share one with a probability of `recall` or more.

    >>> keys_for(0.95, 31, 24)
    77
    """
    agree = agreeing(distance, bits)
    return 1 if agree == 1 else ceil(log(1 - recall) / log(1 - agree))


def sampled_keys(words: np.ndarray, keys: int, bits: int) -> np.ndarray:
    """uint64[n, keys]: each is the hash's bits at places that a hash draws, always the same. words: uint64[n, 4]."""
    unpacked = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1)
    values = np.zeros((len(words), keys), np.uint64)
    for key in range(keys):
        drawn = np.argsort(hash_pairs(np.full(BITS, key, np.uint64), np.arange(BITS, dtype=np.uint64), 0))[:bits]
        for place in drawn:
            values[:, key] = values[:, key] << np.uint64(1) | unpacked[:, place]
    return values


def near_wide(
    words: np.ndarray, groups: np.ndarray, radius: int, *, all_pairs: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, bits between them) of links between hashes of one group, as places in `words`: a minimum spanning forest
    of all pairs within `radius` bits that share the group's half of a piece and all but a bit of the other half.

    words: uint64[n, 4]. groups: int64 bounds of the runs of hashes that share a key.
    all_pairs: of all that are within `radius` bits, whatever else they share.
    """
    from curate.alike import wide_hamming_kernels as kernels

    words = np.ascontiguousarray(words)
    width = BITS // 4 if all_pairs else 8 * half_type(radius)().itemsize
    largest, room = int(np.diff(groups).max(initial=0)), 2 * len(words) + 65536
    halves = 1 << width if width <= 16 else 1
    links = np.empty((3, room), np.int64)
    count = kernels.near_pairs(
        words, groups, radius, width, links, np.empty((largest, 4), np.uint64), np.empty((2, largest), np.int64),
        np.empty((2, halves + 1), np.int64), np.empty((2, radius + 2), np.int64), np.empty((1, room), np.int64),
        np.empty(len(words), np.int64), np.empty(room, np.bool_),
    )  # fmt: skip
    a, b, bits = links[:, :count].copy()
    return a, b, bits


def nearest_wide(words: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bits to the nearest of `others`, which one it is) of each hash; the first where several are."""
    from curate.alike import wide_hamming_kernels as kernels

    bits, place = np.full(len(words), kernels.FAR, np.int64), np.zeros(len(words), np.int64)
    kernels.nearest(np.ascontiguousarray(words), np.ascontiguousarray(others), bits, place)
    return bits, place
