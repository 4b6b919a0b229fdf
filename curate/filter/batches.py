"""Rows of consecutive shards read together: one evaluation for many small shards, in memory that has a limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from curate.store.view import View

#: Reading small parquet files waits for storage more than it computes.
THREADS = 8

#: Rows of the shards that one task reads and writes.
TASK_ROWS = 300_000

#: Tasks whose results wait for their turn, for each thread.
WAITING = 2

#: Bytes of the columns that are evaluated together, and one shard more.
BATCH_BYTES = 8 << 20

T = TypeVar("T")


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


def tasks(shard_rows: dict[int, int], most: int = TASK_ROWS) -> Iterator[list[int]]:
    """Consecutive shards of at most that many rows, or one larger shard.

    >>> list(tasks({0: 4, 1: 4, 2: 4, 3: 20, 4: 1}, 10))
    [[0, 1], [2], [3], [4]]
    """
    task: list[int] = []
    rows = 0
    for shard, size in sorted(shard_rows.items()):
        if task and rows + size > most:
            yield task
            task, rows = [], 0
        task.append(shard)
        rows += size
    if task:
        yield task


def in_threads(work: Callable[[list[int]], T], all_tasks: Iterable[list[int]]) -> Iterator[T]:
    """Results in the order of the tasks, never more than a few ahead of the reader."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for task in all_tasks:
                waiting.append(pool.submit(work, task))
                if len(waiting) >= THREADS * WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
