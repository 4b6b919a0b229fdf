"""Workers that stay from step to step: what a process has imported, compiled and started is paid once in a run."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from curate.cluster.worker import Worker


@dataclass(frozen=True)
class Needs:
    """What Ray sets aside for a worker; memory in bytes."""

    cpus: float = 1
    gpus: float = 0
    memory: int = 0

    @property
    def calls(self) -> int:
        """Items that a worker may be at, at once: a GPU is not to wait at the end of one."""
        return 2 if self.gpus else 1

    def options(self) -> dict[str, Any]:
        use = {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": self.memory}
        return use | {"max_concurrency": self.calls}


class Crew:
    """Idle workers by their needs, the last used last.

    A worker is let go when it died, when a step left it in the middle of an item, or when others need its room.
    """

    def __init__(self) -> None:
        self.idle: dict[Needs, list[Any]] = {}

    def hire(self, needs: Needs) -> tuple[Any, bool]:
        """An idle worker, or a new one, and whether it is new. It takes a task once a node has room for it."""
        import ray

        if idle := self.idle.get(needs):
            return idle.pop(), False
        return ray.remote(max_restarts=0, **needs.options())(Worker).remote(), True

    def keep(self, needs: Needs, worker: Any) -> None:
        """Have a worker back that has nothing to do."""
        self.idle.setdefault(needs, []).append(worker)

    def make_room(self, needs: Needs, size: int) -> None:
        """Let workers with other needs go, the longest idle first, until `size` workers fit beside the rest."""
        import ray

        total = ray.cluster_resources()
        new_workers = [needs] * size
        self.idle[needs] = self.idle.pop(needs, [])
        for other in [kind for kind in self.idle if kind != needs]:
            if _fit([*new_workers, *(kind for kind, idle in self.idle.items() for _ in idle if kind != needs)], total):
                return
            self.let_go(other)

    def let_go(self, needs: Needs) -> None:
        for worker in self.idle.pop(needs, []):
            end(worker)

    def let_others_go(self, needs: Needs) -> bool:
        """Let all workers with other needs go; whether there were any."""
        others = [kind for kind, idle in self.idle.items() if kind != needs and idle]
        for kind in others:
            self.let_go(kind)
        return bool(others)

    def end(self) -> None:
        """Let everybody go."""
        for needs in list(self.idle):
            self.let_go(needs)


def end(worker: Any) -> None:
    """End a worker's process, whatever it is doing."""
    import ray

    with contextlib.suppress(Exception):
        ray.kill(worker)


def _fit(workers: list[Needs], total: dict[str, float]) -> bool:
    return (
        sum(one.cpus for one in workers) <= total.get("CPU", 0)
        and sum(one.gpus for one in workers) <= total.get("GPU", 0)
        and sum(one.memory for one in workers) <= total.get("memory", 0)
    )
