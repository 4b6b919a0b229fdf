"""The order of rows by which some of a group are drawn: a seeded hash of uid, or the best by a column."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from curate.alike.row_key import sorted_by_key
from curate.arrays.string_hash import hash_pairs, hash_strings


def uid_ranks(uids: pa.Array, seed: int) -> np.ndarray:
    """uint64[n]: a hash of (seed, uid); the lowest are a uniform draw, the same on any cluster."""
    hashes = hash_strings(uids)
    return hash_pairs(hashes, hashes, seed)


def in_order(rows: pl.DataFrame, seed: int, best: str = "") -> pl.DataFrame:
    """Rows of groups, sorted by `key`, then in the order in which they are drawn; equals by uid, then by place.

    best: a column whose greatest values come first, null and NaN last; in place of the hash.
    """
    if best:
        values = rows[best]
        first = (values.fill_nan(None) if values.dtype.is_float() else values).alias("order")
    else:
        first = pl.Series("order", uid_ranks(rows["uid"].to_arrow(), seed))
    then = ["order", "uid", "shard", "row"]
    return sorted_by_key(rows.with_columns(first), then, descending=["order"] if best else [])
