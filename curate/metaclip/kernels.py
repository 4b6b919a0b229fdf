"""Compiled loops of the substring matcher: tokens, hash tables, one pass over Arrow buffers.

Layout. A key " e1 e2 .. em " lies in the spaced text exactly when e1..em are consecutive pieces between single blanks,
so entries become paths over tokens (the empty token counts: it is what two blanks make).

- `tokens` uint64[slots, 4]: an open-addressing table of every token of every entry, 32 bytes a slot:
  bytes 0-7 (or a hash, above 16 bytes) | bytes 8-15 (or the offset in `pool`) | length+1, entry id+1 (high half) |
  64-bit Bloom mask of the tokens that may follow (0: none). A token's id, and its root node, is its slot.
- `edges` uint64[slots, 2]: (node << 32 | token) + 1 | entry id+1, bit 32 when the path goes on. Node = slots of
  `tokens` + slot here.
- `filters` uint64[words]: a Bloom filter of the edges, two bits in one word each, small enough for the second cache;
  nine of ten pairs of tokens end there and cost no look into `edges`.

Speed comes from cache misses, not instructions: rows go in blocks of a few kilobytes, and every table slot of a block
is prefetched one pass before it is read. Scratch memory is about 80 times the longest text.

One file, though a long one: numba's disk cache does not see a change in a compiled function of another file.
"""

# Compiled code is flat: arrays as arguments, branches on bytes.
# ruff: noqa: PLR0912

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils

from curate.arrays.compiled import compiled, inlined, intrinsic, load64, read, written
from curate.arrays.llvm import data_of


@intrinsic
def _trailing_zeros(typingctx: Any, word: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


@intrinsic
def _prefetch(typingctx: Any, array: Any, index: Any) -> Any:
    """Ask for row `index` of a C-contiguous 2-D array without waiting for it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        view = context.make_array(array_type)(context, builder, value=args[0])
        stride = builder.extract_value(view.strides, 0)
        byte = ir.IntType(8)
        at = builder.gep(builder.bitcast(view.data, byte.as_pointer()), [builder.mul(args[1], stride)])
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch", (byte.as_pointer(),), kind)
        builder.call(function, [at, i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


@intrinsic
def _copy(typingctx: Any, to: Any, source: Any, at: Any, size: Any) -> Any:
    """to[:size] = source[at : at + size] of uint8 arrays as one memcpy; numba's own loop takes five times as long."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to_data, data = (
            data_of(context, builder, kind, value) for kind, value in zip(signature.args[:2], args[:2], strict=True)
        )
        cgutils.raw_memcpy(builder, to_data, builder.gep(data, [args[2]]), args[3], 1)
        return context.get_dummy_value()

    return types.void(to, source, types.int64, types.int64), codegen


BLOCK_BYTES = 4096
FEW = 16
NO_ID = np.uint32(0xFFFFFFFF)
_BYTE = np.uint8
EMPTY, BLANK, PUNCTUATION = _BYTE(0), _BYTE(0x80), _BYTE(0xC0)
_HIGH_BITS = np.uint64(0x8080808080808080)
_A, _B, _C, _D = (
    np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
)
_32, _1, _0 = np.uint64(32), np.uint64(1), np.uint64(0)
_LOW = np.uint64(0xFFFFFFFF)
_63 = np.uint64(63)
_MASKS = np.array([(1 << (8 * min(n, 8))) - 1 for n in range(17)], dtype=np.uint64)
_MASKS_HIGH = np.array([(1 << (8 * max(n - 8, 0))) - 1 for n in range(17)], dtype=np.uint64)


@inlined
def _mix(low: Any, high: Any, length: Any) -> Any:
    h = low * _A + high * _B + np.uint64(length) * _C
    h ^= h >> _32
    h *= _D
    return h


@inlined
def _top_bits(slots: Any) -> Any:
    """By how much a hash is shifted to be one of `slots`, a power of two."""
    return np.uint64(64) - np.uint64(_trailing_zeros(np.uint64(slots)))


@inlined
def _edge_key(node: Any, token: Any) -> Any:
    return ((np.uint64(node) << _32) | np.uint64(token)) + _1


@inlined
def _edge_home(key: Any, shift: Any) -> Any:
    h = key * _A
    h ^= h >> _32
    h *= _D
    return np.int64(h >> shift)


@inlined
def _filter_bits(filters: Any, key: Any) -> Any:
    """(word, two bits) of an edge in the blocked Bloom filter; its size is a power of two."""
    h = key * _B
    h ^= h >> _32
    h *= _A
    bits = (_1 << (h & _63)) | (_1 << ((h >> np.uint64(6)) & _63))
    return np.int64((h >> np.uint64(20)) & np.uint64(len(filters) - 1)), bits


@inlined
def _may_hold(filters: Any, key: Any) -> Any:
    word, bits = _filter_bits(filters, key)
    return filters[word] & bits == bits


@inlined
def _token_key(data: Any, start: Any, length: Any) -> Any:
    """(low, high, hash): the token itself up to 16 bytes, else a hash of it. `data` has 16 bytes to spare."""
    if length <= 16:
        low = load64(data, start) & _MASKS[length]
        high = load64(data, start + 8) & _MASKS_HIGH[length]
        return low, high, _mix(low, high, length)
    h = np.uint64(length) * _C
    for at in range(start, start + length - 8, 8):
        h = (h ^ load64(data, at)) * _A
        h ^= h >> _32
    h = (h ^ load64(data, start + length - 8)) * _A
    h ^= h >> _32
    return h, _0, h * _D


@inlined
def _same_bytes(a: Any, at: Any, b: Any, bt: Any, length: Any) -> Any:
    """Equality of two runs longer than 16 bytes."""
    for k in range(0, length - 8, 8):
        if load64(a, at + k) != load64(b, bt + k):
            return False
    return load64(a, at + length - 8) == load64(b, bt + length - 8)


@inlined
def _find(tokens: Any, pool: Any, slot: Any, low: Any, high: Any, data: Any, start: Any, length: Any) -> Any:
    """Slot of a token, or -1 - (the free slot where it would go)."""
    wrap = tokens.shape[0] - 1
    length_tag = np.uint64(length + 1)
    while True:
        stored = tokens[slot, 2] & _LOW
        if stored == _0:
            return -1 - slot
        if stored == length_tag and tokens[slot, 0] == low:
            if length <= 16:
                if tokens[slot, 1] == high:
                    return slot
            elif _same_bytes(pool, np.int64(tokens[slot, 1]), data, start, length):
                return slot
        slot = (slot + 1) & wrap


@compiled(
    read("uint8"), read("int64"), read("boolean"),
    written("uint64", 2), read("uint64", 2), written("uint64", 2), written("uint64"),
)  # fmt: skip
def build(pool: Any, offsets: Any, legal: Any, tokens: Any, seen: Any, edges: Any, filters: Any) -> Any:
    """Fill the two tables; returns (longest path in tokens, first id, second id of a duplicate or -1, -1).

    `seen` is `tokens` once more: what only reads it is compiled once, for this loop and `match`.
    """
    token_shift, edge_shift = _top_bits(tokens.shape[0]), _top_bits(edges.shape[0])
    edge_wrap = edges.shape[0] - 1
    deepest = 1
    for i in range(len(offsets) - 1):
        if not legal[i]:
            continue
        start, stop = offsets[i], offsets[i + 1]
        depth, node, at = 0, np.int64(-1), np.int64(-1)
        for k in range(start, stop + 1):
            if k < stop and pool[k] != 32:
                continue
            length = k - start
            low, high, h = _token_key(pool, start, length)
            slot = _find(seen, pool, np.int64(h >> token_shift), low, high, pool, start, length)
            if slot < 0:
                slot = -1 - slot
                tokens[slot, 0] = low
                tokens[slot, 1] = high if length <= 16 else np.uint64(start)
                tokens[slot, 2] = np.uint64(length + 1)
            if depth == 0:
                node = slot
            else:
                if depth == 1:
                    tokens[node, 3] |= _1 << (np.uint64(slot) & _63)
                else:
                    edges[at, 1] |= _1 << _32
                key = _edge_key(node, slot)
                word, bits = _filter_bits(filters, key)
                filters[word] |= bits
                at = _edge_home(key, edge_shift)
                while edges[at, 0] != _0 and edges[at, 0] != key:
                    at = (at + 1) & edge_wrap
                edges[at, 0] = key
                node = tokens.shape[0] + at
            depth += 1
            start = k + 1
        deepest = max(deepest, depth)
        if depth == 1:
            if tokens[node, 2] >> _32 != _0:
                return deepest, np.int64(tokens[node, 2] >> _32) - 1, i
            tokens[node, 2] |= np.uint64(i + 1) << _32
        else:
            if edges[at, 1] & _LOW != _0:
                return deepest, np.int64(edges[at, 1] & _LOW) - 1, i
            edges[at, 1] |= np.uint64(i + 1)
    return deepest, -1, -1


@inlined
def _classify(text: Any, size: Any, marks: Any) -> None:
    """Label the bytes of a block; no branches and one byte wide throughout, so that it is vectorised."""
    for k in range(size):
        b = text[k]
        blank = (b == _BYTE(32)) | (b == _BYTE(9)) | (b == _BYTE(10)) | (b == _BYTE(13))
        mark = (b == _BYTE(44)) | (b == _BYTE(46)) | (b == _BYTE(58)) | (b == _BYTE(59)) | (b == _BYTE(63))
        mark |= (b == _BYTE(33)) | (b == _BYTE(96))
        marks[k] = PUNCTUATION if mark else (BLANK if blank else EMPTY)


@inlined
def _separator(marks: Any, at: Any, stop: Any) -> Any:
    """First separator in [at, stop), or stop; `marks` has eight bytes to spare."""
    while at < stop:
        word = load64(marks, at) & _HIGH_BITS
        if word != _0:
            at += _trailing_zeros(word) >> 3
            return at if at < stop else stop
        at += 8
    return stop


@inlined
def _note(text: Any, start: Any, length: Any, tokens: Any, shift: Any, keys: Any, spans: Any, n: Any) -> Any:
    low, high, h = _token_key(text, start, length)
    slot = np.int64(h >> shift)
    _prefetch(tokens, slot)
    keys[n, 0] = low
    keys[n, 1] = high
    spans[n, 0] = slot
    spans[n, 1] = start
    spans[n, 2] = length
    return n + 1


@inlined
def _split(text: Any, marks: Any, at: Any, stop: Any, tokens: Any, shift: Any, keys: Any, spans: Any, n: Any) -> Any:
    """Append the tokens of one spaced text: what stands between its single blanks, empty pieces included."""
    while True:
        end = _separator(marks, at, stop)
        n = _note(text, at, end - at, tokens, shift, keys, spans, n)
        if end == stop:
            return n
        if marks[end] == PUNCTUATION:
            n = _note(text, end, np.int64(1), tokens, shift, keys, spans, n)
        at = end + 1


@inlined
def _sorted_set(values: Any, start: Any, stop: Any, ranked: Any) -> Any:
    """Sort values[start:stop] and drop repeats in place; returns the new stop. `ranked` is uint32[2, FEW] scratch.

    Few values are put where the count of smaller ones says, without a branch to guess wrong; repeats fall on one place.
    """
    size = stop - start
    if size <= FEW:
        for i in range(FEW):
            ranked[0, i] = NO_ID
            ranked[1, i] = NO_ID
        for i in range(size):
            ranked[0, i] = values[start + i]
        for i in range(size):
            value = ranked[0, i]
            rank = np.uint32(0)
            for k in range(FEW):
                rank += np.uint32(ranked[0, k] < value)
            ranked[1, rank] = value
        kept = start
        for i in range(size):
            values[kept] = ranked[1, i]
            kept += ranked[1, i] != NO_ID
        return kept
    # By insertion at falling distances (Shell's sort): numpy's own takes a second to compile.
    gap = size
    while gap > 1:
        gap = (gap * 4 - 1) // 9
        gap = max(gap, 1)
        for i in range(start + gap, stop):
            moved, at = values[i], i
            while at >= start + gap and values[at - gap] > moved:
                values[at] = values[at - gap]
                at -= gap
            values[at] = moved
    kept = start + 1
    for i in range(start + 1, stop):
        if values[i] != values[kept - 1]:
            values[kept] = values[i]
            kept += 1
    return kept


@inlined
def _resolve(
    tokens: Any, edges: Any, filters: Any, pool: Any, text: Any, keys: Any, spans: Any, n: Any, shift: Any
) -> Any:
    """Replace first guesses by slots (-1: in no entry) and ask for the edges that the Bloom masks let through.

    Returns how many tokens are entries, and how many may begin a longer one.
    """
    before = np.int64(-1)
    follow = _0
    single, longer = 0, 0
    for i in range(n):
        length = spans[i, 2]
        slot = np.int64(-1)
        if length >= 0:
            slot = _find(tokens, pool, spans[i, 0], keys[i, 0], keys[i, 1], text, spans[i, 1], length)
        if slot < 0:
            spans[i, 0] = -1
            keys[i, 0] = _0
            before, follow = -1, _0
            continue
        spans[i, 0] = slot
        keys[i, 0] = tokens[slot, 2] >> _32
        single += keys[i, 0] != _0
        spans[i, 1] = -1
        if (follow >> (np.uint64(slot) & _63)) & _1 != _0:
            key = _edge_key(before, slot)
            if _may_hold(filters, key):
                home = _edge_home(key, shift)
                _prefetch(edges, home)
                spans[i - 1, 1] = home
                longer += 1
        before, follow = slot, tokens[slot, 3]
    return single, longer


@inlined
def _walk(edges: Any, token_slots: Any, spans: Any, i: Any, shift: Any, values: Any, count: Any) -> Any:
    """Append the entries of two or more tokens that begin at token i."""
    wrap = edges.shape[0] - 1
    node = spans[i, 0]
    at = spans[i, 1]
    while True:
        i += 1
        token = spans[i, 0]
        if token < 0:
            return count
        key = _edge_key(node, token)
        if at < 0:
            at = _edge_home(key, shift)
        while edges[at, 0] != key:
            if edges[at, 0] == _0:
                return count
            at = (at + 1) & wrap
        edge = edges[at, 1]
        if edge & _LOW != _0:
            values[count] = np.uint32((edge & _LOW) - _1)
            count += 1
        if edge >> _32 == _0:
            return count
        node, at = token_slots + at, np.int64(-1)


@inlined
def _collect(
    edges: Any,
    token_slots: Any,
    keys: Any,
    spans: Any,
    n: Any,
    shift: Any,
    values: Any,
    ends: Any,
    row: Any,
    ranked: Any,
) -> None:
    """Write the sorted sets of a block's rows, the first of them being `row`."""
    start = ends[row]
    count = start
    for i in range(n):
        if spans[i, 2] < 0:
            count = _sorted_set(values, start, count, ranked)
            start = count
            row += 1
            ends[row] = count
        elif spans[i, 0] >= 0:
            values[count] = np.uint32(keys[i, 0] - _1)
            count += keys[i, 0] != _0
            if spans[i, 1] >= 0:
                count = _walk(edges, token_slots, spans, i, shift, values, count)


def scratch(longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `match` works in, for texts of `longest` bytes: numpy makes arrays for nothing, a loop compiles that."""
    room = BLOCK_BYTES + longest
    text = np.zeros(room + 32, np.uint8)
    return (
        text,
        text,
        np.zeros(room + 32, np.uint8),
        np.empty((2 * room + 4096, 2), np.uint64),
        np.empty((2 * room + 4096, 3), np.int64),
        np.empty((2, FEW), np.uint32),
    )


@compiled(
    read("uint8"), read("int64"), read("uint8"), types.int64,
    read("uint64", 2), read("uint64", 2), read("uint64"), read("uint8"), types.int64,
    written("uint8"), read("uint8"), written("uint8"), written("uint64", 2), written("int64", 2), written("uint32", 2),
    written("int64"), written("uint32"),
)  # fmt: skip
def match(
    data: Any, offsets: Any, valid: Any, skip: Any, tokens: Any, edges: Any, filters: Any, pool: Any, deepest: Any,
    text: Any, spaced: Any, marks: Any, keys: Any, spans: Any, ranked: Any, ends: Any, values: Any,
) -> Any:  # fmt: skip
    """uint32 values: the sorted set of entry ids of each row, values[ends[row] : ends[row + 1]]; a null row has none.

    `valid` is Arrow's bitmap, row 0 at bit `skip`; empty when there are no nulls. `text` to `ranked` are of `scratch`;
    `spaced` is `text` once more, for what only reads it. int64 `ends`[n+1] is filled; `values` is what is filled first,
    and what is returned while it has room.
    """
    n_rows = len(offsets) - 1
    token_shift, edge_shift = _top_bits(tokens.shape[0]), _top_bits(edges.shape[0])
    ends[0] = 0
    row = np.int64(0)
    while row < n_rows:
        stop_row = row + 1
        while stop_row < n_rows and stop_row - row < 1024 and offsets[stop_row + 1] - offsets[row] <= BLOCK_BYTES:
            stop_row += 1
        low = offsets[row]
        _copy(text, data, low, offsets[stop_row] - low)
        _classify(text, offsets[stop_row] - low, marks)
        n = np.int64(0)
        for r in range(row, stop_row):
            if len(valid) == 0 or (valid[(skip + r) >> 3] >> ((skip + r) & 7)) & 1:
                n = _split(spaced, marks, offsets[r] - low, offsets[r + 1] - low, tokens, token_shift, keys, spans, n)
            spans[n, 0] = -1
            spans[n, 2] = -1
            n += 1
        single, longer = _resolve(tokens, edges, filters, pool, spaced, keys, spans, n, edge_shift)
        need = ends[row] + single + longer * deepest + 1
        if need > len(values):
            need = max(need, 2 * len(values))
            larger = np.empty(need, np.uint32)
            for k in range(ends[row]):
                larger[k] = values[k]
            values = larger
        _collect(edges, tokens.shape[0], keys, spans, n, edge_shift, values, ends, row, ranked)
        row = stop_row
    return values
