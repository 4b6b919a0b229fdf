"""What a worker spends on the ops of a pass: wall clock, processor time, GPU time, each op's share of it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from curate.annotate.op_run import OpRun
from curate.op import Score
from curate.pictures.decoders import seconds_apart
from curate.store.cost import Cost

#: Not a field of the meter: a job is pickled on its way to a worker.
_LOCK = threading.Lock()


@dataclass
class Spent:
    """Wall clock and processor time, in seconds."""

    wall: float = 0.0
    cpu: float = 0.0

    @classmethod
    def now(cls) -> Spent:
        return cls(time.perf_counter(), time.process_time() + seconds_apart())

    def since(self, earlier: Spent) -> Spent:
        return Spent(self.wall - earlier.wall, self.cpu - earlier.cpu)


@dataclass
class Meter:
    """Measures a worker. A second counts once, also where it is at several shards at a time: it goes to the one that
    ends first. A shard that fails takes its seconds with it."""

    at_work: int = 0
    since: Spent = field(default_factory=Spent)
    #: Of each op's `setup`, until the first shard that is finished tells of it.
    setups: dict[str, Spent] = field(default_factory=dict)
    #: Name of the GPU that an op runs on, for those that run on one; and the part of it that the worker was lent.
    devices: dict[str, str] = field(default_factory=dict)
    gpus: float = 0.0

    def set_up(self, folder: str, op: Score) -> None:
        began = Spent.now()
        op.setup()
        self.setups[folder] = Spent.now().since(began)
        if device := gpu_of(op):
            self.devices[folder] = device
            self.gpus = max(self.gpus, op.gpus())

    def begin(self) -> None:
        """The worker begins with a shard."""
        with _LOCK:
            if not self.at_work:
                self.since = Spent.now()
            self.at_work += 1

    def end(self) -> Spent:
        """It has ended one, in whatever thread: what that took."""
        with _LOCK:
            now = Spent.now()
            part = now.since(self.since)
            self.since = now
            self.at_work -= 1
        return part

    def costs(
        self, spent: Spent, runs: Sequence[OpRun], own: Mapping[str, float], sizes: Mapping[str, int]
    ) -> dict[str, Cost]:
        """What a shard cost, by folder; the first shard that a worker finishes tells of `setup`, too.

        own: seconds that each op took itself, by which it shares in those of all. sizes: bytes of the parts.
        """
        shares = _shares({run.folder: own[run.folder] for run in runs})
        gpu_shares = _shares({run.folder: run.model_seconds for run in runs if run.folder in self.devices})
        costs = {
            run.folder: Cost(
                rows=int(run.todo.sum()),
                worker_seconds=spent.wall * shares[run.folder],
                model_seconds=run.model_seconds,
                cpu_seconds=spent.cpu * shares[run.folder],
                gpu_seconds=self._held(run.folder, spent.wall * gpu_shares.get(run.folder, 0.0)),
                bytes=sizes[run.folder],
            )
            for run in runs
        }
        with _LOCK:
            setups, self.setups = self.setups, {}
        for folder, setup in setups.items():
            gpu_seconds = self._held(folder, setup.wall)
            cost = Cost(setup_seconds=setup.wall, cpu_seconds=setup.cpu, gpu_seconds=gpu_seconds)
            costs[folder] = costs.get(folder, Cost()) + cost
        return costs

    def _held(self, folder: str, seconds: float) -> dict[str, float]:
        return {self.devices[folder]: seconds * self.gpus} if folder in self.devices else {}


def _shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Parts of 1 in proportion to seconds; equal parts where there are none."""
    total = sum(seconds.values())
    return {key: some / total if total else 1 / len(seconds) for key, some in seconds.items()}


def gpu_of(op: Score) -> str:
    """The name of the GPU that an op runs on in this process; empty where it runs on the CPU."""
    if not op.gpus():
        return ""
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else ""


def worker_name() -> str:
    """Tells the processes of all nodes apart."""
    return f"{socket.gethostname()}:{os.getpid()}"
