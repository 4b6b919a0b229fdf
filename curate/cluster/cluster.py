"""Items of a task over workers: in this process, or on Ray."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from curate.cluster.crew import Crew, Needs
from curate.cluster.failures import Failures
from curate.cluster.memory import machine_memory, memory_size
from curate.cluster.nodes import ray_runs
from curate.cluster.task import Task, job_of
from curate.cluster.this_process import for_some_seconds, in_this_process
from curate.cluster.workers import Workers
from curate.errors import CurateError
from curate.messages.packages import lacking
from curate.messages.progress import StepProgress, console

T = TypeVar("T")

#: A step of at most so many rows, or of files of so many bytes whose rows nobody knows yet, begins in this process,
#: where Ray would have to be started for it; workers do what it has not done after a few seconds.
SMALL_ROWS = 50_000
SMALL_BYTES = 10_000_000


@dataclass
class _Ray:
    """Whether Ray was started here; one for a cluster and its copies."""

    ours: bool = False


@dataclass
class Cluster:
    """Where shards are worked on: `workers=0` is this process, otherwise Ray, started when first needed.

    address: None starts Ray inside this process; "auto" or host:port joins a running cluster.
    workers: how many do a step; None takes what the cluster's CPUs (or GPUs) allow.
    memory: bytes that one worker of a whole-dataset step may use; None takes its CPUs' share of the memory there is.
    """

    address: str | None = None
    workers: int | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        self._ray = _Ray()
        self._crew = Crew()

    def with_memory(self, memory: int | None) -> Cluster:
        """The same cluster with a limit for each worker, unless it has one. Both are one Ray: either stops it."""
        if self.memory or not memory:
            return self
        limited = copy.copy(self)
        limited.memory = memory
        return limited

    def fault(self) -> str:
        """Why it can have no workers: Ray is not installed; empty when it is, or when none is asked for."""
        line = "" if self.workers == 0 else lacking("a pool of workers", ["ray"])
        return line and f"{line}, or work in this process, with --workers 0"

    def check(self) -> None:
        """
        Raises:
            CurateError: as `fault` says.
        """
        if line := self.fault():
            raise CurateError(line)

    def each(
        self,
        label: str,
        task: Task[T],
        todo: Sequence[int],
        sizes: Mapping[int, int],
        *,
        cpus: float = 1,
        gpus: float = 0,
        memory: int = 0,
        workers: int | None = None,
        file_bytes: int | None = None,
    ) -> Iterator[tuple[int, T]]:
        """Do every item; yields (item, what the task returned) as they finish, in no order.

        task: see curate.cluster.task. It is pickled to each worker, where the `setup` of its job runs first.
        sizes: rows of each item, for the progress that is shown.
        cpus, gpus, memory (bytes): what Ray sets aside for each worker; they stay for the next step that asks for the
            same. workers: how many do it, where that is not the cluster's own number.
        file_bytes: of all items together, where their rows are not known yet.

        Raises:
            CurateError: at the end, when items failed ATTEMPTS times; all others are done by then. Before it, when
                items fail one after the other and none is done between.
        """
        if not todo:
            return
        self.check()
        failures = Failures(label, len(todo))
        with StepProgress(label, len(todo), sum(sizes.get(item, 0) for item in todo)) as progress:
            here = self._begins_here(task, todo, sizes, file_bytes)
            for item, report in self._reports(task, todo, here, failures, Needs(cpus, gpus, memory), workers):
                failures.done()
                progress.advance(sizes.get(item, 0))
                yield item, report
        failures.check()

    def do(self, label: str, task: Task[object], todo: Sequence[int], sizes: Mapping[int, int], **use: Any) -> None:
        """As `each`, where nobody asks what the task returned."""
        for _ in self.each(label, task, todo, sizes, **use):
            pass

    def _reports(
        self,
        task: Task[T],
        todo: Sequence[int],
        begins_here: bool,
        failures: Failures,
        needs: Needs,
        workers: int | None,
    ) -> Iterator[tuple[int, T]]:
        if self.workers == 0:
            yield from in_this_process(task, todo, failures)
            return
        done: set[int] = set()
        if begins_here:
            for item, report in for_some_seconds(task, todo):
                done.add(item)
                yield item, report
        if rest := [item for item in todo if item not in done]:
            yield from self._on_ray(task, rest, failures, needs, workers)

    def _begins_here(
        self, task: Task[Any], todo: Sequence[int], sizes: Mapping[int, int], file_bytes: int | None
    ) -> bool:
        """Whether to begin in this process: Ray would have to be started first, the work is small, and the job does not
        look for rows that kill their process."""
        if self.workers or self.address or hasattr(job_of(task), "careful") or ray_runs():
            return False
        if file_bytes is not None:
            return file_bytes <= SMALL_BYTES
        return set(todo) <= set(sizes) and sum(sizes[item] for item in todo) <= SMALL_ROWS

    def _on_ray(
        self, task: Task[T], todo: Sequence[int], failures: Failures, needs: Needs, workers: int | None
    ) -> Iterator[tuple[int, T]]:
        import ray

        self.start()
        if not ray.cluster_resources().get("GPU", 0):
            needs = replace(needs, gpus=0)
        # More than any node has would be waited for without end.
        largest = max(node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"])
        needs = replace(needs, memory=min(needs.memory, int(largest)))
        step = Workers(self._crew, needs, task, todo, failures)
        try:
            yield from step.run(self._number_of_workers(len(todo), needs, workers))
        finally:
            step.end()

    def _number_of_workers(self, items: int, needs: Needs, workers: int | None) -> int:
        import ray

        if workers or self.workers:
            return min(workers or self.workers or 0, items)
        total = ray.cluster_resources()
        fit = total.get("GPU", 0) / needs.gpus if needs.gpus else total.get("CPU", 1) / max(needs.cpus, 0.01)
        return max(1, min(int(fit), items))

    def worker_memory(self, cpus: float) -> int:
        """Bytes that one worker of a whole-dataset step may use."""
        if self.memory:
            return self.memory
        if self.workers == 0:
            return machine_memory() // 2
        if not self.address and not ray_runs():
            # What Ray would say of this machine; a small step need not start it.
            return int(machine_memory() // 2 * cpus / max(1, os.cpu_count() or 1))
        import ray

        self.start()
        resources = ray.cluster_resources()
        return int(resources.get("memory", machine_memory() // 2) * cpus / max(1, resources.get("CPU", 1)))

    def start(self) -> None:
        """Join the cluster, or start Ray here; Ray that runs already in this process is used as it is."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        if ray.is_initialized():
            return
        began = time.monotonic()
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            if self.address:
                _check_answers(self.address)
                ray.init(address=self.address, **quiet)
            else:
                # Without "local" Ray joins whatever cluster it finds a trace of on this machine, dead ones too.
                ray.init(address="local", include_dashboard=False, **quiet)
        except (OSError, ValueError) as error:
            raise CurateError(
                f"no Ray cluster answers at '{self.address}': {error}. "
                "A cluster with tokens also needs RAY_AUTH_MODE=token and the token here"
            ) from error
        self._ray.ours = True
        console.print(f"[dim]Ray: {ray.cluster_resources().get('CPU', 0):g} CPUs, {time.monotonic() - began:.1f} s")

    def stop(self) -> None:
        """Let the workers go, and leave Ray if this cluster started it; a user's own Ray is never shut down."""
        self._crew.end()
        if self._ray.ours:
            import ray

            ray.shutdown()
            self._ray.ours = False


@contextlib.contextmanager
def started(address: str | None, workers: int | None, memory: int | str | None = None) -> Iterator[Cluster]:
    """A cluster for the block, stopped behind it; memory is bytes, or a text as `8GB`."""
    cluster = Cluster(address, workers, memory_size(memory, "memory") if memory is not None else None)
    try:
        yield cluster
    finally:
        cluster.stop()


def _check_answers(address: str) -> None:
    """Ray itself tries a dead address for many minutes."""
    host, _, port = address.rpartition("://")[2].partition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
