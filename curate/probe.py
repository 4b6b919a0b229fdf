"""What ops would cost: each is timed on a thousand rows of a store, and the hours for the whole store follow."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.annotate import Planned, _Made, flat
from curate.errors import CurateError
from curate.images import ImageReader, decode
from curate.op import Op, Score
from curate.view import View

#: Rows decoded and scored at a time.
CHUNK = 256


@dataclass(frozen=True)
class Cost:
    """What one op took for `rows` rows on one worker, and what it would take for all rows of the store.

    share: part of the time of the whole pass, reading and decoding included, that this op took; for an op on a GPU it
        is how busy the device would be without decoding ahead.
    memory_mb: growth of the process's peak memory by its setup; for reading and decoding, by all the work after.
    """

    op: str
    device: str
    rows: int
    setup_seconds: float
    rows_per_second: float
    share: float
    memory_mb: float
    hours: float


def probe(view: View, ops: Sequence[Op], rows: int = 1000) -> list[Cost]:
    """One Cost per op, and first one for reading and decoding images when an op needs them.

    Raises:
        CurateError: for an op that needs all rows at once: its cost does not follow from some.
    """
    scores = []
    for op in ops:
        if not isinstance(op, Score):
            raise CurateError(f"{op.spec()['op']} looks at all rows at once: a sample does not tell what it costs")
        scores.append(op)
    made, setup, memory = [], [], []
    for op in scores:
        before, began = _peak_mb(), time.perf_counter()
        op.setup()
        setup.append(time.perf_counter() - began)
        memory.append(_peak_mb() - before)
        made.append(_Made(Planned(op, op.table())))
    loaded = _peak_mb()
    decoding, done = _run(view, scores, made, rows)
    working = _peak_mb() - loaded
    whole = decoding + sum(m.seconds for m in made)
    total = sum(view.store.shard_rows().values())

    def cost(name: str, device: str, seconds: float, start: float, held: float) -> Cost:
        rate = done / max(seconds, 1e-9)
        return Cost(name, device, done, start, rate, seconds / max(whole, 1e-9), held, total / rate / 3600)

    costs = [cost("read and decode", "cpu", decoding, 0.0, working)] if decoding else []
    for op, result, start, held in zip(scores, made, setup, memory, strict=True):
        costs.append(cost(op.spec()["op"], _device(op), result.seconds, start, held))
    return costs


def _run(view: View, ops: Sequence[Score], made: Sequence[_Made], rows: int) -> tuple[float, int]:
    """Run the ops over the first rows of the store; returns the seconds of decoding, and how many rows there were."""
    decoding, done = 0.0, 0
    fresh = {name for op in ops for name in op.makes()}
    stored = sorted({name for op in ops for name in op.needs()} - fresh - {"image"})
    pixels = any("image" in op.needs() for op in ops)
    if pixels and view.images is None:
        raise CurateError("these ops read images, and the store has none: download comes first")
    for shard, size in view.store.shard_rows().items():
        reader = ImageReader(view.store, view.images, shard) if pixels and view.images else None
        table = view.read(shard, stored).combine_chunks() if stored else None
        for start in range(0, min(size, rows - done), CHUNK):
            chunk = np.arange(start, min(start + CHUNK, size, start + rows - done))
            columns = {n: flat(table[n].take(pa.array(chunk))) for n in stored} if table is not None else {}
            began = time.perf_counter()
            images = [_image(reader, row) for row in chunk.tolist()] if reader else None
            decoding += time.perf_counter() - began if reader else 0.0
            for result in made:
                columns |= result.run(np.ones(len(chunk), bool), columns, images)
            done += len(chunk)
        if done >= rows:
            break
    return decoding, done


def _image(reader: ImageReader, row: int) -> tuple[object, str]:
    data = reader.bytes(row)
    if data is None:
        return None, "no_image"
    try:
        return decode(data), "ok"
    except Exception as error:  # noqa: BLE001 - any damage is a status of this row
        return None, f"undecodable: {type(error).__name__}"


def _device(op: Score) -> str:
    if not op.gpus():
        return "cpu"
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "cpu"


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
