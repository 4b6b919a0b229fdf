"""Ops that judge together all rows that share a key.

Rows travel as files below `<table>/.work`, see curate.store.spill and curate.annotate.transfer:

    plan.json             how many rows a partition may have, see curate.annotate.partitions
    new/<run>.parquet     where old rows take part: keys of a run of new ones, spread; gone once they are marked
    marks.parquet         the keys of all new rows, see curate.annotate.key_marks: of old rows only those go on that
                          have one of them, since a group without a new row says nothing of any
    groups/<run>.spill    keys and carried columns of a run of shards, cut by partition of the key space
    verdicts/<partition>.spill    what was judged of a partition, cut by run

A partition is judged whole, and each run of shards collects its verdicts. Keys are removed once all is judged. Every
file is written atomically under a name that depends only on (table, run, partition), so a task that is done again
replaces its own file and the result is a pure function of the rows; memory is that of one partition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.alike.against_old import OldStore
from curate.alike.row_key import sorted_by_key
from curate.annotate.all_rows import AllRows
from curate.annotate.exchange import Exchange
from curate.annotate.key_marks import KeyMarks, spread
from curate.annotate.partitions import USUAL, Cut, forget, marks_for, planned, rows_of_runs, rows_that_fit, runs_of
from curate.annotate.passed import Passed, summed
from curate.annotate.pool import as_rows, part_of, rows_inside
from curate.annotate.transfer import Transfer
from curate.arrays.arrow_columns import flat, is_bytes
from curate.cluster.cluster import Cluster
from curate.cluster.task import Task
from curate.library.op_fault import OpFault
from curate.library.op_names import op_name
from curate.op import Grouped, Linked, Rows
from curate.store.folder import is_torn
from curate.store.store import Store
from curate.store.view import View

#: What `judge` may say of a row beside its values: a word for the status.
STATUS = "status"


@dataclass(frozen=True)
class Judging:
    """The last phases of a job on groups, once their rows lie together in partitions.

    rows: those that are judged; verdicts are written for those of the store that is worked on. folder: of the table.
    groups: brings the rows of a group to one partition: key, shard, row and carried columns.
    verdicts: brings what is judged of a partition back to the runs.
    """

    rows: AllRows
    op: Grouped | Linked
    folder: str
    groups: Exchange
    verdicts: Transfer

    def setup(self) -> None:
        self.op.setup()

    def judge(self, partition: int) -> None:
        """All rows of the groups of a partition; verdicts are cut by the run that they belong to."""
        frame = sorted_by_key(self.groups.receive(partition), ["shard", "row"])
        verdict = _verdict(self.op, frame).sort("shard", "row")
        if isinstance(self.op, Grouped) and (tally := self.op.tally(frame)):
            self.store.write_json(f"{self.folder}/.work/tallies/{partition:05d}.json", tally)
        if not verdict.select("shard", "row").equals(frame.select("shard", "row").sort("shard", "row")):
            raise OpFault(f"{op_name(type(self.op))}: `judge` must give one row for every row, with its shard and row")
        if self.rows.has_others:
            verdict = verdict.filter(pl.col("shard") >= 0)
        lasts = [run[-1] for run in self.groups.runs]
        run = np.searchsorted(lasts, verdict["shard"].to_numpy())
        self.verdicts.send(partition, verdict, run)

    def collect(self, run: int) -> None:
        """The verdicts of a run from every partition, as parts of the table."""
        verdicts = self.verdicts.receive(run)
        if isinstance(self.op, Grouped) and self.op.bands() > 1:
            verdicts = self.op.merge(verdicts)
        by_shard = verdicts.sort("shard", "row").partition_by("shard", as_dict=True, include_key=False)
        for shard in self._judged(run):
            verdict = by_shard.get((shard,), verdicts.clear().drop("shard"))
            rows = verdict["row"].to_numpy().astype(np.int64)
            values: dict[str, Any] = {name: verdict[name].to_arrow() for name in self.op.makes()}
            if STATUS in verdict.columns:
                values[STATUS] = verdict[STATUS].to_list()
            part = part_of(self.op, rows, rows_inside(self.rows.view, shard), values)
            self.store.write_part(self.folder, shard, part)

    def uncollected(self) -> list[int]:
        collected = self.store.parts(self.folder)
        return [run for run in range(len(self.groups.runs)) if not collected.issuperset(self._judged(run))]

    def _judged(self, run: int) -> list[int]:
        """The shards of a run that belong to the store that is worked on."""
        return [shard for shard in self.groups.runs[run] if shard >= 0]

    @property
    def store(self) -> Store:
        return self.rows.view.store


@dataclass(frozen=True)
class Groups(Judging):
    """The job of a Grouped op: `keys`, `judge`, `collect`; with old rows `mark`, once the keys of new ones are sent.

    bits: of the marks of new keys; 0 where there are none, and all old rows go on.
    """

    op: Grouped
    bits: int = 0

    def keys(self, run: int) -> None:
        """Keys and carried columns of a run of shards, to the partition of the key. Runs are of old rows or of new."""
        shards = self.groups.runs[run]
        old = shards[0] < 0
        marks = KeyMarks.read(self.store, self._marks) if self.bits and old else None
        frame = pl.concat([self._keys(shard, marks) for shard in shards])
        words = self._words(frame["key"])
        if self.bits and not old:
            new = pa.table({"key": np.unique(spread(words[:, 0], words[:, 1]))})
            self.store.write_file(f"{self._new}/{run:05d}.parquet", new)
        self.groups.send(run, frame, words[:, 0] >> np.uint64(32))

    def mark(self, _: int) -> None:
        """Done once: the marks of the keys of all new rows."""
        marks = KeyMarks.none(self.bits)
        for run in sorted(self.store.parts(self._new)):
            marks.mark(self.store.read_file(f"{self._new}/{run:05d}.parquet")["key"].to_numpy())
        marks.write(self.store, self._marks)

    def is_marked(self) -> bool:
        return "marks.parquet" in self.store.names(f"{self.folder}/.work")

    def forget_new(self) -> None:
        """Once the marks are there."""
        self.store.remove(self._new)

    @property
    def _new(self) -> str:
        return f"{self.folder}/.work/new"

    @property
    def _marks(self) -> str:
        return f"{self.folder}/.work/marks.parquet"

    def _words(self, keys: pl.Series) -> np.ndarray:
        """uint64[n, 2] of keys of 16 bytes, their first byte highest."""
        joined = b"".join(keys.to_list())
        if len(joined) != 16 * len(keys):
            raise OpFault(f"{op_name(type(self.op))}: `keys` must give 16 bytes per row")
        return np.frombuffer(joined, ">u8").reshape(-1, 2).astype(np.uint64)

    def _keys(self, shard: int, marks: KeyMarks | None) -> pl.DataFrame:
        # Only null in what makes the key takes a row out of its group; a carried null is the op's to rank.
        kept = self.rows.keeps_keys(shard)
        made_of = (self.rows.key,) if kept else self.op.reads()
        rows, table = self.rows.pool_rows(shard, (*made_of, *self.op.carries()))
        bands = [flat(table[self.rows.key]).cast(pa.binary())] if kept else _keys(self.op, as_rows(table))
        frames, carried = [], table.select(self.op.carries())
        for band in bands:
            places = self._places(band, marks)
            of_row = self.rows.placed(shard, rows[places], carried.take(pa.array(places)))
            frames.append(pl.DataFrame(pa.table({"key": band.take(pa.array(places))} | of_row)))
        return pl.concat(frames)

    def _places(self, keys: pa.Array, marks: KeyMarks | None) -> np.ndarray:
        """Places of the rows that have a key, one of the marked ones where there are marks."""
        places = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False))
        if marks is not None:
            words = self._words(pl.Series(keys.take(pa.array(places))))
            places = places[marks.holds(spread(words[:, 0], words[:, 1]))]
        return places


def _keys(op: Grouped, rows: Rows) -> list[pa.Array]:
    """The op's keys of each row, band after band.

    Raises:
        OpFault: when they are not bytes, one per row.
    """
    keys = op.keys(rows)
    bands = [keys] if op.bands() == 1 else list(keys)
    if len(bands) != op.bands():
        raise OpFault(f"{op_name(type(op))}: `keys` gave {len(bands)} arrays of keys, `bands` says {op.bands()}")
    return [_checked_keys(op, band, rows) for band in bands]


def _checked_keys(op: Grouped, keys: Any, rows: Rows) -> pa.Array:
    if isinstance(keys, pa.NullArray):
        keys = keys.cast(pa.binary())
    if not isinstance(keys, pa.Array) or len(keys) != len(rows) or not is_bytes(keys.type):
        what = f"{len(keys)} of {keys.type}" if isinstance(keys, pa.Array) else f"a {type(keys).__name__}"
        raise OpFault(
            f"{op_name(type(op))}: `keys` must give an Arrow array of 16 bytes per row, as "
            f"curate.alike.row_key.row_keys makes them, it gave {what} for {len(rows)} rows"
        )
    return keys


def _verdict(op: Grouped | Linked, frame: pl.DataFrame) -> pl.DataFrame:
    """What the op says of whole groups.

    Raises:
        OpFault: when it is no frame with shard, row and the columns that the op makes.
    """
    verdict, columns = op.judge(frame), ["shard", "row", *op.makes()]
    if not isinstance(verdict, pl.DataFrame) or not set(columns) <= set(verdict.columns):
        what = ", ".join(verdict.columns) if isinstance(verdict, pl.DataFrame) else f"a {type(verdict).__name__}"
        raise OpFault(f"{op_name(type(op))}: `judge` must give a frame with {', '.join(columns)}, it gave {what}")
    return verdict.select(*columns, *(name for name in verdict.columns if name == STATUS))


def run_grouped(
    view: View, op: Grouped, folder: str, cluster: Cluster, cut: Cut = USUAL, old: Sequence[OldStore] = ()
) -> dict[str, Any]:
    """Fill the table of a Grouped op; each phase goes on where it was stopped. Returns what goes into the manifest.

    old: the stores of its `against`.
    """
    store, rows = view.store, AllRows.of(view, op, old)
    passed = Passed(rows, op, op.reads(), runs_of(sorted(rows.sizes()), cut))
    op = op.ready(partial(summed, passed, cluster, "counts"))
    if set(store.shard_rows()) - store.parts(folder):
        job = _planned(rows, op, folder, cluster, cut)
        if job.bits and job.verdicts.unsent():
            _mark_new(job, cluster)
        fill(job, job.keys, cluster, ("old keys" if old else "keys", "groups", "verdicts"))
    counts = op.tallied(_tally(store, folder))
    forget(store, folder)
    done = replace(rows, view=view.with_table(folder, op.makes()))
    return counts | op.report(partial(summed, replace(passed, rows=done, columns=op.report_reads()), cluster, "report"))


def _tally(store: Store, folder: str) -> Counter[str]:
    """The tallies of all partitions. They are kept beside the parts before the work is forgotten, for a run that is
    stopped behind that."""
    total, name, work = Counter[str](), f"{folder}/all.tally.json", f"{folder}/.work/tallies"
    names = sorted(entry for entry in store.names(work) if not is_torn(entry))
    for tally in store.read_jsons([f"{work}/{entry}" for entry in names]):
        total.update(tally)
    if names:
        store.write_json(name, total)
    elif store.exists(name):
        total.update(store.read_json(name))
    return total


def _planned(rows: AllRows, op: Grouped, folder: str, cluster: Cluster, cut: Cut) -> Groups:
    """The job, as it was begun where it was."""
    store, sizes = rows.view.store, {shard: number * op.bands() for shard, number in rows.sizes().items()}
    fit = {"groups": rows_that_fit(rows, op.carries(), op.copies, cluster, op.cpus, cut)}
    if rows.has_others:
        fit["marks"] = marks_for(rows, op.bands(), cluster, op.cpus) if rows.old_shards else 0
    fit = planned(store, folder, fit)
    groups = Exchange.of(store, f"{folder}/.work/groups", sizes, fit["groups"], cut)
    return Groups(rows, op, folder, groups, groups.back(f"{folder}/.work/verdicts", cut), fit.get("marks", 0))


def _mark_new(job: Groups, cluster: Cluster) -> None:
    """Send the rows of the store that is worked on, and mark their keys."""
    label, use, runs = job.op.table(), workers_for(job.op, cluster), job.groups.runs
    if not job.is_marked():
        unsent = [run for run in job.groups.unsent() if runs[run][0] >= 0]
        cluster.do(f"{label}: keys", job.keys, unsent, rows_of_runs(runs, job.rows.sizes()), **use)
        cluster.do(f"{label}: new keys", job.mark, [0], {}, **use)
    job.forget_new()


def fill(job: Judging, send: Task[None], cluster: Cluster, phases: tuple[str, str, str]) -> None:
    """Send the rows of groups to their partitions, judge those, collect what the table lacks.

    send: sends the rows of a run. phases: what the three are called, for the progress that is shown.
    """
    label, (sending, judging, collecting) = job.op.table(), phases
    sizes, use = rows_of_runs(job.groups.runs, job.rows.sizes()), workers_for(job.op, cluster)
    if unjudged := job.verdicts.unsent():
        cluster.do(f"{label}: {sending}", send, job.groups.unsent(), sizes, **use)
        waiting = job.groups.waiting(cluster, label, judging, use)
        cluster.do(f"{label}: {judging}", job.judge, unjudged, waiting, **use)
    job.groups.forget()
    if uncollected := job.uncollected():
        job.verdicts.finish(cluster, label, use)
        cluster.do(f"{label}: {collecting}", job.collect, uncollected, sizes, **use)


def workers_for(op: Grouped | Linked, cluster: Cluster) -> dict[str, Any]:
    """What each worker of such a job needs, as `Cluster.each` takes it."""
    return {"cpus": op.cpus, "memory": cluster.memory or 0}
