"""Rows of consecutive shards read together: one evaluation for many small shards, in memory that has a limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from curate.store.view import View

#: Bytes of the columns that are evaluated together, and one shard more.
BATCH_BYTES = 8 << 20


@dataclass(frozen=True)
class Batch:
    """Consecutive shards whose columns have the same types.

    shards: their numbers. rows: their rows, one shard behind the other. ends: where each shard ends in `rows`.
    owners: for each shard the identity of the records that its rows belong to, "" where no table tells it.
    """

    shards: Sequence[int]
    rows: pl.DataFrame
    ends: Sequence[int]
    owners: Sequence[str]

    def slices(self) -> Iterator[tuple[int, slice, str]]:
        """(shard, where its rows are, owner) of each shard."""
        for shard, start, end, owner in zip(self.shards, [0, *self.ends], self.ends, self.owners, strict=False):
            yield shard, slice(start, end), owner


def batches(view: View, columns: Sequence[str], shards: Iterable[int]) -> Iterator[Batch]:
    """All rows of some shards, at most BATCH_BYTES and one shard at a time."""
    tables: list[tuple[int, pa.Table, str]] = []
    size = 0
    for shard in shards:
        table, owner = view.rows(shard, columns)
        if tables and (size >= BATCH_BYTES or not table.schema.equals(tables[0][1].schema)):
            yield _batch(tables)
            tables, size = [], 0
        tables.append((shard, table, owner))
        size += table.nbytes
    if tables:
        yield _batch(tables)


def _batch(tables: Sequence[tuple[int, pa.Table, str]]) -> Batch:
    shards, parts, owners = zip(*tables, strict=True)
    ends = np.cumsum([part.num_rows for part in parts]).tolist()
    return Batch(shards, pl.DataFrame(pa.concat_tables(parts)), ends, owners)
