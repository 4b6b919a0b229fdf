"""Compiled loops of MinHash: permutations and Jaccard, over the ids of shingles.

An id is the first eight bytes of a shingle's SHA-1; the low four of them are datasketch's base hash, all eight tell
sets apart when Jaccard is computed.
"""

# Compiled code is flat: arrays as arguments.

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils

from curate.arrays.compiled import compiled, inlined, intrinsic, read, written
from curate.arrays.llvm import repeated

#: Permutations at once, in vectors of the processor.
PERMUTED = 8

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_MERSENNE_HIGH = (1 << 29) - 1

_A, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_MERSENNE = np.uint64((1 << 61) - 1)
_61, _1 = np.uint64(61), np.uint64(1)


def _extreme(builder: Any, sign: str, a: Any, b: Any) -> Any:
    """The smaller (<) or larger (>) of each pair of words."""
    return builder.select(builder.icmp_unsigned(sign, a, b), a, b)


@intrinsic
def least_permuted(
    typingctx: Any, ids: Any, start: Any, stop: Any, a: Any, c: Any, first: Any, result: Any, row: Any
) -> Any:
    """Into result[row, first : first + PERMUTED] go the least values of ids[start:stop] in these permutations.

    A value is the low half of ((a x + c) mod 2^64) mod (2^61 - 1), for the low half x of an id. Returns whether one of
    them was so close to a multiple of 2^61 - 1 that it may be one too low: once in 10^8 values, to be computed anew.
    """
    words, longs = ir.VectorType(_I32, PERMUTED), ir.VectorType(_I64, PERMUTED)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        views = {i: context.make_array(signature.args[i])(context, builder, value=args[i]) for i in (0, 3, 4, 6)}
        arrays, width = {i: view.data for i, view in views.items()}, views[6].shape
        factors, terms = (
            builder.load(builder.bitcast(builder.gep(arrays[i], [args[5]]), longs.as_pointer()), align=8)
            for i in (3, 4)
        )
        smallest = cgutils.alloca_once_value(builder, repeated(words, 0xFFFFFFFF))
        highest = cgutils.alloca_once_value(builder, repeated(words, 0))
        with cgutils.for_range_slice(builder, args[1], args[2], _I64(1)) as (i, _):
            low = builder.and_(builder.load(builder.gep(arrays[0], [i])), _I64(0xFFFFFFFF))
            every = builder.insert_element(ir.Constant(longs, ir.Undefined), low, _I32(0))
            zeros = repeated(words, 0)
            every = builder.shuffle_vector(every, ir.Constant(longs, ir.Undefined), zeros)
            value = builder.add(builder.mul(factors, every), terms)
            high = builder.trunc(builder.lshr(value, repeated(longs, 32)), words)
            kept = builder.add(builder.trunc(value, words), builder.lshr(high, repeated(words, 29)))
            builder.store(_extreme(builder, "<", builder.load(smallest), kept), smallest)
            near = builder.and_(high, repeated(words, _MERSENNE_HIGH))
            builder.store(_extreme(builder, ">", builder.load(highest), near), highest)
        place = builder.add(builder.mul(args[7], builder.extract_value(width, 1)), args[5])
        target = builder.bitcast(builder.gep(arrays[6], [place]), words.as_pointer())
        builder.store(builder.load(smallest), target, align=4)
        equal = builder.icmp_unsigned("==", builder.load(highest), repeated(words, _MERSENNE_HIGH))
        bits = builder.bitcast(equal, ir.IntType(PERMUTED))
        return builder.icmp_unsigned("!=", bits, ir.IntType(PERMUTED)(0))

    return types.boolean(ids, types.int64, types.int64, a, c, types.int64, result, types.int64), codegen


@inlined
def _exactly(ids: Any, start: Any, stop: Any, factor: Any, term: Any) -> Any:
    """The least value of one permutation."""
    least = _LOW
    for i in range(start, stop):
        v = factor * (ids[i] & _LOW) + term
        t = (v & _MERSENNE) + (v >> _61)
        # t - (2^61-1) where t is at least that: in the low 32 bits the same as adding one.
        t += (t + _1) >> _61
        least = min(least, t & _LOW)
    return np.uint32(least)


@compiled(read("uint64"), read("int64"), read("uint64"), read("uint64"), written("uint32", 2))
def signatures(ids: Any, bounds: Any, a: Any, c: Any, result: Any) -> None:
    """result uint32[n, len(a)]: the least (a x + c mod 2^64) mod 2^61-1, low 32 bits, over the low halves x of a row's
    ids; all ones for a row without ids. len(a) is a multiple of PERMUTED.

    The product wraps in 64 bits before the modulus is taken, as datasketch's does.
    """
    for row in range(len(bounds) - 1):
        start, stop = bounds[row], bounds[row + 1]
        for first in range(0, len(a), PERMUTED):
            if least_permuted(ids, start, stop, a, c, first, result, row):
                for p in range(first, first + PERMUTED):
                    result[row, p] = _exactly(ids, start, stop, a[p], c[p])


@compiled(read("uint32", 2), types.int64, types.int64, written("uint64", 2))
def band_keys(values: Any, bands: Any, rows: Any, keys: Any) -> None:
    """keys uint64[n, bands]: a mix of each band's `rows` values; chance equality only costs a comparison."""
    for i in range(len(values)):
        for band in range(bands):
            h = np.uint64(rows)
            for j in range(band * rows, (band + 1) * rows):
                h = (h ^ np.uint64(values[i, j])) * _A
                h ^= h >> _32
            h *= _C
            keys[i, band] = h ^ (h >> _32)


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


@compiled(
    read("uint64"), read("int64"), read("int64"), read("int64"), types.float64,
    written("int64", 2), written("float64"), written("int64", 2), written("float64"),
)  # fmt: skip
def similar_sets(
    ids: Any, bounds: Any, members: Any, groups: Any, threshold: Any, ends: Any, weight: Any, scratch: Any, best: Any
) -> Any:
    """How many ends[:, i], two places in `members`, and weight[i], their similarity, are filled: within each group of
    sets, the links of a maximum spanning forest over all pairs with a Jaccard similarity of at least `threshold`.
    `scratch` int64[2] and `best` have a place for each set of the largest group.

    The forest has the same connected components as all pairs, at the threshold and at every one above it, and at most
    one link per set; Prim's way to it holds no list of pairs.
    """
    edges = 0
    link, outside = scratch[0], scratch[1]
    for group in range(len(groups) - 1):
        start, stop = groups[group], groups[group + 1]
        for i in range(stop - start):
            best[i], link[i], outside[i] = 0.0, 0, start + i
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
                ends[0, edges], ends[1, edges], weight[edges] = link[current - start], current, closest
                edges += 1
    return edges
