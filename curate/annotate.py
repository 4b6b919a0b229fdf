"""One pass over a shard: it is read once, each image decoded once, and every op asked for runs on it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.images import ImageReader, decoded
from curate.op import Rows, Score
from curate.progress import console
from curate.suspects import Suspects
from curate.view import View

SKIPPED = "skipped"

#: Status of a row whose image or caption killed the process that worked on it.
DEADLY = "killed_its_worker"

#: So many rows in a row that all fail are no bad rows: something is wrong with the worker (a lost GPU, a full disk).
ALL_FAILED = 8


def status_column(table: str) -> str:
    """Beside every table's columns: `ok`, `skipped` (the row was out already), or why there is no value."""
    return f"{table}_status"


@dataclass(frozen=True)
class Planned:
    """An op and the folder of the table that it fills."""

    op: Score
    folder: str


def unfinished(
    view: View, planned: Planned, shard: int, coming: Mapping[str, np.ndarray] | None = None
) -> tuple[np.ndarray, pa.Table | None]:
    """Rows of a shard that are in and have no value yet, and the part as it stands.

    coming: for columns that this pass fills before, the rows in which it does.
    """
    part = view.store.try_part(planned.folder, shard)
    kept = view.kept(shard)
    if part is None:
        rows = view.store.read_part("records", shard, ["uid"]).num_rows
        return (np.ones(rows, bool) if kept is None else kept), None
    status = np.asarray(part[status_column(planned.op.table())].to_pylist(), object)
    todo = status == SKIPPED
    for name in planned.op.needs():
        # What a row lacked may have come since: a download tried again, a column filled for more rows.
        lacked = status == f"no_{name}"
        if lacked.any():
            todo |= lacked & (coming[name] if coming and name in coming else _there(view, name, shard))
    return (todo if kept is None else todo & kept), part


def _there(view: View, name: str, shard: int) -> np.ndarray:
    """Rows of a shard that have a value in a column, or an image."""
    if name == "image":
        assert view.images is not None
        status = view.store.read_part(view.images, shard, ["status"])["status"].to_pylist()
        found: np.ndarray = np.asarray(status, object) == "success"
    else:
        found = view.read(shard, [name])[name].is_valid().to_numpy()
    return found


class Pass:
    """Work for one shard: fills the rows that are missing in the tables of several ops.

    Rows that have a value keep it: a later run with more rows computes only those.
    """

    def __init__(self, view: View, plan: Sequence[Planned], threads: int = 2):
        self.view, self.plan, self.threads = view, plan, threads
        for planned in plan:
            planned.op.setup()

    def __call__(self, shard: int) -> dict[str, Any]:
        return self._pass(shard, None)

    def careful(self, shard: int) -> dict[str, Any]:
        """After this shard failed once: slower, and it finds the rows that kill the worker."""
        suspects = Suspects(self.view.store, self.plan[0].folder, shard)
        report = self._pass(shard, suspects)
        suspects.clear()
        return report

    def _pass(self, shard: int, suspects: Suspects | None) -> dict[str, Any]:
        todo: dict[str, np.ndarray] = {}
        parts: dict[str, pa.Table | None] = {}
        coming: dict[str, np.ndarray] = {}
        for planned in self.plan:
            rows, parts[planned.folder] = unfinished(self.view, planned, shard, coming)
            todo[planned.folder] = rows
            if rows.any():
                coming |= dict.fromkeys(planned.op.makes(), rows)
        work = [p for p in self.plan if parts[p.folder] is None or todo[p.folder].any()]
        if not work:
            return {"rows": 0, "seconds": {}}
        made = self._compute(shard, work, todo, parts, suspects)
        uid = self.view.store.read_part("records", shard, ["uid"])["uid"]
        for planned in work:
            done = made[planned.folder]
            table = pa.table({"uid": uid, **_merged(planned, todo[planned.folder], parts[planned.folder], done)})
            self.view.store.write_part(planned.folder, shard, table)
        return {
            "rows": max(int(todo[p.folder].sum()) for p in work),
            "seconds": {p.folder: made[p.folder].seconds for p in work},
        }

    def _compute(
        self,
        shard: int,
        work: list[Planned],
        todo: dict[str, np.ndarray],
        parts: dict[str, pa.Table | None],
        suspects: Suspects | None,
    ) -> dict[str, _Made]:
        made = {p.folder: _Made(p) for p in work}
        fresh = {name for p in work for name in p.op.makes()}
        stored = sorted({name for p in work for name in p.op.needs()} - fresh - {"image"})
        table = self.view.read(shard, stored).combine_chunks() if stored else None
        active = np.flatnonzero(np.logical_or.reduce([todo[p.folder] for p in work]))
        # With images, no more rows at a time than the ops that read them ask for: two chunks of them are in memory.
        sizes = [p.op.batch_size for p in work if "image" in p.op.needs()]
        size = max(sizes or [p.op.batch_size for p in work])
        chunks = [active[i : i + size] for i in range(0, len(active), size)]
        if suspects:
            chunks = suspects.split(chunks)
        pictures = self._pictures(shard, work, todo, chunks, suspects)
        for rows in chunks:
            if suspects:
                suspects.trying(rows)
            columns = {name: flat(table[name].take(pa.array(rows))) for name in stored} if table is not None else {}
            deadly = suspects is not None and rows[0] in suspects.deadly
            images = next(pictures) if pictures else None
            for planned in work:
                mine = todo[planned.folder][rows]
                values = made[planned.folder].run(mine, columns, images, DEADLY if deadly else "ok")
                part = parts[planned.folder]
                # What later ops of the pass read: new values, and for rows done in an earlier run the stored ones.
                for name, new in values.items():
                    old = None if part is None else flat(part[name].take(pa.array(rows)))
                    columns[name] = new if old is None else _choose(mine, new, old)
        return made

    def _pictures(
        self,
        shard: int,
        work: list[Planned],
        todo: dict[str, np.ndarray],
        chunks: list[np.ndarray],
        suspects: Suspects | None,
    ) -> Any:
        wanted = [todo[p.folder] for p in work if "image" in p.op.needs()]
        if not wanted or self.view.images is None:
            return None
        reader = ImageReader(self.view.store, self.view.images, shard)
        which = np.logical_or.reduce(wanted)
        if suspects:
            which[sorted(suspects.deadly)] = False
        # Looking for the image that kills the worker, none is decoded ahead: the last one tried is the one.
        return decoded(reader, chunks, which, self.threads, ahead=suspects is None)


class _Made:
    """What one op made in a pass: chunks of its columns and of its status."""

    def __init__(self, planned: Planned):
        self.op, self.size = planned.op, planned.op.batch_size
        self.types = {**planned.op.makes(), status_column(planned.op.table()): pa.string()}
        self.chunks: dict[str, list[pa.Array]] = {name: [] for name in self.types}
        self.mine: list[np.ndarray] = []
        self.seconds = 0.0

    def run(
        self, mine: np.ndarray, columns: dict[str, pa.Array], images: Any, verdict: str = "ok"
    ) -> dict[str, pa.Array]:
        """Run the op on the rows of a chunk that are `mine` and have all it reads; null elsewhere.

        verdict: the status to begin with; with another than `ok` the op does not run.
        """
        status = np.where(mine, verdict, SKIPPED).astype(object)
        for name in self.op.needs():
            if name == "image":
                for i in np.flatnonzero(mine & (status == "ok")):
                    status[i] = images[i][1]
            elif not self.op.reads_null:
                null = columns[name].is_null().to_numpy(zero_copy_only=False)
                status[(status == "ok") & null] = f"no_{name}"
        valid = np.flatnonzero(status == "ok")
        started = time.perf_counter()
        result = self._guarded(valid, columns, images, status)
        self.seconds += time.perf_counter() - started
        index = np.full(len(mine), len(valid), np.int64)
        index[valid] = np.arange(len(valid))
        out = {}
        for name, kind in self.op.makes().items():
            out[name] = pa.concat_arrays([*result[name], pa.nulls(1, kind)]).take(pa.array(index))
        self.mine.append(mine)
        out[status_column(self.op.table())] = pa.array(status, pa.string())
        for name, values in out.items():
            self.chunks[name].append(values)
        return out

    def _guarded(
        self, valid: np.ndarray, columns: dict[str, pa.Array], images: Any, status: np.ndarray
    ) -> dict[str, list[pa.Array]]:
        """Batch after batch; one that raises is halved, and halved again: one bad row costs no other its value."""
        made: dict[str, list[pa.Array]] = {name: [] for name in self.op.makes()}
        start = 0
        while start < len(valid):
            rows = valid[start : start + self.size]
            start += len(rows)
            faults: list[Exception] = []
            for done, values, words in self._halved(rows, columns, images, faults):
                status[done] = words
                for name, array in values.items():
                    made[name].append(array)
            if len(faults) == len(rows) >= ALL_FAILED:
                raise faults[-1]
        return made

    def _halved(
        self, rows: np.ndarray, columns: dict[str, pa.Array], images: Any, faults: list[Exception]
    ) -> Iterator[tuple[np.ndarray, dict[str, pa.Array], Any]]:
        try:
            yield (rows, *self._batch(rows, columns, images))
            return
        except Exception as error:  # noqa: BLE001 - any fault of a row is its status
            if len(rows) == 1:
                faults.append(error)
                nulls = {name: pa.nulls(1, kind) for name, kind in self.op.makes().items()}
                yield rows, nulls, [f"error: {type(error).__name__}: {error}"[:200]]
                return
            if "out of memory" in str(error).lower() and self.size > len(rows) // 2:
                self.size = max(1, len(rows) // 2)
                console.print(f"{self.op.table()}: out of device memory, going on with batches of {self.size}")
        middle = len(rows) // 2
        yield from self._halved(rows[:middle], columns, images, faults)
        yield from self._halved(rows[middle:], columns, images, faults)

    def _batch(self, rows: np.ndarray, columns: dict[str, pa.Array], images: Any) -> tuple[dict[str, pa.Array], Any]:
        """The op's columns and its status words for some rows, checked to be one value per row."""
        taken = {name: columns[name].take(pa.array(rows)) for name in self.op.needs() if name != "image"}
        pictures = [images[i][0] for i in rows] if "image" in self.op.needs() else None
        result = self.op.batch(Rows(taken, pictures, len(rows)))
        made = checked(result, self.op.makes(), len(rows))
        return made, status_words(result, len(rows))


def checked(result: Mapping[str, Any], makes: Mapping[str, pa.DataType], rows: int) -> dict[str, pa.Array]:
    """What an op returned as arrays of the types that it declares.

    Raises:
        ValueError: when a column is missing, or has not one value per row.
    """
    made = {}
    for name, kind in makes.items():
        if name not in result:
            raise ValueError(f"the op made no column '{name}'")
        made[name] = as_array(result[name], kind)
        if len(made[name]) != rows:
            raise ValueError(f"column '{name}' has {len(made[name])} values for {rows} rows")
    return made


def status_words(result: Mapping[str, Any], rows: int) -> list[str]:
    """What an op says of each row, `ok` where it says nothing.

    Raises:
        ValueError: when it has not one word per row.
    """
    words: list[str] = pa.array(result.get("status", ["ok"] * rows), pa.string()).fill_null("ok").to_pylist()
    if len(words) != rows:
        raise ValueError(f"status has {len(words)} words for {rows} rows")
    return words


def _merged(planned: Planned, todo: np.ndarray, part: pa.Table | None, made: _Made) -> dict[str, pa.Array]:
    """Full columns of a shard: new values where there was work, the old part elsewhere, else null and `skipped`."""
    fresh = np.zeros(len(todo), bool)
    columns = {}
    status = status_column(planned.op.table())
    active = np.flatnonzero(np.concatenate(made.mine)) if made.mine else np.array([], np.int64)
    fresh[todo] = True
    for name, kind in made.types.items():
        new = pa.concat_arrays(made.chunks[name]) if made.chunks[name] else pa.array([], kind)
        blank = pa.array([SKIPPED], kind) if name == status else pa.nulls(1, kind)
        old = pa.array([], kind) if part is None else flat(part[name])
        index = np.full(len(todo), len(new) + len(old), np.int64)
        if part is not None:
            index[~fresh] = len(new) + np.flatnonzero(~fresh)
        index[fresh] = active
        columns[name] = pa.concat_arrays([new, old, blank]).take(pa.array(index))
    return columns


def _choose(mine: np.ndarray, new: pa.Array, old: pa.Array) -> pa.Array:
    index = np.where(mine, np.arange(len(mine)), len(mine) + np.arange(len(mine)))
    return pa.concat_arrays([new, old]).take(pa.array(index))


def flat(column: pa.ChunkedArray) -> pa.Array:
    """One contiguous array."""
    joined = column.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def as_array(values: Any, kind: pa.DataType) -> pa.Array:
    """What an op returned, as an Arrow array of the declared type; NaN is null."""
    if isinstance(values, pa.ChunkedArray):
        values = flat(values)
    if isinstance(values, np.ndarray) and values.ndim == 2:
        numbers = pa.array(np.ascontiguousarray(values).ravel(), kind.value_type)
        offsets = pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32())
        values = pa.ListArray.from_arrays(offsets, numbers)
    if not isinstance(values, pa.Array):
        return pa.array(values, kind, from_pandas=True)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    return values if values.type == kind else values.cast(kind)
