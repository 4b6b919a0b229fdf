"""A worker: a process of Ray that does items of one task after another."""

from __future__ import annotations

import gc
import pickle
from typing import Any

from curate.cluster.task import Task, attempted, cannot_start, set_up


class Worker:
    """The actor, a process: it takes a task, then does one item of it per call. It knows nothing of other workers."""

    def __init__(self) -> None:
        self.pickled = b""
        self.task: Task[Any] | None = None

    def take(self, pickled: bytes) -> None:
        """The task to do from now on; answers once a node has room for this worker."""
        self.pickled, self.task = pickled, None
        # What the last task loaded goes before the next one loads.
        gc.collect()

    def do(self, item: int, attempt: int, acquitted: bool = False) -> Any:
        if self.task is None:
            # At the first item: a worker that gets none loads nothing.
            self.task = _opened(self.pickled)
            set_up(self.task)
        return attempted(self.task, item, attempt, acquitted)


def _opened(pickled: bytes) -> Task[Any]:
    try:
        task: Task[Any] = pickle.loads(pickled)
    except Exception as error:
        # A module that this node lacks, most often.
        raise cannot_start(error) from error
    return task
