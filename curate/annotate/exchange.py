"""Rows on their way from runs of shards to partitions of the key space: one file for each run, below the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.annotate.partitions import Cut, partitions_for, runs_of, warn_of_skew
from curate.store.spill import by_key, read_spilled, spill, spilled, spilled_rows
from curate.store.store import Store


@dataclass(frozen=True)
class Exchange:
    """
    folder: of the files, see curate.store.spill. runs: the shards of each task that sends.
    partitions: their number, each received by one task. fit: rows that a worker can hold.
    """

    store: Store
    folder: str
    runs: list[list[int]]
    partitions: int
    fit: int

    @classmethod
    def of(cls, store: Store, folder: str, rows: Mapping[int, int], fit: int, cut: Cut) -> Exchange:
        """rows: what each shard sends."""
        runs = runs_of(sorted(rows), cut, rows, fit)
        return cls(store, folder, runs, partitions_for(sum(rows.values()), fit), fit)

    def send(self, run: int, frame: pl.DataFrame, high: np.ndarray) -> None:
        """The rows of a run. high: the upper 32 bits of each row's key, which decide its partition."""
        spill(self.store, self.folder, run, frame, by_key(high, self.partitions), self.partitions)

    def receive(self, partition: int) -> pl.DataFrame:
        """The rows of a partition, run after run."""
        return read_spilled(self.store, self.folder, len(self.runs), partition)

    def unsent(self) -> list[int]:
        """Runs that have not sent theirs."""
        sent = spilled(self.store, self.folder)
        return [run for run in range(len(self.runs)) if run not in sent]

    def waiting(self, label: str) -> dict[int, int]:
        """Rows of each partition, once all is sent; partitions that are too large are said, `label` being what is to
        receive them."""
        rows = spilled_rows(self.store, self.folder, self.partitions)
        warn_of_skew(rows, self.fit, label)
        return dict(enumerate(rows.tolist()))

    def forget(self) -> None:
        """Give the disk back, once what was made of all partitions is there: nothing is sent or received again, unless
        a file of that is lost."""
        self.store.remove(self.folder)
