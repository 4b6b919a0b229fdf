"""What ops would cost: each is timed on a thousand rows of a store, and the hours for the whole store follow."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.annotate.meter import gpu_of
from curate.annotate.op_run import OpRun
from curate.annotate.open_shard import OpenShard
from curate.cluster.nodes import feeding_threads
from curate.errors import CurateError
from curate.op import Op, Score
from curate.store.view import View


@dataclass(frozen=True)
class Cost:
    """What one op took for the rows tried, by itself.

    rows_per_second: on its device. What it prepares of images and captions is part of that on a CPU; beside a GPU it is
        work of the cores.
    share: of the time of the whole pass; for an op on a GPU, how busy it keeps the device.
    memory_mb: growth of the process's peak memory by its setup; for reading and decoding, by all the work after; for an
        op on a GPU, the device's peak.
    """

    op: str
    device: str
    setup_seconds: float
    rows_per_second: float
    share: float
    memory_mb: float


@dataclass(frozen=True)
class Forecast:
    """What all ops would cost together, in one pass: `hours` for all rows of the store on one worker.

    cores: that work for one worker: 1 on a CPU; those that feed it, on a GPU.
    """

    rows: int
    cores: int
    costs: list[Cost]
    hours: float


def probe(view: View, ops: Sequence[Op], rows: int = 1000) -> Forecast:
    """One Cost per op, and first one for reading and decoding images when an op needs them.

    Raises:
        CurateError: for an op that needs all rows at once: its cost does not follow from some.
    """
    tried: list[_Tried] = []
    for op in ops:
        if not isinstance(op, Score):
            raise CurateError(f"{op.spec()['op']} looks at all rows at once: a sample does not tell what it costs")
        before, began = _peak_mb(), time.perf_counter()
        op.setup()
        tried.append(_Tried(op, gpu_of(op) or "cpu", time.perf_counter() - began, _peak_mb() - before))
    if any("image" in op.reads() for op in ops) and view.images is None:
        raise CurateError("these ops read images, and the store has none: download comes first")
    loaded = _peak_mb()
    reading, done = _try(view, tried, rows)
    working = _peak_mb() - loaded
    on_gpu = sum(t.seconds for t in tried if t.device != "cpu")
    on_cores = reading + sum(t.preparing + (t.seconds if t.device == "cpu" else 0.0) for t in tried)
    cores = feeding_threads() if on_gpu else 1
    # What is slower, the device or the cores that feed it, is waited for by the other.
    seconds = max(on_gpu, on_cores / cores, 1e-9)

    costs = []
    if reading:
        costs.append(Cost("read and decode", "cpu", 0.0, done / reading, reading / cores / seconds, working))
    for t in tried:
        on_cpu = t.device == "cpu"
        own = max(t.seconds + t.preparing if on_cpu else t.seconds, 1e-9)
        share, memory = (own / cores / seconds, t.memory) if on_cpu else (own / seconds, _device_peak_mb())
        costs.append(Cost(t.op.spec()["op"], t.device, t.setup, done / own, share, memory))
    total = sum(view.store.shard_rows().values())
    return Forecast(done, cores, costs, total * seconds / max(done, 1) / 3600)


@dataclass
class _Tried:
    """An op and what it took: seconds of setup, of `batch` on its device, and of preparing on one core."""

    op: Score
    device: str
    setup: float
    memory: float
    seconds: float = 0.0
    preparing: float = 0.0


def _try(view: View, tried: Sequence[_Tried], rows: int) -> tuple[float, int]:
    """Run the ops over the first rows of the store, by the pass that `curate score` makes of them; returns the seconds
    of reading and decoding, and how many rows there were."""
    reading, done = 0.0, 0
    for shard, size in view.store.shard_rows().items():
        todo = np.arange(size) < rows - done
        runs = [OpRun(t.op, t.op.table(), todo) for t in tried]
        opened = OpenShard(view, shard, runs)
        opened.run()
        reading += opened.ahead.reading_seconds
        for t, run in zip(tried, runs, strict=True):
            t.seconds += run.seconds
            t.preparing += opened.ahead.preparing_seconds[run.folder]
        done += int(todo.sum())
        if done >= rows:
            break
    return reading, done


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _device_peak_mb() -> float:
    import torch

    return float(torch.cuda.max_memory_allocated()) / 2**20
