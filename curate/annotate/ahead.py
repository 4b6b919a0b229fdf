"""What ops can make of a chunk before it is their turn: images decoded and prepared, captions tokenized, in threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from curate.arrays.rows import captions_of
from curate.cluster.suspects import Suspects
from curate.op import Score
from curate.pictures.decoded import attempt
from curate.store.images import ImageReader


@dataclass(frozen=True)
class Fault:
    """In the place of a prepared value: what was raised instead. It is raised again where the op needs the value."""

    error: Exception


@dataclass
class Chunk:
    """Some rows of a shard, and per op what it prepared of each: by the op's key, one value per row."""

    rows: np.ndarray
    #: Of each row's image: `ok`, `no_image`, `skipped`, or why it cannot be decoded.
    status: list[str] = field(default_factory=list)
    images: dict[str, list[Any]] = field(default_factory=dict)
    #: None where preparing them failed: the op does so again, on fewer.
    texts: dict[str, Sequence[Any] | None] = field(default_factory=dict)


#: What is under way for a chunk: a task per image, and one per op that prepares captions.
_Started = tuple[list[Future[Any]], dict[str, Future[Any]]]


class Ahead:
    """Chunks in their order, each made while the one before it is worked on.

    todo: by key, the rows of the shard that an op has to do. texts: captions of the shard; None prepares none.
    suspects: looking for the row that kills the worker, each chunk is noted, and made only when it is its turn: the
    last one tried is the one.

    An image is decoded and prepared by one thread for all ops, and only what they prepared is kept: at its full size no
    longer than that, unless an op needs it so.
    """

    def __init__(
        self,
        ops: Mapping[str, Score],
        todo: Mapping[str, np.ndarray],
        *,
        reader: ImageReader | None = None,
        texts: pa.Array | None = None,
        threads: int = 2,
        suspects: Suspects | None = None,
    ):
        self.todo, self.reader, self.texts = todo, reader, texts
        self.threads, self.suspects = max(1, threads), suspects
        #: Seconds of processor time that preparing took, by key; and that reading and decoding the images did.
        self.preparing_seconds = dict.fromkeys(ops, 0.0)
        self.reading_seconds = 0.0
        self._lock = threading.Lock()
        self._seeing = {key: op for key, op in ops.items() if reader and "image" in op.reads()}
        self._reading = {key: op for key, op in ops.items() if texts is not None and "text" in op.prepares()}

    def __call__(self, chunks: Sequence[np.ndarray]) -> Iterator[Chunk]:
        # One thread reads, in the order of the rows, so that a slow store is waited for beside the ops, too.
        with ThreadPoolExecutor(self.threads) as pool, ThreadPoolExecutor(1) as reading:
            started: deque[Future[_Started]] = deque()
            try:
                for number, rows in enumerate(chunks):
                    if self.suspects:
                        self.suspects.trying(rows)
                    for coming in chunks[number + len(started) : number + (1 if self.suspects else 2)]:
                        started.append(reading.submit(self._start, pool, coming))
                    yield self._finished(rows, started.popleft().result())
            finally:
                # Whoever asked may have stopped early: what is under way ends, the rest is not begun.
                reading.shutdown(wait=True, cancel_futures=True)
                pool.shutdown(wait=True, cancel_futures=True)
                if self.reader:
                    self.reader.close()

    def _start(self, pool: ThreadPoolExecutor, rows: np.ndarray) -> _Started:
        # Captions first: they are one task, the images of a chunk hundreds.
        texts = {key: pool.submit(self._read, key, op, rows) for key, op in self._reading.items()}
        images = [pool.submit(self._see, row, *self._bytes(row)) for row in rows.tolist()] if self._seeing else []
        return images, texts

    def _bytes(self, row: int) -> tuple[bytes | None, str]:
        assert self.reader is not None
        if (self.suspects and row in self.suspects.deadly) or not any(self.todo[key][row] for key in self._seeing):
            return None, "skipped"
        began = time.perf_counter()
        data = self.reader.bytes(row)
        self._read_for(time.perf_counter() - began)
        return data, "no_image" if data is None else "ok"

    def _see(self, row: int, data: bytes | None, status: str) -> tuple[str, list[Any]]:
        values: list[Any] = [None] * len(self._seeing)
        if data is None:
            return status, values
        began = time.thread_time()
        image, status = attempt(data)
        self._read_for(time.thread_time() - began)
        if image is None:
            return status, values
        for number, (key, op) in enumerate(self._seeing.items()):
            if self.todo[key][row]:
                began = time.thread_time()
                try:
                    values[number] = op.prepare_image(image)
                except Exception as error:  # noqa: BLE001 - a fault of this row in this op
                    values[number] = Fault(error)
                self._spent(key, began)
        return status, values

    def _read(self, key: str, op: Score, rows: np.ndarray) -> Sequence[Any] | None:
        assert self.texts is not None
        captions = captions_of(self.texts.take(pa.array(rows)))
        began = time.thread_time()
        try:
            prepared: Sequence[Any] | None = op.prepare_texts(captions)
        except Exception:  # noqa: BLE001 - which caption it was is found when they are prepared in halves
            prepared = None
        self._spent(key, began)
        return prepared

    def _read_for(self, seconds: float) -> None:
        with self._lock:
            self.reading_seconds += seconds

    def _spent(self, key: str, began: float) -> None:
        with self._lock:
            self.preparing_seconds[key] += time.thread_time() - began

    def _finished(self, rows: np.ndarray, started: _Started) -> Chunk:
        images, texts = started
        seen = [future.result() for future in images]
        return Chunk(
            rows,
            [status for status, _ in seen],
            {key: [values[n] for _, values in seen] for n, key in enumerate(self._seeing)},
            {key: future.result() for key, future in texts.items()},
        )
