"""Progress of a step: shards, rows per second and time left, as bars on a terminal and as lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from curate.messages.terminal import console

__all__ = ["StepProgress", "console"]

LOG_EVERY_SECONDS = 15.0


class StepProgress:
    """One step's bar. `advance` is told of each finished shard; rows and shards count only what this run did."""

    def __init__(self, label: str, shards: int, rows: int):
        self.label, self.shards, self.rows = label, shards, rows
        self.done_shards = self.done_rows = 0
        self.started = self.logged = time.monotonic()
        self.bar: Progress | None = None
        if sys.stderr.isatty() and shards:
            self.bar = Progress(
                TextColumn("{task.description:<28}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("shards  {task.fields[rate]} rows/s"),
                TimeRemainingColumn(),
                console=console,
            )
            self.task = self.bar.add_task(label, total=shards, rate="-")

    def __enter__(self) -> StepProgress:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.bar:
            self.bar.stop()

    def rate(self) -> float:
        return self.done_rows / max(time.monotonic() - self.started, 1e-6)

    def advance(self, rows: int) -> None:
        self.done_shards += 1
        self.done_rows += rows
        if self.bar:
            self.bar.update(self.task, advance=1, rate=f"{self.rate():,.0f}")
        elif time.monotonic() - self.logged > LOG_EVERY_SECONDS:
            self.logged = time.monotonic()
            wait = (self.shards - self.done_shards) / self.done_shards * (self.logged - self.started)
            console.print(
                f"{self.label}: {self.done_shards}/{self.shards} shards, {self.rate():,.0f} rows/s, {wait:,.0f} s left"
            )
