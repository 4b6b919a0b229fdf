"""One object that all workers of a step talk to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from curate.cluster.cluster import Cluster


@contextlib.contextmanager
def shared(cluster: Cluster, kind: type[Any], **options: Any) -> Iterator[Any]:
    """An object of a class, made with these options, for the block: where the cluster works in this process the object
    itself, else an actor of Ray, which a job may carry to its workers and whose methods are called by `.remote`. An
    actor that is lost is started again, and knows nothing then."""
    if cluster.workers == 0:
        yield kind(**options)
        return
    import ray

    cluster.start()
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(kind).remote(**options)
    try:
        yield actor
    finally:
        with contextlib.suppress(Exception):
            ray.kill(actor)


def answer_of(one: Any, method: str, seconds: float = 60.0) -> Any:
    """What a method of a shared object returns, asked by the command's own process; an actor has so many seconds."""
    call = getattr(one, method)
    if not hasattr(call, "remote"):
        return call()
    import ray

    return ray.get(call.remote(), timeout=seconds)
