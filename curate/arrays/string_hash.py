"""Hashes that decisions are made of: XXH64 of strings, and of pairs of hashes with a seed; compiled, over Arrow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from curate.arrays.string_buffers import string_array, string_buffers


def hash_strings(strings: pa.Array | pa.ChunkedArray | Sequence[str]) -> np.ndarray:
    """uint64[n]: XXH64 with seed 0 of each string's UTF-8 bytes (a published hash, so draws can be checked elsewhere).

    >>> f"{hash_strings(['', 'abc'])[1]:016x}"
    '44bc2cf5ad770999'
    """
    from curate.arrays import string_hash_kernels as kernels

    if isinstance(strings, pa.ChunkedArray):
        parts = [hash_strings(chunk) for chunk in strings.chunks]
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)
    array = string_array(strings if isinstance(strings, pa.Array) else pa.array(strings, pa.large_string()))
    data, offsets, _ = string_buffers(array)
    hashes = np.empty(len(array), np.uint64)
    kernels.xxh64_all(data, offsets, hashes)
    return hashes


def hash_pairs(first: np.ndarray, second: np.ndarray, seed: int) -> np.ndarray:
    """uint64[n] of (seed, first, second), two uint64[n]: what the draws are made of; its high 53 bits are uniform."""
    from curate.arrays import string_hash_kernels as kernels

    hashes = np.empty(len(first), np.uint64)
    kernels.pairs(first, second, np.uint64(seed & 0xFFFFFFFFFFFFFFFF), hashes)
    return hashes
