"""What ops would cost: each is timed on a thousand rows of a store, and the hours for the whole store follow."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.annotate.ahead import Chunk
from curate.annotate.one_shard import Planned, _Made
from curate.arrays.arrow_columns import flat
from curate.cluster.nodes import feeding_threads
from curate.errors import CurateError
from curate.op import Op, Score, captions_of
from curate.pictures.decoded import attempt
from curate.store.images import ImageReader
from curate.store.view import View

#: Rows decoded and scored at a time.
CHUNK = 256


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
        tried.append(_Tried(op, _device(op), time.perf_counter() - began, _peak_mb() - before))
    loaded = _peak_mb()
    decoding, done = _run(view, tried, rows)
    working = _peak_mb() - loaded
    on_gpu = sum(t.made.seconds for t in tried if t.device != "cpu")
    on_cores = decoding + sum(t.beside if t.device != "cpu" else t.beside + t.made.seconds for t in tried)
    cores = feeding_threads() if on_gpu else 1
    # What is slower, the device or the cores that feed it, is waited for by the other.
    seconds = max(on_gpu, on_cores / cores, 1e-9)

    costs = []
    if decoding:
        costs.append(Cost("read and decode", "cpu", 0.0, done / decoding, decoding / cores / seconds, working))
    for t in tried:
        on_cpu = t.device == "cpu"
        own = max(t.made.seconds + t.beside if on_cpu else t.made.seconds, 1e-9)
        share, memory = (own / cores / seconds, t.memory) if on_cpu else (own / seconds, _device_peak_mb())
        costs.append(Cost(t.op.spec()["op"], t.device, t.setup, done / own, share, memory))
    total = sum(view.store.shard_rows().values())
    return Forecast(done, cores, costs, total * seconds / max(done, 1) / 3600)


class _Tried:
    """An op, what it made, and the seconds that its preparing took on one core."""

    def __init__(self, op: Score, device: str, setup: float, memory: float):
        self.op, self.device, self.setup, self.memory = op, device, setup, memory
        self.made = _Made(Planned(op, op.table()))
        self.beside = 0.0


def _run(view: View, tried: Sequence[_Tried], rows: int) -> tuple[float, int]:
    """Run the ops over the first rows of the store; returns the seconds of decoding, and how many rows there were."""
    decoding, done = 0.0, 0
    ops = [t.op for t in tried]
    fresh = {name for op in ops for name in op.makes()}
    stored = sorted({name for op in ops for name in op.reads()} - fresh - {"image"})
    pixels = any("image" in op.reads() for op in ops)
    if pixels and view.images is None:
        raise CurateError("these ops read images, and the store has none: download comes first")
    for shard, size in view.store.shard_rows().items():
        reader = ImageReader(view.store, view.images, shard) if pixels and view.images else None
        table = view.read(shard, stored).combine_chunks() if stored else None
        for start in range(0, min(size, rows - done), CHUNK):
            chunk = Chunk(np.arange(start, min(start + CHUNK, size, start + rows - done)))
            columns = {n: flat(table[n].take(pa.array(chunk.rows))) for n in stored} if table is not None else {}
            began = time.perf_counter()
            images = [_image(reader, row) for row in chunk.rows.tolist()] if reader else []
            decoding += time.perf_counter() - began if reader else 0.0
            chunk.status = [status for _, status in images]
            for t in tried:
                began = time.perf_counter()
                _prepare(t.op, chunk, images, columns)
                t.beside += time.perf_counter() - began
                columns |= t.made.run(np.ones(len(chunk.rows), bool), columns, chunk)
            done += len(chunk.rows)
        if done >= rows:
            break
    return decoding, done


def _prepare(op: Score, chunk: Chunk, images: Sequence[tuple[Any, str]], columns: Mapping[str, pa.Array]) -> None:
    if "image" in op.reads():
        chunk.images[op.table()] = [op.prepare_image(image) if image is not None else None for image, _ in images]
    if "text" in op.prepares():
        chunk.texts[op.table()] = op.prepare_texts(captions_of(columns["text"]))


def _image(reader: ImageReader, row: int) -> tuple[Any, str]:
    data = reader.bytes(row)
    return (None, "no_image") if data is None else attempt(data)


def _device(op: Score) -> str:
    if not op.gpus():
        return "cpu"
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "cpu"


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _device_peak_mb() -> float:
    import torch

    return float(torch.cuda.max_memory_allocated()) / 2**20
