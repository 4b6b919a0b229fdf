"""Ops that judge together all rows that share a key.

Rows travel as files below `<table>/.work`, see curate.store.spill and curate.annotate.transfer:

    plan.json             how many rows a partition may have, see curate.annotate.partitions
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
from curate.annotate.partitions import USUAL, Cut, forget, planned, rows_of_runs, rows_that_fit, runs_of
from curate.annotate.passed import Passed, summed
from curate.annotate.pool import as_rows, part_of, rows_inside
from curate.annotate.transfer import Transfer
from curate.arrays.arrow_columns import is_bytes
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
    """The job of a Grouped op: `keys`, `judge`, `collect`."""

    op: Grouped

    def keys(self, run: int) -> None:
        """Keys and carried columns of a run of shards, to the partition of the key."""
        frame = pl.concat([self._keys(shard) for shard in self.groups.runs[run]])
        joined = b"".join(frame["key"].to_list())
        if len(joined) != 16 * len(frame):
            raise OpFault(f"{op_name(type(self.op))}: `keys` must give 16 bytes per row")
        self.groups.send(run, frame, np.frombuffer(joined, ">u4")[::4])

    def _keys(self, shard: int) -> pl.DataFrame:
        # Only null in what makes the key takes a row out of its group; a carried null is the op's to rank.
        rows, table = self.rows.pool_rows(shard, (*self.op.reads(), *self.op.carries()))
        placed = self.rows.placed(shard, rows, table.select(self.op.carries()))
        frames = [pl.DataFrame(pa.table({"key": keys} | placed)) for keys in _keys(self.op, as_rows(table))]
        return pl.concat(frame.filter(pl.col("key").is_not_null()) for frame in frames)


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
    sizes = {shard: number * op.bands() for shard, number in rows.sizes().items()}
    if set(store.shard_rows()) - store.parts(folder):
        fit = planned(store, folder, {"groups": rows_that_fit(rows, op.carries(), op.copies, cluster, op.cpus, cut)})
        groups = Exchange.of(store, f"{folder}/.work/groups", sizes, fit["groups"], cut)
        job = Groups(rows, op, folder, groups, groups.back(f"{folder}/.work/verdicts", cut))
        fill(job, job.keys, cluster, ("keys", "groups", "verdicts"))
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
