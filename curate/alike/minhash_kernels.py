"""Compiled loops of MinHash: shingles, SHA-1, permutations, Jaccard, over Arrow string buffers.

A shingle is a slice of a caption's bytes, so no string is ever made. Its id is the first eight bytes of its SHA-1; the
low four of them are datasketch's base hash, all eight tell sets apart when Jaccard is computed. SHA-1 of each distinct
shingle is the cost, hence a cache of a fixed size: a slot holds the shingle itself, so a hit is never wrong, and a
conflict only costs one more hash.
"""

# Compiled code is flat: arrays as arguments.

from __future__ import annotations

from typing import Any

import numpy as np

from curate.arrays.compiled import compiled, inlined, load64

#: Slots of the shingle cache: 1 MB, so that it stays in the second cache.
CACHE_SLOTS = 1 << 15
#: Bytes that a shingle in the cache has at most.
CACHED_BYTES = 16
#: Bytes that the text buffer must hold after its last text.
SPARE_BYTES = 16

_A, _B, _C = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93))
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_MERSENNE = np.uint64((1 << 61) - 1)
_61, _1 = np.uint64(61), np.uint64(1)
_MASKS = np.array([(1 << (8 * min(n, 8))) - 1 for n in range(17)], dtype=np.uint64)
_MASKS_HIGH = np.array([(1 << (8 * max(n - 8, 0))) - 1 for n in range(17)], dtype=np.uint64)


@inlined
def _rotate(x: Any, bits: Any) -> Any:
    return np.uint32((x << np.uint32(bits)) | (x >> np.uint32(32 - bits)))


@inlined
def _rounds(w: Any, start: Any, kind: Any, constant: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    """Twenty of the eighty rounds."""
    for t in range(start, start + 20):
        if kind == 0:
            f = d ^ (b & (c ^ d))
        elif kind == 1:
            f = b ^ c ^ d
        else:
            f = (b & c) | (d & (b | c))
        new = np.uint32(_rotate(a, 5) + f + e + constant + w[t])
        e, d, c, b, a = d, c, _rotate(b, 30), a, new
    return a, b, c, d, e


@inlined
def _swapped(word: Any) -> Any:
    """A big-endian word as a little-endian one."""
    return (
        ((word & np.uint32(0xFF)) << np.uint32(24))
        | ((word & np.uint32(0xFF00)) << np.uint32(8))
        | ((word >> np.uint32(8)) & np.uint32(0xFF00))
        | (word >> np.uint32(24))
    )


@compiled
def sha1_first8(data: Any, at: Any, size: Any, w: Any) -> Any:
    """First eight bytes, little end first, of the SHA-1 (FIPS 180-4) of data[at : at + size]; w is uint32[80]."""
    h0, h1, h2 = np.uint32(0x67452301), np.uint32(0xEFCDAB89), np.uint32(0x98BADCFE)
    h3, h4 = np.uint32(0x10325476), np.uint32(0xC3D2E1F0)
    blocks = (size + 8) // 64 + 1
    for block in range(blocks):
        for t in range(16):
            word = np.uint32(0)
            first = block * 64 + t * 4
            for k in range(4):
                index = first + k
                byte = np.uint32(0)
                if index < size:
                    byte = np.uint32(data[at + index])
                elif index == size:
                    byte = np.uint32(0x80)
                word = np.uint32((word << np.uint32(8)) | byte)
            w[t] = word
        if block == blocks - 1:
            w[14] = np.uint32((size << 3) >> 32)
            w[15] = np.uint32(size << 3)
        for t in range(16, 80):
            w[t] = _rotate(np.uint32(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16]), 1)
        a, b, c, d, e = _rounds(w, 0, 0, np.uint32(0x5A827999), h0, h1, h2, h3, h4)
        a, b, c, d, e = _rounds(w, 20, 1, np.uint32(0x6ED9EBA1), a, b, c, d, e)
        a, b, c, d, e = _rounds(w, 40, 2, np.uint32(0x8F1BBCDC), a, b, c, d, e)
        a, b, c, d, e = _rounds(w, 60, 1, np.uint32(0xCA62C1D6), a, b, c, d, e)
        h0, h1, h2 = np.uint32(h0 + a), np.uint32(h1 + b), np.uint32(h2 + c)
        h3, h4 = np.uint32(h3 + d), np.uint32(h4 + e)
    return np.uint64(_swapped(h0)) | (np.uint64(_swapped(h1)) << _32)


@inlined
def _shingle_id(data: Any, at: Any, size: Any, cache: Any, w: Any) -> Any:
    if size > CACHED_BYTES:
        return sha1_first8(data, at, size, w)
    low = load64(data, at) & _MASKS[size]
    high = load64(data, at + 8) & _MASKS_HIGH[size]
    mixed = (low * _A + high * _B + np.uint64(size)) * _C
    slot = np.int64((mixed ^ (mixed >> _32)) & np.uint64(CACHE_SLOTS - 1))
    if cache[slot, 0] == low and cache[slot, 1] == high and cache[slot, 2] == np.uint64(size):
        return cache[slot, 3]
    hashed = sha1_first8(data, at, size, w)
    cache[slot, 0], cache[slot, 1], cache[slot, 2], cache[slot, 3] = low, high, np.uint64(size), hashed
    return hashed


@inlined
def _sorted_distinct(ids: Any, start: Any, stop: Any) -> Any:
    """Sort a short run and close up repeats; returns its new end."""
    if stop - start > 64:
        ids[start:stop].sort()
    else:
        for i in range(start + 1, stop):
            value = ids[i]
            j = i - 1
            while j >= start and ids[j] > value:
                ids[j + 1] = ids[j]
                j -= 1
            ids[j + 1] = value
    end = start
    for i in range(start, stop):
        if end == start or ids[end - 1] != ids[i]:
            ids[end] = ids[i]
            end += 1
    return end


@inlined
def _starts(byte: Any) -> Any:
    """True for the first byte of a code point."""
    return (byte & np.uint8(0xC0)) != np.uint8(0x80)


@compiled
def char_shingles(data: Any, offsets: Any, k: Any) -> Any:
    """(ids, bounds[n+1]): distinct ids of every k consecutive code points, sorted; a shorter text is one shingle."""
    n = len(offsets) - 1
    ids = np.empty(offsets[n] - offsets[0] + 1, np.uint64)
    bounds = np.zeros(n + 1, np.int64)
    cache, w = np.zeros((CACHE_SLOTS, 4), np.uint64), np.zeros(80, np.uint32)
    at = 0
    for row in range(n):
        start, stop = offsets[row], offsets[row + 1]
        first, points = start, 0
        for i in range(start, stop):
            if _starts(data[i]):
                points += 1
                if points > k:
                    ids[at] = _shingle_id(data, first, i - first, cache, w)
                    at += 1
                    first += 1
                    while not _starts(data[first]):
                        first += 1
        if stop > start:
            ids[at] = _shingle_id(data, first, stop - first, cache, w)
            at = _sorted_distinct(ids, bounds[row], at + 1)
        bounds[row + 1] = at
    return ids[:at].copy(), bounds


@compiled
def word_shingles(data: Any, offsets: Any, k: Any) -> Any:
    """(ids, bounds[n+1]): distinct ids of every run of one to k words between single blanks, sorted."""
    n = len(offsets) - 1
    words = 0
    longest = 0
    for row in range(n):
        longest = max(longest, offsets[row + 1] - offsets[row])
        words += offsets[row + 1] > offsets[row]
        for i in range(offsets[row], offsets[row + 1]):
            words += data[i] == np.uint8(32)
    ids = np.empty(words * k, np.uint64)
    bounds = np.zeros(n + 1, np.int64)
    cache, w = np.zeros((CACHE_SLOTS, 4), np.uint64), np.zeros(80, np.uint32)
    begins = np.empty(longest + 1, np.int64)
    at = 0
    for row in range(n):
        start, stop = offsets[row], offsets[row + 1]
        count, begin = 0, start
        for i in range(start, stop + 1):
            if stop > start and (i == stop or data[i] == np.uint8(32)):
                begins[count] = begin
                count += 1
                begin = i + 1
                for j in range(max(0, count - k), count):
                    ids[at] = _shingle_id(data, begins[j], i - begins[j], cache, w)
                    at += 1
        at = _sorted_distinct(ids, bounds[row], at)
        bounds[row + 1] = at
    return ids[:at].copy(), bounds


@compiled
def signatures(ids: Any, bounds: Any, a: Any, c: Any) -> Any:
    """uint32[n, len(a)]: the least (a x + c mod 2^64) mod 2^61-1, low 32 bits, over the low halves x of a row's ids.

    The product wraps in 64 bits before the modulus is taken, as datasketch's does; a row without ids has all ones.
    """
    n, width = len(bounds) - 1, len(a)
    result = np.empty((n, width), np.uint32)
    least = np.empty(width, np.int64)
    for row in range(n):
        least[:] = np.int64(0xFFFFFFFF)
        for i in range(bounds[row], bounds[row + 1]):
            x = ids[i] & _LOW
            for p in range(width):
                v = a[p] * x + c[p]
                t = (v & _MERSENNE) + (v >> _61)
                # t - (2^61-1) where t is at least that: in the low 32 bits the same as adding one.
                t += (t + _1) >> _61
                least[p] = min(least[p], np.int64(t & _LOW))
        for p in range(width):
            result[row, p] = np.uint32(least[p])
    return result


@compiled
def band_keys(values: Any, bands: Any, rows: Any) -> Any:
    """uint64[n, bands]: a mix of each band's `rows` values; chance equality only costs a comparison."""
    n = len(values)
    keys = np.empty((n, bands), np.uint64)
    for i in range(n):
        for band in range(bands):
            h = np.uint64(rows)
            for j in range(band * rows, (band + 1) * rows):
                h = (h ^ np.uint64(values[i, j])) * _A
                h ^= h >> _32
            h *= _C
            keys[i, band] = h ^ (h >> _32)
    return keys


@inlined
def _jaccard(ids: Any, i: Any, i_end: Any, j: Any, j_end: Any, least: Any) -> Any:
    """Jaccard similarity of two sorted runs, or 0 where it is seen to be under `least`."""
    total = (i_end - i) + (j_end - j)
    # shared / (total - shared) >= least, with a little room: the caller compares the exact quotient.
    needed = least * total / (1.0 + least) - 1e-6
    shared = 0
    while i < i_end and j < j_end:
        if shared + min(i_end - i, j_end - j) < needed:
            return 0.0
        left, right = ids[i], ids[j]
        shared += left == right
        i += left <= right
        j += right <= left
    return shared / (total - shared) if total else 0.0


@compiled
def similar_sets(ids: Any, bounds: Any, members: Any, groups: Any, threshold: Any) -> Any:
    """(a, b, similarity): within each group of sets, the links of a maximum spanning forest over all pairs with a
    Jaccard similarity of at least `threshold`. a and b are places in `members`.

    The forest has the same connected components as all pairs, at the threshold and at every one above it, and at most
    one link per set; Prim's way to it holds no list of pairs.
    """
    a, b = np.empty(len(members), np.int64), np.empty(len(members), np.int64)
    weight = np.empty(len(members), np.float64)
    edges = 0
    for group in range(len(groups) - 1):
        start, stop = groups[group], groups[group + 1]
        best, link = np.zeros(stop - start, np.float64), np.zeros(stop - start, np.int64)
        outside = np.arange(start, stop)
        count, current = stop - start - 1, start
        outside[0] = outside[count]
        while count > 0:
            m = members[current]
            size = bounds[m + 1] - bounds[m]
            closest, place = -1.0, 0
            for i in range(count):
                o = outside[i]
                near = best[o - start]
                least = max(threshold, near)
                other = bounds[members[o] + 1] - bounds[members[o]]
                if near < 1.0 and min(size, other) >= least * max(size, other):
                    s = _jaccard(ids, bounds[m], bounds[m + 1], bounds[members[o]], bounds[members[o] + 1], least)
                    if s >= threshold and s > near:
                        best[o - start], link[o - start] = s, current
                        near = s
                if near > closest:
                    closest, place = near, i
            current = outside[place]
            count -= 1
            outside[place] = outside[count]
            if closest > 0.0:
                a[edges], b[edges], weight[edges] = link[current - start], current, closest
                edges += 1
    return a[:edges].copy(), b[:edges].copy(), weight[:edges].copy()
