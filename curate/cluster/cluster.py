"""Shards over Ray: a fixed pool of actors takes one shard after the other; a lost worker is replaced.

Plain Ray actors, not Ray Data: the unit is a shard that is written whole by its worker, so nothing flows between
operators, and a shard that kills its worker must be counted here (Ray Data retries a lost worker without end).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape

from curate.cluster.memory import machine_memory
from curate.errors import CurateError
from curate.library.user_code import said, user_line
from curate.messages.causes import explained
from curate.messages.progress import StepProgress, console

#: A shard that failed this often is set aside; the run goes on and ends with an error that names it.
ATTEMPTS = 3

#: The same where the work looks for the rows to blame: each that kills its worker takes two attempts to be found.
CAREFUL_ATTEMPTS = 24

#: Lost nodes that a shard survives: they are no fault of its rows, but a run must end.
LOST_NODES = 20

#: Seconds that a node may take to start a worker and look at a file.
NODE_SECONDS = 60.0

#: No shard can be written before a person has done something.
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

#: A task for one shard; made once per worker, then called per shard. Returns a small report, never rows. Where it has a
#: method `careful`, that is called from the second attempt on: it may look for the row that kills its worker.
Work = Callable[[int], dict[str, Any]]


class _Shards:
    """The actor: builds its work once, at the first shard, then does one shard per call."""

    def __init__(self, make: Callable[..., Work], arguments: dict[str, Any]):
        self.make, self.arguments = make, arguments
        self.work: Work | None = None

    def ready(self) -> None:
        """Answers once a node has room for this worker."""

    def run(self, shard: int, attempt: int, acquitted: bool = False) -> dict[str, Any]:
        if self.work is None:
            self.work = _made(self.make, self.arguments)
        if acquitted and hasattr(self.work, "acquit"):
            self.work.acquit(shard)
        careful = getattr(self.work, "careful", None)
        try:
            return careful(shard) if attempt and careful else self.work(shard)
        except CurateError:
            raise
        except Exception as error:
            # Said here: on the way to the driver an error loses its traceback.
            raise ShardFault(_reason(error)) from error


class ShardFault(Exception):
    """Why a shard failed, in one line."""


def _check_answers(address: str) -> None:
    """Ray itself tries a dead address for many minutes."""
    host, _, port = address.rpartition("://")[2].partition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _node_was_lost(error: BaseException) -> bool:
    """Whether a worker ended with its node, and not by what it worked on."""
    from ray.exceptions import NodeDiedError

    return isinstance(error, NodeDiedError) or "node has died" in str(error) or "node was terminated" in str(error)


def _reason(error: BaseException) -> str:
    """An error in one line: what a user can do about it, or what it is and where."""
    name = type(error).__name__
    if isinstance(error, ShardFault):
        return str(error)
    if name == "ActorDiedError" and "init" not in str(error)[:200]:
        return "the worker died (killed, out of memory, or crashed in native code)"
    if user_line(error):
        return said(error)
    # The last line, since Ray puts the remote traceback first.
    return explained(error) or f"{name}: {(str(error).strip().splitlines() or [''])[-1][:300]}"


def _made(make: Callable[..., Work], arguments: dict[str, Any]) -> Work:
    try:
        return make(**arguments)
    except CurateError:
        raise
    except Exception as error:
        # No shard is to blame: trying the others would fail the same way, a million times.
        hint = ": declare it with `PrivateAttr()`, options cannot change" if "Instance is frozen" in str(error) else ""
        why = said(error) if user_line(error) else explained(error) or said(error)
        raise CurateError(f"a worker cannot start: {why}{hint}") from error


class _Pool:
    """Ray actors that take shards one after the other; `failed` collects the shards that are set aside."""

    def __init__(self, hire: Callable[[], Any], shards: Sequence[int], failed: dict[int, str], allowed: int = ATTEMPTS):
        self.hire, self.failed, self.allowed = hire, failed, allowed
        self.todo = deque(shards)
        self.attempts: dict[int, int] = {}
        # Shards whose node was lost, how often, and those among them whose next attempt is still to come.
        self.lost: dict[int, int] = {}
        self.acquitted: set[int] = set()
        self.workers: list[Any] = []
        # What a worker was given, in the order in which it does it: a shard, or None while it starts. A worker that no
        # node has room for yet gets no shard, so the run does not wait for nodes that never come.
        self.given: dict[Any, tuple[int | None, Any]] = {}

    def run(self, size: int) -> Iterator[tuple[int, dict[str, Any]]]:
        import ray

        for _ in range(size):
            self._add()
        while self.todo or any(shard is not None for shard, _ in self.given.values()):
            ready, _ = ray.wait(list(self.given), num_returns=1)
            worker = self.given[ready[0]][1]
            yield from self._answers(worker)
            if worker in self.workers:
                self._feed(worker)

    def dismiss(self) -> None:
        import ray

        for worker in self.workers:
            with contextlib.suppress(Exception):
                ray.kill(worker)

    def _add(self) -> None:
        worker = self.hire()
        self.workers.append(worker)
        self.given[worker.ready.remote()] = (None, worker)

    def _feed(self, worker: Any) -> None:
        """Two shards per worker: the next one waits there while the driver looks at the last. A shard that was blamed
        before runs alone: whether it kills its worker is then beyond doubt."""
        while self.todo:
            given = [shard for shard, w in self.given.values() if w is worker]
            suspects = [s for s in (*given, self.todo[0]) if s in self.attempts]
            if len(given) >= (1 if suspects else 2):
                return
            shard = self.todo.popleft()
            acquitted = shard in self.acquitted
            self.acquitted.discard(shard)
            self.given[worker.run.remote(shard, self.attempts.get(shard, 0), acquitted)] = (shard, worker)

    def _answers(self, worker: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """What a worker has done, in its order: when it dies, the first shard without an answer is to blame for it, and
        the one that waited behind goes back."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        mine = [ref for ref, (_, w) in self.given.items() if w is worker]
        for number, ref in enumerate(mine):
            if not ray.wait([ref], timeout=0)[0]:
                return
            shard = self.given.pop(ref)[0]
            try:
                report = ray.get(ref)
            except RayTaskError as error:
                if isinstance(error.cause, CurateError):
                    raise error.cause from None
                self._blame(shard, error.cause)
            except RayError as error:
                if shard is not None and _node_was_lost(error) and self.lost.get(shard, 0) < LOST_NODES:
                    self._acquit(shard)
                else:
                    self._blame(shard, error)
                for behind in mine[number + 1 :]:
                    waiting = self.given.pop(behind)[0]
                    if waiting is not None:
                        self.todo.appendleft(waiting)
                self.workers.remove(worker)
                self._add()
                return
            else:
                if shard is not None:
                    yield shard, report

    def _acquit(self, shard: int) -> None:
        """Its node is gone: the shard goes back, and the attempt does not count."""
        self.lost[shard] = self.lost.get(shard, 0) + 1
        self.acquitted.add(shard)
        self.todo.append(shard)
        console.print(f"[yellow]shard {shard}: its node was lost; it goes to another worker")

    def _blame(self, shard: int | None, cause: BaseException) -> None:
        if shard is None:
            raise CurateError(f"a worker cannot start: {_reason(cause)}")
        self.attempts[shard] = self.attempts.get(shard, 0) + 1
        if self.attempts[shard] >= self.allowed:
            self.failed[shard] = _reason(cause)
            return
        console.print(f"[yellow]shard {shard}: {escape(_reason(cause))}; attempt {self.attempts[shard] + 1} follows")
        self.todo.append(shard)


@dataclass
class Cluster:
    """Where shards are worked on: `workers=0` is this process, otherwise Ray, started when first needed.

    address: None starts Ray inside this process; "auto" or host:port joins a running cluster.
    workers: size of every pool; None takes what the cluster's CPUs (or GPUs) allow.
    memory: bytes that one worker of a whole-dataset step may use; None takes its CPUs' share of the memory there is.
    """

    address: str | None = None
    workers: int | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        self._started = False

    def each(
        self,
        label: str,
        make: Callable[..., Work],
        arguments: dict[str, Any],
        shards: Sequence[int],
        rows: dict[int, int],
        *,
        cpus: float = 1,
        gpus: float = 0,
        memory: int = 0,
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Do every shard; yields (shard, report) as they finish, in no order. `cpus`, `gpus` and `memory` (bytes) are
        what Ray sets aside for each worker.

        Raises:
            CurateError: at the end, when shards failed ATTEMPTS times; all others are done by then.
        """
        if not shards:
            return
        failed: dict[int, str] = {}
        with StepProgress(label, len(shards), sum(rows.get(s, 0) for s in shards)) as progress:
            source = (
                self._here(make, arguments, shards, failed)
                if self.workers == 0
                else self._on_ray(make, arguments, shards, failed, cpus, gpus, memory)
            )
            for shard, report in source:
                progress.advance(rows.get(shard, 0))
                yield shard, report
        if failed:
            first = min(failed)
            raise CurateError(
                f"{label}: {len(failed)} of {len(shards)} shards failed and were set aside: "
                f"{sorted(failed)[:10]}; shard {first}: {failed[first]}. The others are done: "
                "mend the cause and run the same command again"
            )

    def _here(
        self, make: Callable[..., Work], arguments: dict[str, Any], shards: Sequence[int], failed: dict[int, str]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        work = _made(make, arguments)
        for shard in shards:
            try:
                report = work(shard)
            except CurateError:
                raise
            except Exception as error:
                if isinstance(error, OSError) and error.errno in DISK_FAULTS:
                    raise CurateError(_reason(error)) from error
                # Reported with the others at the end.
                failed[shard] = _reason(error)
                continue
            yield shard, report

    def _on_ray(
        self,
        make: Callable[..., Work],
        arguments: dict[str, Any],
        shards: Sequence[int],
        failed: dict[int, str],
        cpus: float,
        gpus: float,
        memory: int,
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        import ray

        self.start()
        gpus = gpus if ray.cluster_resources().get("GPU", 0) else 0
        # More than any node has would be waited for without end.
        memory = min(memory, int(max(node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"])))
        actor = ray.remote(num_cpus=cpus, num_gpus=gpus, memory=memory, max_restarts=0)(_Shards)
        allowed = CAREFUL_ATTEMPTS if hasattr(make, "careful") else ATTEMPTS
        pool = _Pool(lambda: actor.remote(make, arguments), shards, failed, allowed)
        try:
            yield from pool.run(self._pool_size(len(shards), cpus, gpus))
        finally:
            pool.dismiss()

    def _pool_size(self, shards: int, cpus: float, gpus: float) -> int:
        import ray

        if self.workers:
            return min(self.workers, shards)
        have = ray.cluster_resources()
        fit = have.get("GPU", 0) / gpus if gpus else have.get("CPU", 1) / max(cpus, 0.01)
        return max(1, min(int(fit), shards))

    def worker_memory(self, cpus: float) -> int:
        """Bytes that one worker of a whole-dataset step may use."""
        if self.memory:
            return self.memory
        if self.workers == 0:
            return machine_memory() // 2
        import ray

        self.start()
        have = ray.cluster_resources()
        return int(have.get("memory", machine_memory() // 2) * cpus / max(1, have.get("CPU", 1)))

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
        self._started = True
        console.print(f"[dim]Ray: {ray.cluster_resources().get('CPU', 0):g} CPUs, {time.monotonic() - began:.1f} s")

    def stop(self) -> None:
        """Leave Ray if this object started it; a user's own Ray is never shut down."""
        if self._started:
            import ray

            ray.shutdown()
            self._started = False


def alive_nodes() -> dict[str, str]:
    """The nodes of the cluster that was joined: id to address."""
    import ray

    return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


def sees(node: str, path: str) -> bool:
    """Whether a node has a file; one that does not answer in time is not blamed."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = ray.remote(num_cpus=0)(os.path.exists)
    answer = there.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(path)
    try:
        return bool(ray.get(answer, timeout=NODE_SECONDS))
    except ray.exceptions.RayError:
        return True


def feeding_threads() -> int:
    """Cores of this machine per GPU of it: so many threads decode and prepare for one GPU. 2 where there is none."""
    import ray
    import torch

    if not torch.cuda.is_available():
        return 2
    cores, gpus = float(os.cpu_count() or 2), float(torch.cuda.device_count())
    if ray.is_initialized():
        # Inside a worker only its own GPU is seen.
        here = ray.get_runtime_context().get_node_id()
        have: dict[str, float] = next((node["Resources"] for node in ray.nodes() if node["NodeID"] == here), {})
        cores, gpus = have.get("CPU", cores), have.get("GPU", gpus)
    return max(2, int(cores / max(gpus, 1)))
