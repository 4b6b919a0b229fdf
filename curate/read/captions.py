"""Captions that come as a list for each image: which one is the pair's."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: first: of each list; random: one of each, drawn by a hash of the seed and the row's place; each: a row for every one.
Choice = Literal["first", "random", "each"]

TEXTS = pa.list_(pa.large_string())


def lists(values: pa.Array) -> pa.Array:
    """Lists of texts; a plain text is a list of one."""
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type):
        return values.cast(TEXTS)
    texts = values.cast(pa.large_string())
    offsets = np.concatenate([[0], np.cumsum(np.asarray(texts.is_valid()))]).astype(np.int32)
    whole = pa.ListArray.from_arrays(pa.array(offsets), texts.drop_null())
    return pc.if_else(texts.is_valid(), whole, pa.scalar(None, TEXTS))


def chosen(texts: pa.ListArray, how: Choice, seed: int, file: str, first_row: int) -> pa.Array:
    """One caption for each list; null for an empty one.

    >>> chosen(lists(pa.array([["a", "b"], [], None])), "first", 0, "x.parquet", 0).to_pylist()
    ['a', None, None]
    """
    lengths = _lengths(texts)
    index = np.cumsum(lengths) - lengths
    if how == "random":
        rows = np.arange(first_row, first_row + len(texts), dtype=np.uint64)
        index = index + (_hashed(rows, seed, file) % np.maximum(lengths, 1).astype(np.uint64)).astype(np.int64)
    return texts.flatten().take(pa.array(index, mask=lengths == 0))


def each(texts: pa.ListArray) -> tuple[np.ndarray, pa.Array]:
    """The row of every caption, and the captions; a list without any is one row without a caption."""
    lengths = _lengths(texts)
    rows = np.repeat(np.arange(len(texts)), np.maximum(lengths, 1))
    empty = np.repeat(lengths == 0, np.maximum(lengths, 1))
    place = np.cumsum(~empty) - 1
    return rows, texts.flatten().take(pa.array(np.maximum(place, 0), mask=empty))


def _lengths(texts: pa.ListArray) -> np.ndarray:
    lengths: np.ndarray = pc.list_value_length(texts).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths


def _hashed(rows: np.ndarray, seed: int, file: str) -> np.ndarray:
    """A number of 64 bits for each row (splitmix64 over its place)."""
    start = int.from_bytes(hashlib.sha256(f"{seed}:{file}".encode()).digest()[:8], "little")
    x = rows * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: np.ndarray = x ^ (x >> np.uint64(31))
    return hashed
