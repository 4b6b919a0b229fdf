"""One op in one pass over a shard: the rows that it has to do, what it said of them, and the part that follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from curate.annotate.ahead import Chunk, Fault
from curate.annotate.answer import SKIPPED, checked, status_column, status_words
from curate.arrays.arrow_columns import flat
from curate.arrays.rows import captions_of
from curate.errors import CurateError
from curate.library.op_fault import OP_MISTAKES, OpFault
from curate.library.op_names import op_name
from curate.library.user_code import no_exit, one_line
from curate.messages.progress import console
from curate.op import Rows, Score

#: So many rows in a row that all fail are no bad rows: something is wrong with the worker (a lost GPU, a full disk).
ALL_FAILED = 8

#: Waits for what `Score.batch` returns.
Waiting = Callable[[], Mapping[str, Any]]

#: Characters of an error that a status keeps.
ERROR_CHARACTERS = 300


class OpRun:
    """
    todo: rows of the shard that it has to do, a bool per row. part: what an earlier run left, which stays as it is
    elsewhere. seconds: wall clock of computing. model_seconds: of those, the ones inside the op's `batch` or `begin`.
    """

    def __init__(self, op: Score, folder: str, todo: np.ndarray, part: pa.Table | None = None):
        self.op, self.folder, self.todo, self.part = op, folder, todo, part
        self.rows_at_a_time = op.rows_at_a_time()
        if self.rows_at_a_time < 1:
            raise OpFault(f"{op_name(type(op))}: `rows_at_a_time` returns {self.rows_at_a_time}, expected 1 or more")
        self.seconds = self.model_seconds = 0.0
        self._status = status_column(op.table())
        self._types = {**op.makes(), self._status: pa.string()}
        self._rows: list[np.ndarray] = []
        self._values: dict[str, list[pa.Array]] = {name: [] for name in self._types}
        #: By the first of their rows in the shard: batches that are begun, each with its number of rows.
        self._begun: dict[int, tuple[int, Waiting]] = {}

    @property
    def has_work(self) -> bool:
        """A shard without a part gets one, even if no row of it is in."""
        return self.part is None or bool(self.todo.any())

    @property
    def can_begin(self) -> bool:
        """Whether the op has a `begin` of its own."""
        return type(self.op).begin is not Score.begin

    def begin(self, chunk: Chunk, columns: Mapping[str, pa.Array]) -> bool:
        """Begin the op's batch of a chunk, for an op that can (`Score.begin`); whether it was begun.

        columns: as `do`'s, which comes later. A fault is no one's here: `do` runs into it again, and finds the row.
        """
        _, able = self._ready(self.todo[chunk.rows], chunk, columns, "")
        valid = np.flatnonzero(able)
        if not 0 < len(valid) <= self.rows_at_a_time:
            return False
        began = time.perf_counter()
        try:
            with no_exit():
                waiting = self.op.begin(self._rows_of(valid, columns, chunk))
        except CurateError:
            raise
        except Exception:  # noqa: BLE001 - see above
            waiting = None
        passed = time.perf_counter() - began
        if waiting is None:
            return False
        self.seconds += passed
        self.model_seconds += passed
        self._begun[int(chunk.rows[valid[0]])] = len(valid), waiting
        return True

    def do(self, chunk: Chunk, columns: Mapping[str, pa.Array], deadly: str = "") -> dict[str, pa.Array]:
        """Run the op on the rows of a chunk that are to do and have all that it reads.

        columns: by name, what the op reads, one value per row of the chunk. deadly: a status that rows of this chunk
        get instead of being tried.

        Returns the columns that later ops of the pass read: new values, and those of the part in other rows.
        """
        todo = self.todo[chunk.rows]
        status, able = self._ready(todo, chunk, columns, deadly)
        valid = np.flatnonzero(able)
        began = time.perf_counter()
        values = self._in_batches(valid, columns, chunk, status)
        self.seconds += time.perf_counter() - began
        new = {name: _spread(values[name], kind, valid, len(todo)) for name, kind in self.op.makes().items()}
        new[self._status] = _words(status)
        self._rows.append(chunk.rows)
        for name, array in new.items():
            self._values[name].append(array)
        return new if self.part is None else self._over_part(new, chunk.rows, todo)

    def finished(self) -> pa.Table:
        """The part of the shard: new values where there was work, the part elsewhere, else null and `skipped`."""
        rows = np.concatenate([*self._rows, np.array([], np.int64)])
        size, new = len(self.todo), len(rows)
        # Where each row of the shard finds its value: among the new ones, or in what lies behind them: part or blank.
        place = np.full(size, new) if self.part is None else new + np.arange(size)
        done = self.todo[rows]
        if size and done.sum() == size:  # all rows are new, in their order: nothing is moved
            return pa.table({name: pa.concat_arrays(self._values[name]) for name in self._types})
        place[rows[done]] = np.flatnonzero(done)
        columns = {}
        for name, kind in self._types.items():
            blank = pa.array([SKIPPED], kind) if name == self._status else pa.nulls(1, kind)
            stored = [] if self.part is None else [flat(self.part[name])]
            columns[name] = pa.concat_arrays([*self._values[name], *stored, blank]).take(pa.array(place))
        return pa.table(columns)

    def _over_part(self, new: Mapping[str, pa.Array], rows: np.ndarray, todo: np.ndarray) -> dict[str, pa.Array]:
        assert self.part is not None
        place = pa.array(np.where(todo, 0, len(todo)) + np.arange(len(todo)))
        taken = self.part.take(pa.array(rows))
        return {name: pa.concat_arrays([array, flat(taken[name])]).take(place) for name, array in new.items()}

    def _ready(
        self, todo: np.ndarray, chunk: Chunk, columns: Mapping[str, pa.Array], deadly: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """A status per row of a chunk, `ok` for those that the op can do; and which these are."""
        status = np.full(len(todo), deadly or "ok", object)
        status[~todo] = SKIPPED
        able = np.zeros(len(todo), bool) if deadly else todo
        for name in self.op.reads():
            if name == "image":
                seen = np.asarray(chunk.status, object)
                status = np.where(able, seen, status)
                able = able & (seen == "ok")
            elif not self.op.reads_null and columns[name].null_count:
                null = columns[name].is_null().to_numpy(zero_copy_only=False)
                status[able & null] = f"no_{name}"
                able = able & ~null
        return status, able

    def _in_batches(
        self, valid: np.ndarray, columns: Mapping[str, pa.Array], chunk: Chunk, status: np.ndarray
    ) -> dict[str, list[pa.Array]]:
        """Batch after batch; one that raises is halved, and halved again: one bad row costs no other its value."""
        arrays: dict[str, list[pa.Array]] = {name: [] for name in self.op.makes()}
        start = 0
        while start < len(valid):
            rows = valid[start : start + self.rows_at_a_time]
            start += len(rows)
            faults: list[Exception] = []
            for done, values, words in self._halved(rows, columns, chunk, faults):
                if words != "ok":
                    status[done] = words
                for name, array in values.items():
                    arrays[name].append(array)
            if len(faults) == len(rows) >= ALL_FAILED:
                text = f"{op_name(type(self.op))}: all {len(rows)} rows of a batch failed: {one_line(faults[-1])}"
                raise (OpFault if isinstance(faults[-1], OP_MISTAKES) else RuntimeError)(text) from faults[-1]
        return arrays

    def _halved(
        self, rows: np.ndarray, columns: Mapping[str, pa.Array], chunk: Chunk, faults: list[Exception]
    ) -> Iterator[tuple[np.ndarray, dict[str, pa.Array], list[str] | str]]:
        try:
            yield (rows, *self._batch(rows, columns, chunk))
            return
        except CurateError:
            raise
        except Exception as error:  # noqa: BLE001 - any fault of a row is its status
            if len(rows) == 1:
                faults.append(error)
                nulls = {name: pa.nulls(1, kind) for name, kind in self.op.makes().items()}
                yield rows, nulls, [f"error: {one_line(error)}"[:ERROR_CHARACTERS]]
                return
            if "out of memory" in str(error).lower() and self.rows_at_a_time > len(rows) // 2:
                self.rows_at_a_time = max(1, len(rows) // 2)
                console.print(
                    f"{self.op.table()}: out of device memory, going on with batches of {self.rows_at_a_time}"
                )
        middle = len(rows) // 2
        yield from self._halved(rows[:middle], columns, chunk, faults)
        yield from self._halved(rows[middle:], columns, chunk, faults)

    def _batch(
        self, rows: np.ndarray, columns: Mapping[str, pa.Array], chunk: Chunk
    ) -> tuple[dict[str, pa.Array], list[str] | str]:
        """The op's columns and its status words for some rows, checked to be one value per row."""
        count, waiting = self._begun.pop(int(chunk.rows[rows[0]]), (0, None))
        if waiting is not None and count == len(rows):
            result = self._timed(waiting)
        else:
            asked = self._rows_of(rows, columns, chunk)
            result = self._timed(lambda: self.op.batch(asked))
        return checked(result, self.op, len(rows)), status_words(result, self.op, len(rows))

    def _rows_of(self, rows: np.ndarray, columns: Mapping[str, pa.Array], chunk: Chunk) -> Rows:
        """What the op gets of some rows."""
        taken = {name: _of_rows(columns[name], rows) for name in self.op.reads() if name != "image"}
        images = None
        if "image" in self.op.reads():
            images = [chunk.images[self.folder][row] for row in rows]
            for value in images:
                if isinstance(value, Fault):
                    raise value.error
        texts = None
        if "text" in self.op.prepares():
            ready = chunk.texts.get(self.folder)
            texts = [ready[row] for row in rows] if ready else self.op.prepare_texts(captions_of(taken["text"]))
        return Rows(taken, images, len(rows), texts)

    def _timed(self, batch: Waiting) -> Mapping[str, Any]:
        began = time.perf_counter()
        try:
            with no_exit():
                return batch()
        finally:
            self.model_seconds += time.perf_counter() - began


def _spread(values: list[pa.Array], kind: pa.DataType, valid: np.ndarray, rows: int) -> pa.Array:
    """Values of some rows among all, null where there is none. Mostly they are of all: nothing is moved then."""
    if values and len(valid) == rows:
        return pa.concat_arrays(values)
    # A row that the op did not see takes the null behind the values.
    place = np.full(rows, len(valid), np.int64)
    place[valid] = np.arange(len(valid))
    return pa.concat_arrays([*values, pa.nulls(1, kind)]).take(pa.array(place))


def _words(status: np.ndarray) -> pa.Array:
    if len(status) and status.tolist().count("ok") == len(status):
        return pa.repeat(pa.scalar("ok", pa.string()), len(status))
    return pa.array(status, pa.string())


def _of_rows(values: pa.Array, rows: np.ndarray) -> pa.Array:
    """rows: in order, each once; all of them are taken as they are."""
    return values if len(rows) == len(values) else values.take(pa.array(rows))
