"""A cluster whose workers are killed: SIGKILL, once per chosen task, at a moment that a seed draws."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from curate.cluster.cluster import Cluster
from curate.cluster.task import Task, set_up
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

    def __init__(self, task: Task[Any], victims: dict[int, str], marks: str):
        self.task, self.victims, self.marks = task, victims, Path(marks)

    def setup(self) -> None:
        set_up(self.task)

    def __call__(self, item: int) -> Any:
        mark = self.marks / self.victims[item] if item in self.victims else None
        if mark is None or mark.exists():
            return self.task(item)
        mark.touch()
        arm(random.Random(mark.name))
        self.task(item)
        die()
        raise AssertionError


class KillingCluster(Cluster):
    """In every phase one task loses its worker; `marks` gets a file for each."""

    marks: Path
    seed: str

    def each(
        self, label: str, task: Task[Any], todo: Sequence[int], sizes: Any, **use: Any
    ) -> Iterator[tuple[int, Any]]:
        draw = random.Random(f"{self.seed} {label}")
        item = draw.choice(list(todo))
        phase = getattr(task, "__name__", type(task).__name__)
        victims = {item: f"{self.seed} {label} {phase} {item}"}
        return super().each(label, Mortal(task, victims, str(self.marks)), todo, sizes, **use)
