"""One pass over a shard: it is read once, each image decoded once, and every op asked for runs on it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.annotate.ahead import Ahead, Chunk, Fault
from curate.annotate.packages import check_packages
from curate.arrays.arrow_columns import as_array, flat
from curate.cluster.nodes import feeding_threads
from curate.cluster.suspects import DEADLY, Suspects
from curate.errors import CurateError
from curate.library.op_fault import OP_MISTAKES, OpFault
from curate.library.user_code import said
from curate.messages.progress import console
from curate.messages.remarks import Remarks
from curate.op import Op, Rows, Score, captions_of, op_name
from curate.store.images import ImageReader
from curate.store.view import View

SKIPPED = "skipped"

#: So many rows in a row that all fail are no bad rows: something is wrong with the worker (a lost GPU, a full disk).
ALL_FAILED = 8

#: Characters of an error that a status keeps.
ERROR_CHARACTERS = 300


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
    for name in planned.op.reads():
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

    def __init__(self, view: View, plan: Sequence[Planned], session: str = ""):
        self.view, self.plan, self.session = view, plan, session

    def setup(self) -> None:
        check_packages(planned.op for planned in self.plan)  # here too: a node may lack what the driver has
        for planned in self.plan:
            planned.op.setup()
        # A worker has one core, which two threads keep busy while one of them reads; or a GPU to feed.
        self.threads = feeding_threads() if any(p.op.gpus() for p in self.plan) else 2

    def __call__(self, shard: int) -> dict[str, Any]:
        return self._pass(shard, None)

    def careful(self, shard: int) -> dict[str, Any]:
        """After this shard failed once: slower, and it finds the rows that kill the worker."""
        suspects = Suspects(self.view.store, self.plan[0].folder, shard, self.session)
        report = self._pass(shard, suspects)
        suspects.clear()
        return report

    def acquit(self, shard: int) -> None:
        """The last attempt ended because a node was lost: no row is to blame for it."""
        Suspects(self.view.store, self.plan[0].folder, shard, self.session).acquit()

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
        for planned in work:
            done = made[planned.folder]
            table = pa.table(_merged(planned, todo[planned.folder], parts[planned.folder], done))
            self.view.store.write_remarks(planned.folder, shard, remarks_of(table, planned.op, shard))
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
        stored = sorted({name for p in work for name in p.op.reads()} - fresh - {"image"})
        table = self.view.read(shard, stored).combine_chunks() if stored else None
        active = np.flatnonzero(np.logical_or.reduce([todo[p.folder] for p in work]))
        size = _rows_at_a_time([p.op for p in work])
        chunks = [active[i : i + size] for i in range(0, len(active), size)]
        if suspects:
            chunks = suspects.split(chunks)
        images = self.view.images if any("image" in p.op.reads() for p in work) else None
        ahead = Ahead(
            {p.folder: p.op for p in work},
            todo,
            reader=ImageReader(self.view.store, images, shard) if images else None,
            texts=flat(table["text"]) if table is not None and "text" in stored else None,
            threads=self.threads,
            suspects=suspects,
        )
        for chunk in ahead(chunks):
            rows = chunk.rows
            columns = {name: flat(table[name].take(pa.array(rows))) for name in stored} if table is not None else {}
            deadly = suspects is not None and rows[0] in suspects.deadly
            for planned in work:
                mine = todo[planned.folder][rows]
                values = made[planned.folder].run(mine, columns, chunk, DEADLY if deadly else "ok")
                part = parts[planned.folder]
                # What later ops of the pass read: new values, and for rows done in an earlier run the stored ones.
                for name, new in values.items():
                    old = None if part is None else flat(part[name].take(pa.array(rows)))
                    columns[name] = new if old is None else _choose(mine, new, old)
        for key, seconds in ahead.seconds.items():
            made[key].seconds += seconds
        return made


def remarks_of(part: pa.Table, op: Op, shard: int) -> Remarks:
    """Rows of a part without a value, by the reason that the op or the pass gave; the first example of each."""
    remarks = Remarks()
    status = flat(part[status_column(op.table())])
    for entry in pc.value_counts(status).to_pylist():
        word = entry["values"]
        if word not in ("ok", SKIPPED):
            kind, _, detail = word.partition(": ")
            row = pc.index(status, pa.scalar(word, status.type)).as_py()
            remarks.add(
                kind, entry["counts"], f"shard {shard}, row {row}{': ' if detail else ''}{detail}", (shard, row)
            )
    return remarks


def _rows_at_a_time(ops: Sequence[Score]) -> int:
    """Rows of a chunk. Where an op keeps images at their full size, no more than it asks for: two chunks of them are
    in memory."""
    seeing = [op for op in ops if "image" in op.reads()]
    keeping = [op.rows_at_a_time() for op in seeing if "image" not in op.prepares()]
    return max(keeping or [op.rows_at_a_time() for op in seeing or ops])


class _Made:
    """What one op made in a pass: chunks of its columns and of its status."""

    def __init__(self, planned: Planned):
        self.op, self.key, self.size = planned.op, planned.folder, planned.op.rows_at_a_time()
        self.types = {**planned.op.makes(), status_column(planned.op.table()): pa.string()}
        self.chunks: dict[str, list[pa.Array]] = {name: [] for name in self.types}
        self.mine: list[np.ndarray] = []
        self.seconds = 0.0

    def run(
        self, mine: np.ndarray, columns: dict[str, pa.Array], chunk: Chunk, verdict: str = "ok"
    ) -> dict[str, pa.Array]:
        """Run the op on the rows of a chunk that are `mine` and have all it reads; null elsewhere.

        verdict: the status to begin with; with another than `ok` the op does not run.
        """
        status = np.where(mine, verdict, SKIPPED).astype(object)
        for name in self.op.reads():
            if name == "image":
                for i in np.flatnonzero(mine & (status == "ok")):
                    status[i] = chunk.status[i]
            elif not self.op.reads_null:
                null = columns[name].is_null().to_numpy(zero_copy_only=False)
                status[(status == "ok") & null] = f"no_{name}"
        valid = np.flatnonzero(status == "ok")
        started = time.perf_counter()
        result = self._guarded(valid, columns, chunk, status)
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
        self, valid: np.ndarray, columns: dict[str, pa.Array], chunk: Chunk, status: np.ndarray
    ) -> dict[str, list[pa.Array]]:
        """Batch after batch; one that raises is halved, and halved again: one bad row costs no other its value."""
        made: dict[str, list[pa.Array]] = {name: [] for name in self.op.makes()}
        start = 0
        while start < len(valid):
            rows = valid[start : start + self.size]
            start += len(rows)
            faults: list[Exception] = []
            for done, values, words in self._halved(rows, columns, chunk, faults):
                status[done] = words
                for name, array in values.items():
                    made[name].append(array)
            if len(faults) == len(rows) >= ALL_FAILED:
                told = f"{op_name(type(self.op))}: all {len(rows)} rows of a batch failed: {said(faults[-1])}"
                raise (OpFault if isinstance(faults[-1], OP_MISTAKES) else RuntimeError)(told) from faults[-1]
        return made

    def _halved(
        self, rows: np.ndarray, columns: dict[str, pa.Array], chunk: Chunk, faults: list[Exception]
    ) -> Iterator[tuple[np.ndarray, dict[str, pa.Array], Any]]:
        try:
            yield (rows, *self._batch(rows, columns, chunk))
            return
        except CurateError:
            raise
        except Exception as error:  # noqa: BLE001 - any fault of a row is its status
            if len(rows) == 1:
                faults.append(error)
                nulls = {name: pa.nulls(1, kind) for name, kind in self.op.makes().items()}
                yield rows, nulls, [f"error: {said(error)}"[:ERROR_CHARACTERS]]
                return
            if "out of memory" in str(error).lower() and self.size > len(rows) // 2:
                self.size = max(1, len(rows) // 2)
                console.print(f"{self.op.table()}: out of device memory, going on with batches of {self.size}")
        middle = len(rows) // 2
        yield from self._halved(rows[:middle], columns, chunk, faults)
        yield from self._halved(rows[middle:], columns, chunk, faults)

    def _batch(
        self, rows: np.ndarray, columns: dict[str, pa.Array], chunk: Chunk
    ) -> tuple[dict[str, pa.Array], list[str]]:
        """The op's columns and its status words for some rows, checked to be one value per row."""
        taken = {name: columns[name].take(pa.array(rows)) for name in self.op.reads() if name != "image"}
        images = None
        if "image" in self.op.reads():
            images = [chunk.images[self.key][i] for i in rows]
            for value in images:
                if isinstance(value, Fault):
                    raise value.error
        texts = None
        if "text" in self.op.prepares():
            ready = chunk.texts.get(self.key)
            texts = [ready[i] for i in rows] if ready else self.op.prepare_texts(captions_of(taken["text"]))
        result = self.op.batch(Rows(taken, images, len(rows), texts))
        return checked(result, self.op, len(rows)), status_words(result, self.op, len(rows))


def checked(result: Mapping[str, Any], op: Op, rows: int) -> dict[str, pa.Array]:
    """What an op returned as arrays of the types that it declares.

    Raises:
        OpFault: when a column is missing, or has not one value per row.
    """
    name = op_name(type(op))
    if not isinstance(result, Mapping):
        raise OpFault(f"{name}: `batch` must return columns by name, it returned {type(result).__name__}")
    columns = {}
    for column, kind in op.makes().items():
        if column not in result:
            raise OpFault(f"{name}: `batch` returned no column '{column}'; it returned: {', '.join(map(str, result))}")
        columns[column] = as_array(_one_per_row(result[column], f"{name}: column '{column}'", rows), kind)
    return columns


def _one_per_row(values: Any, what: str, rows: int) -> Any:
    """Values as they are, when there is one for each row: known before any is converted, so that no row is blamed."""
    if isinstance(values, (str, bytes, Mapping, Set)) or not hasattr(values, "__len__"):
        raise OpFault(
            f"{what} is a {type(values).__name__}, expected one value for each of {rows} rows, in their order"
        )
    if len(values) != rows:
        raise OpFault(f"{what} has {len(values)} value{'s' * (len(values) != 1)} for {rows} rows")
    return values


def status_words(result: Mapping[str, Any], op: Op, rows: int) -> list[str]:
    """What an op says of each row, `ok` where it says nothing.

    Raises:
        OpFault: when it has not one word per row.
    """
    words = _one_per_row(result.get("status", ["ok"] * rows), f"{op_name(type(op))}: `status`", rows)
    return pa.array(words, pa.string()).fill_null("ok").to_pylist()  # type: ignore[no-any-return]


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
