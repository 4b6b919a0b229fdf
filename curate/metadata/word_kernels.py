"""Compiled loops that cut UTF-8 text into words, count the words and list the pairs of neighbours."""

# Compiled code is flat: arrays as arguments, branches on bytes.
# ruff: noqa: PLR0912

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.arrays.compiled import compiled, inlined, read, written

#: What a character does: part of a word, between words, a word of its own, or the end of a run of neighbours.
LETTER, BLANK, ALONE, BREAK = 0, 1, 2, 3

_FNV_BASIS, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_MIX_1, _MIX_2, _33 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53), np.uint64(33)
_32 = np.uint64(32)


@inlined
def _mixed(key: Any) -> Any:
    """All bits of an FNV-1a hash made to depend on all its bytes (the finalizer of MurmurHash3)."""
    key = (key ^ (key >> _33)) * _MIX_1
    key = (key ^ (key >> _33)) * _MIX_2
    return key ^ (key >> _33)


@compiled(
    read("uint8"), types.int64, types.boolean, read("uint8"), types.int64,
    written("int64"), written("int32"), written("uint64"), written("uint8"),
)  # fmt: skip
def scan(
    data: Any, at: Any, broken: Any, kinds: Any, longest: Any, starts: Any, sizes: Any, hashes: Any, breaks: Any
) -> Any:
    """Words of valid UTF-8 `data` from byte `at` on, until the end or until the four outputs are full.

    `kinds` uint8[code points] says what a character does; code points past its end are letters. A word of more than
    `longest` bytes is none, and breaks. `starts` int64, `sizes` int32, `hashes` uint64 (of the bytes) and `breaks`
    uint8 (whether something stands between this word and the one before) take one value a word. Returns how many,
    the byte to go on at, and whether a break stands before it.
    """
    filled, end = 0, len(data)
    start, hashed = -1, _FNV_BASIS
    while at <= end:
        kind, width = BREAK, 1
        if at == end:
            kind = BLANK
        else:
            lead = data[at]
            if lead < 0x80:
                point = np.int64(lead)
            elif lead < 0xE0:
                point, width = (np.int64(lead & 0x1F) << 6) | (data[at + 1] & 0x3F), 2
            elif lead < 0xF0:
                middle = (np.int64(data[at + 1] & 0x3F) << 6) | (data[at + 2] & 0x3F)
                point, width = (np.int64(lead & 0x0F) << 12) | middle, 3
            else:
                middle = (np.int64(data[at + 1] & 0x3F) << 12) | (np.int64(data[at + 2] & 0x3F) << 6)
                point, width = (np.int64(lead & 0x07) << 18) | middle | (data[at + 3] & 0x3F), 4
            kind = kinds[point] if point < len(kinds) else LETTER
        if kind == LETTER:
            if start < 0:
                start, hashed = at, _FNV_BASIS
            for i in range(at, at + width):
                hashed = (hashed ^ np.uint64(data[i])) * _FNV_PRIME
            at += width
            continue
        if start >= 0:
            if at - start > longest:
                broken = True
            else:
                if filled == len(starts):
                    return filled, start, broken
                starts[filled], sizes[filled], breaks[filled] = start, at - start, broken
                hashes[filled] = _mixed(hashed)
                filled += 1
                broken = False
            start = -1
        if kind == ALONE:
            if filled == len(starts):
                return filled, at, broken
            hashed = _FNV_BASIS
            for i in range(at, at + width):
                hashed = (hashed ^ np.uint64(data[i])) * _FNV_PRIME
            starts[filled], sizes[filled], breaks[filled] = at, width, broken
            hashes[filled] = _mixed(hashed)
            filled += 1
            broken = False
        elif kind == BREAK:
            broken = True
        at += width
    return filled, end, broken


@compiled(
    read("uint8"), read("int64"), read("int32"), read("uint64"), types.int64, types.int64,
    written("int32"), written("uint64"), written("int64"), written("int64"), written("uint8"), types.int64,
)  # fmt: skip
def count(
    data: Any, starts: Any, sizes: Any, hashes: Any, first: Any, stop: Any,
    slots: Any, keys: Any, counts: Any, ends: Any, letters: Any, words: Any,
) -> Any:  # fmt: skip
    """Add the words `first` to `stop` of `scan` to a table of counts, until the end or until the table is full.

    `slots` int32[a power of two] is an open-addressing table of word numbers + 1. Of each of the `words` words so far,
    `keys` uint64 holds the hash, `counts` int64 the count, and letters[ends[w] : ends[w + 1]] the bytes. Returns the
    first word not counted and how many words there are now.
    """
    mask = len(slots) - 1
    for i in range(first, stop):
        start, size, key = starts[i], sizes[i], hashes[i]
        slot = np.int64(key & np.uint64(mask))
        while True:
            word = slots[slot] - 1
            if word < 0:
                if words == len(keys) or ends[words] + size > len(letters):
                    return i, words
                at = ends[words]
                for j in range(size):
                    letters[at + j] = data[start + j]
                keys[words], counts[words], ends[words + 1] = key, 1, at + size
                words += 1
                slots[slot] = words
                break
            if keys[word] == key and ends[word + 1] - ends[word] == size:
                at, j = ends[word], 0
                while j < size and letters[at + j] == data[start + j]:
                    j += 1
                if j == size:
                    counts[word] += 1
                    break
            slot = (slot + 1) & mask
    return stop, words


@compiled(
    read("uint64"), read("uint8"), types.int64, types.int64, read("uint64"), read("int64"), types.uint64,
    written("uint64"), types.int64,
)  # fmt: skip
def pairs(
    hashes: Any, breaks: Any, stop: Any, last: Any, known: Any, buckets: Any, shift: Any, out: Any, filled: Any
) -> Any:
    """Append first word << 32 | second word to uint64 `out` for all neighbours that are both in `known`.

    `known` is sorted uint64; known[buckets[b] : buckets[b + 1]] have b as their top bits, h >> shift. `last` is the
    number of the word before, -1 for none that is known. Returns how many values `out` has, and the new `last`.
    """
    for i in range(stop):
        key = hashes[i]
        bucket = np.int64(key >> shift)
        at, end = buckets[bucket], buckets[bucket + 1]
        while at < end and known[at] != key:
            at += 1
        word = at if at < end else np.int64(-1)
        if word >= 0 and last >= 0 and not breaks[i]:
            out[filled] = (np.uint64(last) << _32) | np.uint64(word)
            filled += 1
        last = word
    return filled, last
