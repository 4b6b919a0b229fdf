"""Compiled loops of shingles: where the shingles of captions stand, over Arrow string buffers, and sets of their ids.

A shingle is a slice of a caption's bytes, so no string is ever made.
"""

# Compiled code is flat: arrays as arguments.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.arrays.compiled import compiled, inlined, read, written


@inlined
def _starts(byte: Any) -> Any:
    """True for the first byte of a code point."""
    return (byte & np.uint8(0xC0)) != np.uint8(0x80)


@compiled(read("uint8"), read("int64"), types.int64, written("int64"), written("int64"), written("int64"))
def char_shingles(data: Any, offsets: Any, k: Any, begins: Any, ends: Any, bounds: Any) -> None:
    """Where every k consecutive code points of each text stand, data[begin:end]; a shorter text is one shingle.

    bounds int64[n+1] of each text's shingles; there are no more of them than bytes.
    """
    at = np.int64(0)
    bounds[0] = 0
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        first, points = start, 0
        for i in range(start, stop):
            if _starts(data[i]):
                points += 1
                if points > k:
                    begins[at], ends[at] = first, i
                    at += 1
                    first += 1
                    while not _starts(data[first]):
                        first += 1
        if stop > start:
            begins[at], ends[at] = first, stop
            at += 1
        bounds[row + 1] = at


@compiled(read("uint8"), read("int64"), types.int64, written("int64"), written("int64"), written("int64"))
def word_shingles(data: Any, offsets: Any, k: Any, begins: Any, ends: Any, bounds: Any) -> None:
    """The same of every run of one to k words between single blanks: at most k for each blank, and k for each text."""
    at = np.int64(0)
    bounds[0] = 0
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        for i in range(start, stop + 1):
            if stop > start and (i == stop or data[i] == np.uint8(32)):
                begin = i
                for _ in range(k):
                    # Back over one word more, from the blank before the last one or from the end.
                    begin -= 1
                    while begin >= start and data[begin] != np.uint8(32):
                        begin -= 1
                    begins[at], ends[at] = begin + 1, i
                    at += 1
                    if begin < start:
                        break
        bounds[row + 1] = at


@inlined
def _sort_spread(ids: Any, start: Any, stop: Any, counts: Any, scratch: Any) -> None:
    """Sort ids[start:stop], which are hashes: their highest bits say about where each belongs."""
    size = stop - start
    shift, slots = np.uint64(64), np.int64(1)
    while slots < size:
        slots *= 2
        shift -= np.uint64(1)
    if slots > 1:
        for slot in range(slots + 1):
            counts[slot] = 0
        for i in range(start, stop):
            counts[np.int64(ids[i] >> shift) + 1] += 1
            scratch[i - start] = ids[i]
        for slot in range(slots):
            counts[slot + 1] += counts[slot]
        for i in range(size):
            slot = np.int64(scratch[i] >> shift)
            ids[start + counts[slot]] = scratch[i]
            counts[slot] += 1
    for i in range(start + 1, stop):
        value, j = ids[i], i - 1
        while j >= start and ids[j] > value:
            ids[j + 1] = ids[j]
            j -= 1
        ids[j + 1] = value


@compiled(written("uint64"), written("int64"), written("int64"), written("uint64"))
def sorted_sets(ids: Any, bounds: Any, counts: Any, scratch: Any) -> None:
    """Sorts the ids of each text, drops repeats and closes up; `bounds` become those of what stays.

    To work in: counts has twice as many places, and one more, as the most ids of a text, scratch as many.
    """
    at, start = np.int64(0), bounds[0]
    for row in range(len(bounds) - 1):
        stop = bounds[row + 1]
        _sort_spread(ids, start, stop, counts, scratch)
        for i in range(start, stop):
            if i == start or ids[i] != ids[at - 1]:
                ids[at] = ids[i]
                at += 1
        bounds[row + 1] = at
        start = stop
