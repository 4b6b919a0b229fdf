"""kill -9 at moments that a seed draws: the run as a whole, one of its workers, or a node of its cluster."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass, field

import psutil

from curate.cluster.local_nodes import LocalNodes
from curate.demo.faults.memory import below, is_worker

#: Of the seconds of an undisturbed run: when a kill comes, at the earliest and at the latest.
EARLIEST, LATEST = 0.3, 0.95
_LOOK_SECONDS = 0.1


@dataclass
class Killer:
    """what: `driver`, `worker` or `node`. whole: seconds that an undisturbed run takes. server: pid of what must live.
    nodes: a cluster of which a node is killed. done: what was killed, and when."""

    what: str
    kills: int
    seed: int
    whole: float
    server: int
    nodes: LocalNodes | None = None
    done: list[str] = field(default_factory=list)
    begun: int = 0

    def run(self, command: list[str]) -> None:
        """Run the command, again after each time that it was killed, until it ends by itself.

        Raises:
            SystemExit: when it fails without a kill.
        """
        moments = random.Random(self.seed)
        while not self._attempt(command, moments):
            pass

    def _attempt(self, command: list[str], moments: random.Random) -> bool:
        self.begun += 1
        before = len(self.done)
        child = subprocess.Popen(command, start_new_session=True)
        due = self._next(moments)
        while child.poll() is None:
            time.sleep(_LOOK_SECONDS)
            if due and time.monotonic() >= due:
                self._kill(child)
                due = self._next(moments)
        if child.returncode and len(self.done) == before:
            raise SystemExit(f"error: the run ended with {child.returncode} though nothing was killed")
        return not child.returncode

    def _next(self, moments: random.Random) -> float | None:
        if len(self.done) >= self.kills:
            return None
        return time.monotonic() + moments.uniform(EARLIEST, LATEST) * self.whole

    def _kill(self, child: subprocess.Popen[bytes]) -> None:
        began = time.monotonic()
        if self.what == "driver":
            processes = below(self.server)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            end(processes)
        elif self.what == "worker":
            workers = [process for process in below(self.server) if is_worker(process)]
            if not workers:
                return
            busy = max(workers, key=_cpu_seconds)
            with contextlib.suppress(psutil.Error):
                busy.kill()
        else:
            assert self.nodes
            self.nodes.lose_one()
        self.done.append(f"{self.what} at {time.strftime('%X')}, {time.monotonic() - began:.1f} s until it was gone")


def end(processes: list[psutil.Process]) -> None:
    """What Ray started outlives the driver by a moment: wait, then kill."""
    _, alive = psutil.wait_procs(processes, timeout=15)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


def _cpu_seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return -1.0
