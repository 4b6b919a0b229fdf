"""Rows on their way from many writers to many readers: in one step or, where that would be too many ranges, in two.

In one step each writer leaves a file in which each reader has a range: writers x readers ranges are read, and an object
store answers two requests for each. In two, readers lie in buckets, writers in batches:

    <folder>/<writer>.spill         has a range for each bucket
    <folder>-fine/<item>.spill      of a batch of writers and a bucket, an item for each such pair, as few as fit into a
                                    worker: has a range for each reader of the bucket

That reads writers x buckets + batches x readers ranges, and every row is written and read once more. Each file is
whole, under a name that its content decides; the first files are removed once all of the second are there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from curate.cluster.cluster import Cluster
from curate.store.spill import read_spilled, spill, spilled, spilled_rows
from curate.store.store import Store

#: Times the rows that fit into a worker that the second step may hold: it makes one copy, where an op makes several.
HELD = 4
#: Which reader a row is for, on its way to a bucket.
READER = "reader"


@dataclass(frozen=True)
class Layout:
    """How rows go: `span` readers in each of `buckets` buckets, `batch` writers in each of `batches` batches; one step
    where there are no buckets."""

    writers: int
    readers: int
    buckets: int = 0
    span: int = 0
    batches: int = 0
    batch: int = 0

    @classmethod
    def of(cls, writers: int, readers: int, rows: int, fit: int, most: int) -> Layout:
        """rows: of all writers. fit: rows that a worker can hold. most: ranges that may be read in one step.

        >>> Layout.of(45_000, 45_000, 180 * 10**9, 4_000_000, 10**7).ranges()
        9585000
        """
        if writers * readers <= most:
            return cls(writers, readers)
        items = max(1.0, rows / (HELD * fit))
        # The sum of ranges is least where both steps read as many.
        buckets = min(readers, max(1, math.ceil(math.sqrt(items * readers / writers))))
        span = -(-readers // buckets)
        buckets = -(-readers // span)
        # Of a batch and a bucket as many rows as a worker may hold.
        batch = min(writers, max(1, HELD * fit * writers * readers // max(1, rows * span)))
        return cls(writers, readers, buckets, span, -(-writers // batch), batch)

    def ranges(self) -> int:
        """That are read: two requests each."""
        if not self.buckets:
            return self.writers * self.readers
        return self.writers * self.buckets + self.batches * self.readers

    def items(self, bucket: int) -> range:
        """Of the second step, one for each batch of writers."""
        return range(bucket * self.batches, (bucket + 1) * self.batches)

    def files(self) -> int:
        return self.writers + self.buckets * self.batches


@dataclass(frozen=True)
class Transfer:
    """The job of the second step is `resend`; writers call `send`, readers `receive`."""

    store: Store
    folder: str
    layout: Layout

    def send(self, writer: int, frame: pl.DataFrame, reader: np.ndarray) -> None:
        """The rows of a writer, row i for reader[i]."""
        way = self.layout
        if way.buckets:
            frame = frame.with_columns(pl.Series(READER, reader.astype(np.uint32)))
            spill(self.store, self.folder, writer, frame, reader // way.span, way.buckets)
        else:
            spill(self.store, self.folder, writer, frame, reader, way.readers)

    def resend(self, item: int) -> None:
        """The rows of a batch of writers for a bucket."""
        way = self.layout
        bucket, batch = divmod(item, way.batches)
        writers = range(batch * way.batch, min(way.writers, (batch + 1) * way.batch))
        frame = read_spilled(self.store, self.folder, writers, bucket)
        reader = frame[READER].to_numpy().astype(np.int64) - bucket * way.span
        spill(self.store, self._fine, item, frame.drop(READER), reader, way.span)

    def receive(self, reader: int) -> pl.DataFrame:
        way = self.layout
        if not way.buckets:
            return read_spilled(self.store, self.folder, way.writers, reader)
        bucket, place = divmod(reader, way.span)
        return read_spilled(self.store, self._fine, way.items(bucket), place)

    def rows(self) -> np.ndarray:
        """int64[readers]: rows for each, once all is sent."""
        way = self.layout
        if not way.buckets:
            return spilled_rows(self.store, self.folder, range(way.writers), way.readers)
        of_buckets = [spilled_rows(self.store, self._fine, way.items(b), way.span) for b in range(way.buckets)]
        return np.concatenate(of_buckets)[: way.readers]

    def unsent(self) -> list[int]:
        """Writers that have not sent theirs, while anybody waits for it."""
        if self.layout.buckets and not self._unresent():
            return []
        sent = spilled(self.store, self.folder)
        return [writer for writer in range(self.layout.writers) if writer not in sent]

    def finish(self, cluster: Cluster, label: str, use: dict[str, Any]) -> None:
        """Once all is sent: the second step, where there is one. label: of the op; use: see Cluster.each."""
        if self.layout.buckets:
            cluster.do(f"{label}: rows, second step", self.resend, self._unresent(), {}, **use)
            self.store.remove(self.folder)

    def forget(self) -> None:
        """Give the disk back, once what was made of all rows is there: nothing is sent or received again, unless a file
        of that is lost."""
        self.store.remove(self.folder)
        self.store.remove(self._fine)

    def _unresent(self) -> list[int]:
        resent = spilled(self.store, self._fine)
        return [item for item in range(self.layout.buckets * self.layout.batches) if item not in resent]

    @property
    def _fine(self) -> str:
        return f"{self.folder}-fine"
