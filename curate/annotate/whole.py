"""Ops that look at all rows at once: by groups that share a key, or through one statistic.

Groups travel as files under `<table>/.work`, see curate.store.spill:

    plan.json             how many rows a partition may have, see curate.annotate.partitions
    groups/<run>.spill    keys and carried columns of a run of shards, cut by partition of the key space
    verdicts/<partition>.spill    what was judged of a partition, cut by run

A partition is judged whole, and each run of shards collects its verdicts. Every file is written atomically under a name
that depends only on (table, run, partition), so a retried task replaces its own file and the result is a pure function
of the rows; memory is that of one partition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.annotate.answer import SKIPPED, checked, status_column, status_words
from curate.annotate.partitions import forget, partitions_for, planned, rows_that_fit, runs_of, warn_of_skew
from curate.arrays.arrow_columns import flat
from curate.cluster.cluster import Cluster
from curate.library.op_fault import OpFault
from curate.op import Counted, Grouped, Rows, op_name
from curate.store.spill import by_key, read_spilled, spill, spilled, spilled_rows
from curate.store.view import View


def pool_rows(view: View, shard: int, columns: tuple[str, ...], nulls: bool) -> tuple[np.ndarray, np.ndarray, pa.Table]:
    """Of a shard: row numbers in the pool that have every column, a mask of all rows in the pool, their columns."""
    table = view.read(shard, columns).combine_chunks()
    kept = view.kept(shard)
    inside = np.ones(table.num_rows, bool) if kept is None else kept
    valid = inside.copy()
    if not nulls:
        for name in columns:
            valid &= pc.is_valid(table[name]).to_numpy()
    rows = np.flatnonzero(valid)
    return rows, inside, table.take(pa.array(rows))


def _as_rows(table: pa.Table) -> Rows:
    return Rows({name: flat(table[name]) for name in table.column_names}, length=table.num_rows)


def _part(op: Grouped | Counted, rows: np.ndarray, inside: np.ndarray, values: Mapping[str, Any]) -> pa.Table:
    """The part of one shard: values at `rows`, null elsewhere, with a status for every row."""
    status = np.where(inside, "no_value", SKIPPED).astype(object)
    status[rows] = status_words(values, op, len(rows))
    index = np.full(len(inside), len(rows), np.int64)
    index[rows] = np.arange(len(rows))
    columns: dict[str, Any] = {}
    for name, array in checked(values, op, len(rows)).items():
        columns[name] = pa.concat_arrays([array, pa.nulls(1, array.type)]).take(pa.array(index))
    columns[status_column(op.table())] = pa.array(status, pa.string())
    return pa.table(columns)


# ---- groups ----


@dataclass
class SpillKeys:
    """Work for a run of shards: their keys and carried columns, cut by partition."""

    view: View
    op: Grouped
    folder: str
    partitions: int
    runs: list[list[int]]

    def setup(self) -> None:
        self.op.setup()

    def __call__(self, run: int) -> dict[str, Any]:
        frame = pl.concat([self._keys(shard) for shard in self.runs[run]])
        joined = b"".join(frame["key"])
        if len(joined) != 16 * len(frame):
            raise OpFault(f"{op_name(type(self.op))}: `keys` must give 16 bytes per row")
        partition = by_key(np.frombuffer(joined, ">u4")[::4], self.partitions)
        spill(self.view.store, f"{self.folder}/.work/groups", run, frame, partition, self.partitions)
        return {"rows": len(frame)}

    def _keys(self, shard: int) -> pl.DataFrame:
        needs = tuple(dict.fromkeys((*self.op.reads(), *self.op.carries())))
        # Only null in what makes the key takes a row out of its group; a carried null is the op's to rank.
        rows, _, table = pool_rows(self.view, shard, needs, nulls=True)
        keys = self.op.keys(_as_rows(table))
        carried = {name: flat(table[name]) for name in self.op.carries()}
        shards = pa.array(np.full(len(rows), shard, np.int32))
        frame = pl.DataFrame(pa.table({"key": keys, "shard": shards, "row": pa.array(rows, pa.int32()), **carried}))
        return frame.filter(pl.col("key").is_not_null())


@dataclass
class JudgePartition:
    """Work for one partition: all rows of its groups, judged together."""

    view: View
    op: Grouped
    folder: str
    runs: list[list[int]]

    def __call__(self, partition: int) -> dict[str, Any]:
        store, work = self.view.store, f"{self.folder}/.work"
        frame = read_spilled(store, f"{work}/groups", len(self.runs), partition).sort("key", "shard", "row")
        verdict = self.op.judge(frame).select("shard", "row", *self.op.makes()).sort("shard", "row")
        if not verdict.select("shard", "row").equals(frame.select("shard", "row").sort("shard", "row")):
            raise OpFault(f"{op_name(type(self.op))}: `judge` must give one row for every row, with its shard and row")
        lasts = [run[-1] for run in self.runs]
        run = np.searchsorted(lasts, verdict["shard"].to_numpy())
        spill(store, f"{work}/verdicts", partition, verdict, run, len(self.runs))
        return {"rows": len(verdict)}


@dataclass
class CollectVerdicts:
    """Work for a run of shards: their verdicts from every partition, in the order of the rows."""

    view: View
    op: Grouped
    folder: str
    partitions: int
    runs: list[list[int]]

    def __call__(self, run: int) -> dict[str, Any]:
        mine = self.runs[run]
        verdicts = read_spilled(self.view.store, f"{self.folder}/.work/verdicts", self.partitions, run)
        found = verdicts.sort("shard", "row").partition_by("shard", as_dict=True, include_key=False)
        for shard in mine:
            _, inside, _ = pool_rows(self.view, shard, ("uid",), nulls=True)
            verdict = found.get((shard,), verdicts.clear().drop("shard"))
            rows = verdict["row"].to_numpy().astype(np.int64)
            values = {name: verdict[name].to_arrow() for name in self.op.makes()}
            self.view.store.write_part(self.folder, shard, _part(self.op, rows, inside, values))
        return {"rows": len(mine)}


def run_grouped(view: View, op: Grouped, folder: str, cluster: Cluster) -> None:
    """Fill the table of a Grouped op: spill, judge, collect; each phase goes on where it was stopped."""
    store = view.store
    if set(store.shard_rows()) - store.parts(folder):
        fit = rows_that_fit(view, op.carries(), op.copies, cluster, op.cpus)
        fit = planned(store, folder, {"groups": fit})["groups"]
        fill_by_groups(view, op, folder, fit, cluster, SpillKeys, ("keys", "groups", "verdicts"))
    forget(store, folder)


def fill_by_groups(
    view: View, op: Any, folder: str, fit: int, cluster: Cluster, spiller: Any, phases: tuple[str, str, str]
) -> None:
    """Spill rows by the partition of their group, judge partitions, collect what a table lacks.

    fit: rows that a worker can hold. spiller: the work that spills a run of shards.
    """
    store, rows = view.store, view.store.shard_rows()
    partitions, runs = partitions_for(sum(rows.values()), fit), runs_of(sorted(rows), rows, fit)
    spilling, judging, collecting = (f"{op.table()}: {phase}" for phase in phases)
    use: dict[str, Any] = {"cpus": op.cpus, "memory": cluster.memory or 0}
    sizes = {i: sum(rows[s] for s in run) for i, run in enumerate(runs)}
    groups, verdicts = f"{folder}/.work/groups", f"{folder}/.work/verdicts"
    judged = spilled(store, verdicts)
    if to_judge := [p for p in range(partitions) if p not in judged]:
        done = spilled(store, groups)
        work = spiller(view, op, folder, partitions, runs)
        cluster.do(spilling, work, [i for i in sizes if i not in done], sizes, **use)
        found = spilled_rows(store, groups, partitions)
        warn_of_skew(found, fit, judging)
        held = dict(enumerate(found.tolist()))
        cluster.do(judging, JudgePartition(view, op, folder, runs), to_judge, held, **use)
    missing = set(rows) - store.parts(folder)
    collect = CollectVerdicts(view, op, folder, partitions, runs)
    cluster.do(collecting, collect, [i for i in sizes if missing & set(runs[i])], sizes, **use)


# ---- one statistic ----


@dataclass
class CountShards:
    """Work for a run of shards: their part of the statistic, or of a further one given `total`."""

    view: View
    op: Counted
    shards: list[int]
    total: Any = None

    def setup(self) -> None:
        self.op.setup()

    def __call__(self, group: int) -> dict[str, Any]:
        total: Any = None
        for shard in runs_of(self.shards)[group]:
            _, _, table = pool_rows(self.view, shard, self.op.reads(), nulls=False)
            rows = _as_rows(table)
            part = self.op.count(rows) if self.total is None else self.op.recount(rows, self.total)
            total = part if total is None else total + part
        return {"total": total}


@dataclass
class ApplyTotal:
    """Work for one shard: its columns, given the statistic of all."""

    view: View
    op: Counted
    folder: str
    total: Any

    def setup(self) -> None:
        self.op.setup()

    def __call__(self, shard: int) -> dict[str, Any]:
        columns = tuple(dict.fromkeys(self.op.reads()))
        rows, inside, table = pool_rows(self.view, shard, columns, nulls=False)
        values = self.op.batch(_as_rows(table), self.total) if len(rows) else _nothing(self.op)
        self.view.store.write_part(self.folder, shard, _part(self.op, rows, inside, values))
        return {"rows": len(rows)}


def _nothing(op: Counted) -> dict[str, Any]:
    return {name: pa.array([], kind) for name, kind in op.makes().items()}


def run_counted(view: View, op: Counted, folder: str, cluster: Cluster) -> dict[str, Any]:
    """Fill the table of a Counted op: sum the statistic over all shards, then judge each; returns the op's report."""
    store = view.store
    rows = store.shard_rows()
    shards = sorted(rows)

    def summed(total: Any = None) -> Any:
        found: Any = None
        count = CountShards(view, op, shards, total)
        groups = list(range(len(runs_of(shards))))
        for _, report in cluster.each(f"{op.table()}: counts", count, groups, {}, cpus=op.cpus):
            found = report["total"] if found is None else found + report["total"]
        return found

    total = op.settle(summed())
    while op.unsettled(total):
        total = op.resettle(total, summed(total))
    missing = [s for s in shards if s not in store.parts(folder)]
    cluster.do(op.table(), ApplyTotal(view, op, folder, total), missing, rows, cpus=op.cpus)
    manifest = store.manifest()
    return op.report_of(total, {name: manifest.spec_of(view.columns[name]) for name in op.reads()})
