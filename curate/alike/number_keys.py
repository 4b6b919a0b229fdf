"""Keys of rows that share numbers, as those of clusters: 16 bytes, made without a Python object per row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from curate.alike.row_key import comparable, row_keys
from curate.arrays.string_hash import hash_pairs


def number_keys(first: np.ndarray, second: np.ndarray, valid: np.ndarray) -> pa.Array:
    """16 bytes of two whole numbers each, equal where both are; null where not `valid` (bool[n]).

    >>> keys = number_keys(np.array([1, 1, 2, 1]), np.array([5, 5, 5, 6]), np.array([True, True, True, False]))
    >>> keys[0] == keys[1], keys[0] == keys[2], keys[3].is_valid
    (True, False, False)
    """
    one, two = (np.ascontiguousarray(numbers).astype(np.uint64) for numbers in (first, second))
    halves = np.stack([hash_pairs(one, two, 1), hash_pairs(one, two, 2)], axis=1)
    validity = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    buffers = [validity, pa.py_buffer(np.ascontiguousarray(halves))]
    return pa.Array.from_buffers(pa.binary(16), len(one), buffers).cast(pa.binary())


def value_keys(columns: Sequence[pl.Series]) -> pa.Array:
    """16 bytes of the values of a row in one or several columns; null where one of them is. Whole numbers are hashed as
    they are, others as curate.alike.row_key has them."""
    if not all(column.dtype.is_integer() for column in columns):
        return row_keys([comparable(column, column.name) for column in columns])
    valid = np.logical_and.reduce([column.is_not_null().to_numpy() for column in columns])
    # Numbers of two signs stay apart: int64 and uint64 have the same bits.
    *firsts, last = [column.fill_null(0).to_numpy().astype(np.int64).astype(np.uint64) for column in columns]
    first = np.zeros(len(last), np.uint64)
    for place, numbers in enumerate(firsts):
        first = numbers if place == 0 else hash_pairs(first, numbers, 0)
    return number_keys(first, last, valid)
