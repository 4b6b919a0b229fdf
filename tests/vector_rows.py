"""Stores of random rows with vectors, for ops that read them; and what their tables hold, by uid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import HERE

from curate.read.step import ReadOptions, read
from curate.store.store import Store
from curate.store.view import View

NONE = [None]


def random_vectors(rows: int, width: int, seed: int = 0) -> np.ndarray:
    """float16[rows, width] of length 1, around a few directions."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((8, width))
    vectors = centres[rng.integers(0, 8, rows)] + 0.7 * rng.standard_normal((rows, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def lists(vectors: np.ndarray | Sequence[Any], null: Sequence[int] = ()) -> pa.Array:
    """A column of vectors as they are stored; null in some rows."""
    rows = [None if i in set(null) else vector for i, vector in enumerate(np.asarray(vectors, np.float16).tolist())]
    return pa.array(rows, pa.list_(pa.float16()))


def uid_of(row: int) -> str:
    """Uids do not sort as rows stand."""
    return f"{row * 7919 % 100_003:032x}"


def store_of(folder: Path, columns: Mapping[str, Any], rows_per_shard: int, order: Sequence[int] | None = None) -> View:
    """A store of these columns; row i has uid_of(i), wherever `order` puts it."""
    count = len(next(iter(columns.values())))
    table = pa.table(
        {"uid": [uid_of(i) for i in range(count)], "url": [f"http://x/{i}" for i in range(count)], **columns}
    )
    if "text" not in columns:
        table = table.append_column("text", pa.array([f"caption number {i}" for i in range(count)]))
    folder.mkdir()
    pq.write_table(table.take(pa.array(range(count) if order is None else order)), folder / "in.parquet")
    options = ReadOptions(input=str(folder / "in.parquet"), rows_per_shard=rows_per_shard)
    return read(Store(str(folder / "store")), options, HERE)


def by_row(view: View, table: str) -> pl.DataFrame:
    """A table of the store in the order of the rows' numbers, without uids."""
    frame = view.store[table].collect()
    numbers = {uid_of(i): i for i in range(len(frame))}
    place = frame["uid"].replace_strict(numbers, return_dtype=pl.Int64)
    return frame.with_columns(place=place).sort("place").drop("place", "uid")
