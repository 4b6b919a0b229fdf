"""Rows on their way from runs of shards to partitions of the key space, and verdicts back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from curate.annotate.partitions import Cut, partitions_for, runs_of, warn_of_skew
from curate.annotate.transfer import Layout, Transfer
from curate.cluster.cluster import Cluster
from curate.store.spill import by_key
from curate.store.store import Store


@dataclass(frozen=True)
class Exchange:
    """
    transfer: the files of the rows. runs: the shards of each task that sends.
    partitions: their number, each received by one task. fit: rows that a worker can hold. rows: of all shards.
    """

    transfer: Transfer
    runs: list[list[int]]
    partitions: int
    fit: int
    rows: int

    @classmethod
    def of(cls, store: Store, folder: str, rows: Mapping[int, int], fit: int, cut: Cut) -> Exchange:
        """rows: what each shard sends."""
        runs, total = runs_of(sorted(rows), cut, rows, fit), sum(rows.values())
        partitions = partitions_for(total, fit)
        layout = Layout.of(len(runs), partitions, total, fit, cut.ranges)
        return cls(Transfer(store, folder, layout), runs, partitions, fit, total)

    def back(self, folder: str, cut: Cut) -> Transfer:
        """From partitions to runs."""
        layout = Layout.of(self.partitions, len(self.runs), self.rows, self.fit, cut.ranges)
        return Transfer(self.transfer.store, folder, layout)

    def send(self, run: int, frame: pl.DataFrame, high: np.ndarray) -> None:
        """The rows of a run. high: the upper 32 bits of each row's key, which decide its partition."""
        self.transfer.send(run, frame, by_key(high, self.partitions))

    def receive(self, partition: int) -> pl.DataFrame:
        """The rows of a partition."""
        return self.transfer.receive(partition)

    def unsent(self) -> list[int]:
        """Runs that have not sent theirs."""
        return self.transfer.unsent()

    def waiting(self, cluster: Cluster, label: str, phase: str, use: dict[str, Any]) -> dict[int, int]:
        """Rows of each partition, once all is sent; partitions that are too large are said.

        label: of the op; phase: what is to receive them.
        """
        self.transfer.finish(cluster, label, use)
        rows = self.transfer.rows()
        warn_of_skew(rows, self.fit, f"{label}: {phase}")
        return dict(enumerate(rows.tolist()))

    def forget(self) -> None:
        """As Transfer.forget."""
        self.transfer.forget()
