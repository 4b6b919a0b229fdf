"""A worker: a process of Ray that does items of one task after another."""

from __future__ import annotations

import gc
import pickle
import threading
from typing import Any

from curate.cluster.line import Line
from curate.cluster.task import Task, announce, answered, attempted, cannot_start, leave, set_up


class Worker:
    """The actor, a process: it takes a task, then does one item of it per call. It knows nothing of other workers.

    A worker with a GPU has two calls under way at once: one item is worked on while the next is prepared, and while
    what the one before left to a thread is done.
    """

    def __init__(self) -> None:
        self.pickled = b""
        self.task: Task[Any] | None = None
        self.line, self.loaded = Line(), threading.Event()

    def take(self, pickled: bytes) -> None:
        """The task to do from now on; answers once a node has room for this worker."""
        if self.task is not None:
            leave(self.task)
        self.pickled, self.task = pickled, None
        self.line, self.loaded = Line(), threading.Event()
        # What the last task loaded goes before the next one loads.
        gc.collect()

    def do(self, item: int, attempt: int, acquitted: bool = False, number: int = 0) -> Any:
        """number: how many items of this task the worker got before."""
        if number:
            self.loaded.wait()
            # One that failed before is done with care, and alone.
            if self.task is not None and not attempt:
                announce(self.task, item)
        with self.line.turn(number):
            # At the first item: a worker that gets none loads nothing.
            task = self.task or self._load()
            report = attempted(task, item, attempt, acquitted)
        return answered(report)

    def _load(self) -> Task[Any]:
        try:
            task = _opened(self.pickled)
            set_up(task)
            self.task = task
        finally:
            self.loaded.set()
        return task


def _opened(pickled: bytes) -> Task[Any]:
    try:
        task: Task[Any] = pickle.loads(pickled)
    except Exception as error:
        # A module that this node lacks, most often.
        raise cannot_start(error) from error
    return task
