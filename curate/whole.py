"""Ops that look at all rows at once: by groups that share a key, or through one statistic.

Groups travel as small files, `<table>/.work/<partition>/<shard>.parquet`: a shard writes its keys into one file per
partition of the key space, a partition is judged whole, and each shard collects its verdicts. Every file is written
atomically under a name that depends only on (table, partition, shard), so a retried task replaces its own file and the
result is a pure function of the rows; memory is that of one partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.annotate import SKIPPED, checked, flat, status_column, status_words
from curate.cluster import Cluster
from curate.op import Counted, Grouped, Rows
from curate.view import View

#: Rows per partition: 16-byte keys and a few columns of 4 million rows are about 1 GB while they are judged.
ROWS_PER_PARTITION = 4_000_000
#: Shards whose verdicts are collected by one task, so that a partition's file is opened once for all of them.
SHARDS_PER_COLLECT = 64


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


def _part(
    uid: pa.ChunkedArray, op: Grouped | Counted, rows: np.ndarray, inside: np.ndarray, values: Mapping[str, Any]
) -> pa.Table:
    """The part of one shard: values at `rows`, null elsewhere, with a status for every row."""
    status = np.where(inside, "no_value", SKIPPED).astype(object)
    status[rows] = status_words(values, len(rows))
    index = np.full(len(inside), len(rows), np.int64)
    index[rows] = np.arange(len(rows))
    columns: dict[str, Any] = {"uid": uid}
    for name, array in checked(values, op.makes(), len(rows)).items():
        columns[name] = pa.concat_arrays([array, pa.nulls(1, array.type)]).take(pa.array(index))
    columns[status_column(op.table())] = pa.array(status, pa.string())
    return pa.table(columns)


# ---- groups ----


def _spill(folder: str, partition: int) -> str:
    return f"{folder}/.work/{partition:05d}"


@dataclass
class SpillKeys:
    """Work for a run of shards: their keys, split by partition. A run, not a shard: 10^5 shards in 250 partitions are
    400,000 files instead of 25 million."""

    view: View
    op: Grouped
    folder: str
    partitions: int
    shards: list[int]

    def __post_init__(self) -> None:
        self.op.setup()

    def __call__(self, run: int) -> dict[str, Any]:
        pieces = [self._keys(shard) for shard in runs_of(self.shards)[run]]
        frame = pl.concat(pieces)
        for partition in range(self.partitions):
            piece = frame.filter(pl.col("part") == partition).drop("part")
            with self.view.store.writing(f"{_spill(self.folder, partition)}/{run:05d}.parquet") as file:
                pq.write_table(piece.to_arrow(), file, compression="zstd")
        return {"rows": len(frame)}

    def _keys(self, shard: int) -> pl.DataFrame:
        needs = tuple(dict.fromkeys((*self.op.needs(), *self.op.carries())))
        # Only null in what makes the key takes a row out of its group; a carried null is the op's to rank.
        rows, _, table = pool_rows(self.view, shard, needs, nulls=True)
        keys = self.op.keys(_as_rows(table))
        carried = {name: flat(table[name]) for name in self.op.carries()}
        shards = pa.array(np.full(len(rows), shard, np.int32))
        frame = pl.DataFrame(pa.table({"key": keys, "shard": shards, "row": pa.array(rows, pa.int32()), **carried}))
        frame = frame.filter(pl.col("key").is_not_null())
        joined = b"".join(frame["key"])
        if len(joined) != 16 * len(frame):
            raise ValueError(f"{type(self.op).__name__}.keys must give 16 bytes per row")
        high = np.frombuffer(joined, ">u4")[::4].astype(np.uint64)
        return frame.with_columns(part=pl.Series(high * np.uint64(self.partitions) >> np.uint64(32)))


def runs_of(shards: list[int]) -> list[list[int]]:
    """Shards in runs of SHARDS_PER_COLLECT."""
    return [shards[i : i + SHARDS_PER_COLLECT] for i in range(0, len(shards), SHARDS_PER_COLLECT)]


@dataclass
class JudgePartition:
    """Work for one partition: all rows of its groups, judged together."""

    view: View
    op: Grouped
    folder: str
    files: list[int]

    def __call__(self, partition: int) -> dict[str, Any]:
        store, spill = self.view.store, _spill(self.folder, partition)
        pieces = []
        for number in self.files:
            with store.open(f"{spill}/{number:05d}.parquet") as file:
                pieces.append(pl.DataFrame(pq.read_table(file, partitioning=None)))
        frame = pl.concat(pieces).sort("key", "shard", "row")
        verdict = self.op.judge(frame).select("shard", "row", *self.op.makes()).sort("shard", "row")
        if not verdict.select("shard", "row").equals(frame.select("shard", "row").sort("shard", "row")):
            raise ValueError(f"{type(self.op).__name__}.judge must give one row for every row, with its shard and row")
        with store.writing(f"{spill}.verdict.parquet") as file:
            pq.write_table(verdict.to_arrow(), file, compression="zstd", row_group_size=1 << 17)
        return {"rows": len(verdict)}


@dataclass
class CollectVerdicts:
    """Work for a run of shards: their verdicts from every partition, in the order of the rows."""

    view: View
    op: Grouped
    folder: str
    partitions: int
    shards: list[int]

    def __call__(self, group: int) -> dict[str, Any]:
        mine = runs_of(self.shards)[group]
        pieces = []
        for partition in range(self.partitions):
            with self.view.store.open(f"{_spill(self.folder, partition)}.verdict.parquet") as file:
                span = [("shard", ">=", mine[0]), ("shard", "<=", mine[-1])]
                pieces.append(pl.DataFrame(pq.read_table(file, filters=span, partitioning=None)))
        found = pl.concat(pieces).sort("shard", "row").partition_by("shard", as_dict=True, include_key=False)
        for shard in mine:
            _, inside, _ = pool_rows(self.view, shard, ("uid",), nulls=True)
            verdict = found.get((shard,), pieces[0].clear().drop("shard"))
            rows = verdict["row"].to_numpy().astype(np.int64)
            values = {name: verdict[name].to_arrow() for name in self.op.makes()}
            uid = self.view.store.read_part("records", shard, ["uid"])["uid"]
            self.view.store.write_part(self.folder, shard, _part(uid, self.op, rows, inside, values))
        return {"rows": len(mine)}


def run_grouped(view: View, op: Grouped, folder: str, cluster: Cluster) -> None:
    """Fill the table of a Grouped op: spill, judge, collect; each phase goes on where it was stopped."""
    store = view.store
    rows = store.shard_rows()
    shards = sorted(rows)
    missing = [s for s in shards if s not in store.parts(folder)]
    if not missing:
        store.remove(f"{folder}/.work")
        return
    partitions = max(1, -(-sum(rows.values()) // ROWS_PER_PARTITION))
    judged = store.names(f"{folder}/.work")
    last = _spill("", partitions - 1).rsplit("/", 1)[-1]
    spilled = store.parts(f"{folder}/.work/{last}")
    to_judge = [p for p in range(partitions) if f"{p:05d}.verdict.parquet" not in judged]
    shared = {"view": view, "op": op, "folder": folder}
    if to_judge:
        runs = runs_of(shards)
        todo = [i for i in range(len(runs)) if i not in spilled]
        spill = {**shared, "partitions": partitions, "shards": shards}
        sizes = {i: sum(rows[s] for s in run) for i, run in enumerate(runs)}
        _drain(cluster.each(f"{op.table()}: keys", SpillKeys, spill, todo, sizes, cpus=op.cpus))
        judge = {**shared, "files": list(range(len(runs)))}
        _drain(cluster.each(f"{op.table()}: groups", JudgePartition, judge, to_judge, {}, cpus=op.cpus))
    lacking = set(missing)
    groups = [i for i, run in enumerate(runs_of(shards)) if lacking & set(run)]
    collect = {**shared, "partitions": partitions, "shards": shards}
    _drain(cluster.each(f"{op.table()}: verdicts", CollectVerdicts, collect, groups, {}, cpus=op.cpus))
    store.remove(f"{folder}/.work")


def _drain(reports: Iterator[tuple[int, dict[str, Any]]]) -> None:
    for _ in reports:
        pass


# ---- one statistic ----


@dataclass
class CountShards:
    """Work for a run of shards: their part of the statistic."""

    view: View
    op: Counted
    shards: list[int]

    def __post_init__(self) -> None:
        self.op.setup()

    def __call__(self, group: int) -> dict[str, Any]:
        total: Any = None
        for shard in runs_of(self.shards)[group]:
            _, _, table = pool_rows(self.view, shard, self.op.needs(), nulls=False)
            part = self.op.count(_as_rows(table))
            total = part if total is None else total + part
        return {"total": total}


@dataclass
class ApplyTotal:
    """Work for one shard: its columns, given the statistic of all."""

    view: View
    op: Counted
    folder: str
    total: Any

    def __post_init__(self) -> None:
        self.op.setup()

    def __call__(self, shard: int) -> dict[str, Any]:
        columns = tuple(dict.fromkeys(self.op.needs()))
        rows, inside, table = pool_rows(self.view, shard, columns, nulls=False)
        values = self.op.batch(_as_rows(table), self.total) if len(rows) else _nothing(self.op)
        uid = self.view.store.read_part("records", shard, ["uid"])["uid"]
        self.view.store.write_part(self.folder, shard, _part(uid, self.op, rows, inside, values))
        return {"rows": len(rows)}


def _nothing(op: Counted) -> dict[str, Any]:
    return {name: pa.array([], kind) for name, kind in op.makes().items()}


def run_counted(view: View, op: Counted, folder: str, cluster: Cluster) -> dict[str, Any]:
    """Fill the table of a Counted op: sum the statistic over all shards, then judge each; returns the op's report."""
    store = view.store
    rows = store.shard_rows()
    shards = sorted(rows)
    groups = list(range(len(runs_of(shards))))
    total: Any = None
    count = {"view": view, "op": op, "shards": shards}
    for _, report in cluster.each(f"{op.table()}: counts", CountShards, count, groups, {}, cpus=op.cpus):
        total = report["total"] if total is None else total + report["total"]
    total = op.settle(total)
    missing = [s for s in shards if s not in store.parts(folder)]
    apply = {"view": view, "op": op, "folder": folder, "total": total}
    _drain(cluster.each(op.table(), ApplyTotal, apply, missing, rows, cpus=op.cpus))
    return op.report(total)
