"""What ops can make of a chunk before it is their turn: images decoded and prepared, captions tokenized, in threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from curate.annotate.room import CHUNKS, Room, Share
from curate.arrays.rows import captions_of
from curate.cluster.suspects import Suspects
from curate.op import Score
from curate.pictures.attempt import attempt
from curate.pictures.decoded import Decoded
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


#: Images that one task of a thread decodes and prepares: a task costs more than what it hands over.
GROUP = 32

#: Tasks that each thread gets of a chunk at least, where it has so many images: some take ten times as long as others.
TASKS_A_THREAD = 4

#: What is under way for a chunk: tasks of some images each, and one per op that prepares captions.
_Started = tuple[list[Future[Any]], dict[str, Future[Any]]]

#: An image's file and `ok`; or None, and why there is none.
_File = tuple[bytes | None, str]


class Ahead:
    """Chunks in their order, made while those before them are worked on, as far as there is room.

    todo: by key, the rows of the shard that an op has to do. texts: captions of the shard; None prepares none.
    suspects: looking for the row that kills the worker, each chunk is noted, and made only when it is its turn: the
    last one tried is the one. room: shared with the shards before and behind this one.

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
        room: Room | None = None,
    ):
        self.todo, self.reader, self.texts = todo, reader, texts
        self.threads, self.suspects, self.room = max(1, threads), suspects, room or Room()
        #: Seconds of processor time that preparing took, by key; and that reading and decoding the images did.
        self.preparing_seconds = dict.fromkeys(ops, 0.0)
        self.reading_seconds = 0.0
        self._lock = threading.Lock()
        self._seeing = {key: op for key, op in ops.items() if reader and "image" in op.reads()}
        self._reading = {key: op for key, op in ops.items() if texts is not None and "text" in op.prepares()}
        #: Where no op does, no thread is begun.
        self._prepares = bool(self._seeing or self._reading)
        # One thread reads, in the order of the rows, so that a slow store is waited for beside the ops, too.
        self._pool, self._order = ThreadPoolExecutor(self.threads), ThreadPoolExecutor(1)
        self._started: deque[Future[_Started]] | None = None

    def begin(self, chunks: Sequence[np.ndarray], then: Callable[[], None] | None = None) -> None:
        """Start with the first chunks, before they are asked for. then: called when the last one is under way."""
        self._share = Share(self.room, CHUNKS * max((len(rows) for rows in chunks), default=0))
        self._started = deque()
        if self.reader and self._seeing:
            asked = self._asked()
            self.reader.coming(row for rows in chunks for row in rows.tolist() if asked[row])
        if self.suspects:
            return
        if self._prepares:
            self._started.extend(self._order.submit(self._start, rows) for rows in chunks)
        if then:
            self._order.submit(then)

    def __call__(self, chunks: Sequence[np.ndarray]) -> Iterator[Chunk]:
        """chunks: the same as `begin` got, if it was called."""
        if self._started is None:
            self.begin(chunks)
        assert self._started is not None
        try:
            for rows in chunks:
                if self.suspects:
                    self.suspects.trying(rows)
                if not self._prepares:
                    yield Chunk(rows)
                    continue
                if self.suspects:
                    self._started.append(self._order.submit(self._start, rows))
                yield self._finished(rows, self._started.popleft().result())
                self._share.give(len(rows))
        finally:
            self.close()

    def close(self) -> None:
        """Whoever asked may have stopped early: what is under way ends, the rest is not begun."""
        if self._started is not None:
            self._share.stop()
        self._order.shutdown(wait=True, cancel_futures=True)
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self.reader:
            self.reader.close()

    def _start(self, rows: np.ndarray) -> _Started:
        if not self._seeing:
            self._share.take(len(rows))
            return [], self._texts(rows)
        # Captions first: they are one task, the images of a chunk many.
        texts = self._texts(rows)
        size = max(1, min(GROUP, len(rows) // (TASKS_A_THREAD * self.threads)))
        images = []
        for start in range(0, len(rows), size):
            group = rows[start : start + size]
            self._share.take(len(group))
            images.append(self._pool.submit(self._see, group, self._files(group)))
        return images, texts

    def _texts(self, rows: np.ndarray) -> dict[str, Future[Any]]:
        return {key: self._pool.submit(self._read, key, op, rows) for key, op in self._reading.items()}

    def _files(self, rows: np.ndarray) -> list[_File]:
        assert self.reader is not None
        asked = self._asked()[rows].tolist()
        deadly = self.suspects.deadly if self.suspects else ()
        began = time.perf_counter()
        files: list[_File] = []
        for row, is_asked in zip(rows.tolist(), asked, strict=True):
            if not is_asked or row in deadly:
                files.append((None, "skipped"))
                continue
            data = self.reader.bytes(row)
            files.append((data, "no_image" if data is None else "ok"))
        self._spent({"": time.perf_counter() - began})
        return files

    def _asked(self) -> np.ndarray:
        """The rows of the shard whose images any op has to see, as a bool per row."""
        asked: np.ndarray = np.logical_or.reduce([self.todo[key] for key in self._seeing])
        return asked

    def _see(self, rows: np.ndarray, files: Sequence[_File]) -> tuple[list[str], list[list[Any]]]:
        """A status per row, and per op what it prepared of each."""
        todo = [self.todo[key][rows].tolist() for key in self._seeing]
        seconds = dict.fromkeys(["", *self._seeing], 0.0)
        statuses: list[str] = []
        values: list[list[Any]] = [[None] * len(rows) for _ in self._seeing]
        clock = time.thread_time()
        for place, (data, absent) in enumerate(files):
            image, status = (None, absent) if data is None else attempt(data, careful=self.suspects is not None)
            clock = _passed(seconds, "", clock)
            statuses.append(status)
            if image is None:
                continue
            for number, (key, op) in enumerate(self._seeing.items()):
                if todo[number][place]:
                    values[number][place] = _prepared(op, image)
                    clock = _passed(seconds, key, clock)
        self._spent(seconds)
        return statuses, values

    def _read(self, key: str, op: Score, rows: np.ndarray) -> Sequence[Any] | None:
        assert self.texts is not None
        captions = captions_of(self.texts.take(pa.array(rows)))
        began = time.thread_time()
        try:
            prepared: Sequence[Any] | None = op.prepare_texts(captions)
        except Exception:  # noqa: BLE001 - which caption it was is found when they are prepared in halves
            prepared = None
        self._spent({key: time.thread_time() - began})
        return prepared

    def _spent(self, seconds: Mapping[str, float]) -> None:
        """seconds: by op's key; without a key those of reading and decoding."""
        with self._lock:
            for key, some in seconds.items():
                if key:
                    self.preparing_seconds[key] += some
                else:
                    self.reading_seconds += some

    def _finished(self, rows: np.ndarray, started: _Started) -> Chunk:
        images, texts = started
        seen = [future.result() for future in images]
        return Chunk(
            rows,
            [status for statuses, _ in seen for status in statuses],
            {key: [value for _, values in seen for value in values[n]] for n, key in enumerate(self._seeing)},
            {key: future.result() for key, future in texts.items()},
        )


def _prepared(op: Score, image: Decoded) -> Any:
    try:
        return op.prepare_image(image)
    except Exception as error:  # noqa: BLE001 - a fault of this row in this op
        return Fault(error)


def _passed(seconds: dict[str, float], key: str, since: float) -> float:
    """Adds the processor time since then; returns the time now."""
    now = time.thread_time()
    seconds[key] += now - since
    return now
