"""In a process of its own: one step of the proof, which notes where it is.

A line of JSON in `notes` for each phase that begins, for each item that is done, and for each phase that ends.
"""

from __future__ import annotations

import ctypes
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: prctl: which signal this process gets when the one that started it dies.
PR_SET_PDEATHSIG = 1


def do(store: str, what: dict[str, Any], notes: str, workers: int, memory: str) -> None:
    """what: {"read": files} or {"op": spec}."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    from curate.annotate.step import annotate
    from curate.catalog import load
    from curate.cluster.cluster import Cluster
    from curate.cluster.memory import memory_size
    from curate.read.options import ReadOptions
    from curate.read.step import read
    from curate.store.lease import leased
    from curate.store.store import Store
    from curate.store.view import View

    with Path(notes).open("a") as file:

        def note(**what: Any) -> None:
            file.write(json.dumps(what) + "\n")
            file.flush()

        class Noted(Cluster):
            def each(self, label: str, task: Any, todo: Any, *rest: Any, **use: Any) -> Iterator[Any]:
                note(begin=label, items=len(todo))
                for answer in super().each(label, task, todo, *rest, **use):
                    note(item=answer[0])
                    yield answer
                note(end=label)

        cluster = Noted(workers=workers, memory=memory_size(memory, "memory"))
        try:
            with leased(Store(store), "proof"):
                if "read" in what:
                    read(Store(store), ReadOptions(input=what["read"], rows_per_shard=what["shard"]), cluster)
                else:
                    annotate(View.of(Store(store)), [load(what["op"])], cluster)
        finally:
            cluster.stop()
