"""A cluster whose workers are killed: SIGKILL, once per chosen task, at a moment that a seed draws."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from curate.cluster.cluster import Cluster
from curate.store.store import Store


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(draw: random.Random) -> None:
    """Kill this process at one of its next writes: before it, in the midst of it, or when the file is there."""
    writing, left, moment = Store.writing, draw.randrange(3), draw.choice(["before", "torn", "after"])

    @contextlib.contextmanager
    def deadly(self: Store, name: str) -> Iterator[BinaryIO]:
        nonlocal left
        left -= 1
        if left < 0 and moment == "before":
            die()
        with writing(self, name) as file:
            if left < 0 and moment == "torn":
                file.write(b"torn")
                file.flush()
                die()
            yield file
        if left < 0:
            die()

    Store.writing = deadly  # type: ignore[method-assign]


class Mortal:
    """Does a task; one of the victims kills its worker on the way, or, done, before its answer is out."""

    def __init__(self, make: Callable[..., Any], arguments: dict[str, Any], victims: dict[int, str], marks: str):
        self.work, self.victims, self.marks = make(**arguments), victims, Path(marks)

    def __call__(self, task: int) -> dict[str, Any]:
        mark = self.marks / self.victims[task] if task in self.victims else None
        if mark is None or mark.exists():
            return self.work(task)  # type: ignore[no-any-return]
        mark.touch()
        arm(random.Random(mark.name))
        self.work(task)
        die()
        raise AssertionError


class KillingCluster(Cluster):
    """In every phase one task loses its worker; `marks` gets a file for each."""

    marks: Path
    seed: str

    def each(
        self, label: str, make: Any, arguments: Any, shards: Sequence[int], rows: Any, **use: Any
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        draw = random.Random(f"{self.seed} {label}")
        task = draw.choice(list(shards))
        victims = {task: f"{self.seed} {label} {make.__name__} {task}"}
        work = {"make": make, "arguments": arguments, "victims": victims, "marks": str(self.marks)}
        return super().each(label, Mortal, work, shards, rows, **use)
