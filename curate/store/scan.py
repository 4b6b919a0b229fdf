"""A table with vectors as a polars lazy frame, part after part: lists, whichever way each file keeps them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import polars as pl
from polars.io.plugins import register_io_source

if TYPE_CHECKING:
    from curate.store.store import Store


def scan_files(store: Store, names: Sequence[str]) -> pl.LazyFrame:
    """Files of a store, in this order; only columns that are asked for are read, and their checksums compared."""
    with store.opened(names[0]) as part:
        schema = pl.DataFrame(pl.from_arrow(part.schema.empty_table())).schema

    def frames(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        remaining = math.inf if rows is None else rows
        for name in names:
            frame = pl.DataFrame(pl.from_arrow(store.read_file(name, columns)))
            if len(frame) > remaining:
                frame = frame.head(int(remaining))
            remaining -= len(frame)
            yield frame if predicate is None else frame.filter(predicate)
            if not remaining:
                return

    return register_io_source(frames, schema=schema)
