"""Compiled loops of string_hash: XXH64, and the finaliser of splitmix64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.arrays.compiled import compiled, inlined, load64, read, written

_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(p)
    for p in (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
)
#: Typed, so that what is inlined is compiled once and not once for each of them.
_1, _7, _11, _12, _18, _23, _27, _31 = (np.uint64(bits) for bits in (1, 7, 11, 12, 18, 23, 27, 31))
_64 = np.uint64(64)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@inlined
def _rotate(x: Any, bits: Any) -> Any:
    return (x << bits) | (x >> (_64 - bits))


@inlined
def _four_bytes(data: Any, at: Any) -> Any:
    """Little end first."""
    value = np.uint64(0)
    for k in range(4):
        value |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return value


@inlined
def _round(state: Any, lane: Any) -> Any:
    return _rotate(state + lane * _P2, _31) * _P1


@inlined
def _xxh64(data: Any, at: Any, stop: Any) -> Any:
    """XXH64, seed 0, from the format's specification."""
    length = np.uint64(stop - at)
    h = _P5
    if stop - at >= 32:
        a, b, c, d = _P1 + _P2, _P2, np.uint64(0), np.uint64(0) - _P1
        while stop - at >= 32:
            a = _round(a, load64(data, at))
            b = _round(b, load64(data, at + 8))
            c = _round(c, load64(data, at + 16))
            d = _round(d, load64(data, at + 24))
            at += 32
        h = _rotate(a, _1) + _rotate(b, _7) + _rotate(c, _12) + _rotate(d, _18)
        for lane in (a, b, c, d):
            h = (h ^ _round(np.uint64(0), lane)) * _P1 + _P4
    h += length
    while stop - at >= 8:
        h = _rotate(h ^ _round(np.uint64(0), load64(data, at)), _27) * _P1 + _P4
        at += 8
    if stop - at >= 4:
        h = _rotate(h ^ (_four_bytes(data, at) * _P1), _23) * _P2 + _P3
        at += 4
    while at < stop:
        h = _rotate(h ^ (np.uint64(data[at]) * _P5), _11) * _P1
        at += 1
    h = (h ^ (h >> np.uint64(33))) * _P2
    h = (h ^ (h >> np.uint64(29))) * _P3
    return h ^ (h >> np.uint64(32))


@compiled(read("uint8"), read("int64"), written("uint64"))
def xxh64_all(data: Any, offsets: Any, result: Any) -> None:
    for i in range(len(result)):
        result[i] = _xxh64(data, offsets[i], offsets[i + 1])


@inlined
def finish(x: Any) -> Any:
    """The finaliser of splitmix64: every bit of x moves every bit of the result."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled(read("uint64"), read("uint64"), types.uint64, written("uint64"))
def pairs(first: Any, second: Any, seed: Any, result: Any) -> None:
    start = finish(seed + GOLDEN)
    for i in range(len(first)):
        result[i] = finish(finish(start ^ first[i]) + second[i])
