"""SHA-1 (FIPS 180-4) of many short runs of bytes: sixteen at once, in vectors of the processor.

A round of SHA-1 waits for the one before; sixteen messages fill the time. It is written for LLVM, which does not turn a
loop of numba into this by itself.
"""

# Compiled code is flat: arrays as arguments.

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils

from curate.arrays.compiled import compiled, inlined, intrinsic, load64, read, written
from curate.arrays.llvm import data_of, repeated

#: Messages hashed at once: two vectors of eight.
MESSAGES = 16
#: Bytes that a message of one block has at most.
ONE_BLOCK = 55
#: Bytes that must stand after the last message.
SPARE_BYTES = 8

_WORD = ir.IntType(32)
_WORDS = ir.VectorType(_WORD, MESSAGES)
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
_CONSTANTS = (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)


def _of_words(builder: Any, name: str, *words: Any) -> Any:
    """What LLVM has under a name for vectors of 32-bit words."""
    kind = words[0].type
    whole = ir.FunctionType(kind, [kind] * len(words))
    return builder.call(cgutils.get_or_insert_function(builder.module, whole, f"llvm.{name}.v{kind.count}i32"), words)


def _rotated(builder: Any, word: Any, bits: int) -> Any:
    right = builder.lshr(word, repeated(_WORDS, 32 - bits))
    return builder.or_(builder.shl(word, repeated(_WORDS, bits)), right)


def _chosen(builder: Any, kind: int, b: Any, c: Any, d: Any) -> Any:
    """The function of twenty rounds."""
    if kind == 0:
        return builder.xor(d, builder.and_(b, builder.xor(c, d)))
    if kind == 2:
        return builder.or_(builder.and_(b, c), builder.and_(d, builder.or_(b, c)))
    return builder.xor(b, builder.xor(c, d))


@intrinsic
def sha1_starts(typingctx: Any, words: Any, starts: Any) -> Any:
    """The first eight bytes of the SHA-1 (FIPS 180-4) of MESSAGES messages of one block each.

    words uint32[16, MESSAGES]: the bytes as they stand in memory, after them 0x80, zeros, and in the last row the
    length in bits. Into starts uint32[2, MESSAGES] go bytes 0 to 3 and 4 to 7, little end first.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, target = (
            builder.bitcast(data_of(context, builder, kind, value), _WORDS.as_pointer())
            for kind, value in zip(signature.args, args, strict=True)
        )
        w = [builder.load(builder.gep(source, [ir.IntType(64)(t)]), align=4) for t in range(16)]
        w[:14] = [_of_words(builder, "bswap", word) for word in w[:14]]
        a, b, c, d, e = (repeated(_WORDS, value) for value in _START)
        for t in range(80):
            if t >= 16:
                mixed = builder.xor(builder.xor(w[t - 3], w[t - 8]), builder.xor(w[t - 14], w[t - 16]))
                w.append(_rotated(builder, mixed, 1))
            added = builder.add(builder.add(e, w[t]), repeated(_WORDS, _CONSTANTS[t // 20]))
            added = builder.add(added, _chosen(builder, t // 20, b, c, d))
            a, b, c, d, e = builder.add(added, _rotated(builder, a, 5)), a, _rotated(builder, b, 30), c, d
        for place, (word, first) in enumerate(zip((a, b), _START[:2], strict=True)):
            whole = _of_words(builder, "bswap", builder.add(word, repeated(_WORDS, first)))
            builder.store(whole, builder.gep(target, [ir.IntType(64)(place)]), align=4)
        return context.get_dummy_value()

    return types.void(words, starts), codegen


#: Typed, so that what is inlined is compiled once and not once for each of them.
_1, _5, _30, _32 = (np.uint32(bits) for bits in (1, 5, 30, 32))


@inlined
def _rotate(x: Any, bits: Any) -> Any:
    return np.uint32((x << bits) | (x >> (_32 - bits)))


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
        new = np.uint32(_rotate(a, _5) + f + e + constant + w[t])
        e, d, c, b, a = d, c, _rotate(b, _30), a, new
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


@compiled(read("uint8"), types.int64, types.int64, written("uint32"))
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
            w[t] = _rotate(np.uint32(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16]), _1)
        a, b, c, d, e = _rounds(w, np.int64(0), np.int64(0), np.uint32(0x5A827999), h0, h1, h2, h3, h4)
        a, b, c, d, e = _rounds(w, np.int64(20), np.int64(1), np.uint32(0x6ED9EBA1), a, b, c, d, e)
        a, b, c, d, e = _rounds(w, np.int64(40), np.int64(2), np.uint32(0x8F1BBCDC), a, b, c, d, e)
        a, b, c, d, e = _rounds(w, np.int64(60), np.int64(1), np.uint32(0xCA62C1D6), a, b, c, d, e)
        h0, h1, h2 = np.uint32(h0 + a), np.uint32(h1 + b), np.uint32(h2 + c)
        h3, h4 = np.uint32(h3 + d), np.uint32(h4 + e)
    return np.uint64(_swapped(h0)) | (np.uint64(_swapped(h1)) << np.uint64(32))


@inlined
def _put(data: Any, at: Any, size: Any, words: Any, lane: Any, used: Any) -> None:
    """A message of one block as the lane's column of `words`; used[lane]: how many pairs of words it has."""
    pairs = (size >> 3) + 1
    for pair in range(pairs):
        eight = load64(data, at + 8 * pair)
        rest = np.uint64(size - 8 * pair)
        if rest < np.uint64(8):
            bits = np.uint64(8) * rest
            eight = (eight & ((np.uint64(1) << bits) - np.uint64(1))) | (np.uint64(0x80) << bits)
        words[2 * pair, lane] = np.uint32(eight & np.uint64(0xFFFFFFFF))
        words[2 * pair + 1, lane] = np.uint32(eight >> np.uint64(32))
    for pair in range(pairs, used[lane]):
        words[2 * pair, lane] = np.uint32(0)
        words[2 * pair + 1, lane] = np.uint32(0)
    used[lane] = pairs
    words[15, lane] = np.uint32(8 * size)


@inlined
def _hash_lanes(words: Any, starts: Any, places: Any, count: Any, ids: Any) -> None:
    sha1_starts(words, starts)
    for lane in range(count):
        ids[places[lane]] = np.uint64(starts[0, lane]) | (np.uint64(starts[1, lane]) << np.uint64(32))


def scratch() -> tuple[np.ndarray, ...]:
    """What `sha1_all` works in."""
    return (
        np.zeros((16, MESSAGES), np.uint32),
        np.zeros((2, MESSAGES), np.uint32),
        np.zeros((2, MESSAGES), np.int64),
        np.zeros(80, np.uint32),
    )


@compiled(
    read("uint8"), read("int64"), read("int64"), written("uint64"),
    written("uint32", 2), written("uint32", 2), written("int64", 2), written("uint32"),
)  # fmt: skip
def sha1_all(data: Any, begins: Any, ends: Any, ids: Any, words: Any, starts: Any, lanes: Any, long_words: Any) -> None:
    """Into ids go the first eight bytes, little end first, of the SHA-1 of each data[begin:end]. The rest is of
    `scratch`.

    `data` has SPARE_BYTES after the last message.
    """
    places, used = lanes[0], lanes[1]
    lane = np.int64(0)
    for i in range(len(begins)):
        size = ends[i] - begins[i]
        if size > ONE_BLOCK:
            ids[i] = sha1_first8(data, begins[i], size, long_words)
            continue
        _put(data, begins[i], size, words, lane, used)
        places[lane] = i
        lane += 1
        if lane == MESSAGES:
            _hash_lanes(words, starts, places, np.int64(MESSAGES), ids)
            lane = np.int64(0)
    _hash_lanes(words, starts, places, lane, ids)
