"""Ops that judge groups of rows which are alike, not equal: rows that share a key are compared, links become groups.

A row has several keys. Rows that share one are compared, those found alike are linked, and the connected components of
the links are the groups. The work lies in small files under `<table>/.work`, each written whole under a name that only
its content decides, so a retried task replaces its own file:

    keys/<partition>/<run>.parquet   keys of a run of shards, by partition of the key space
    keyed/<shard>.parquet            rows of a shard that have a key
    links-0/<partition>.parquet      links found in a partition: a spanning forest, at most one per row
    links-1/<group>.parquet ...      the same of 64 files of the level below, until 64 or fewer are left
    labels.parquet, report.json      row -> its group, for rows with a link; sizes of the groups

Then each group is judged whole, as those of a Grouped op are. The result is a pure function of rows and options: row
order, cut into shards and partitions and retries have no part in it. A partition is in memory at a time, and once the
links of all rows (24 bytes for each row that has one).
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa

from curate.cluster import Cluster
from curate.link_tasks import Label, LinkPartition, MergeLinks, SpillBands, SpillLabels, work_file
from curate.op import Grouped, Op, Rows
from curate.view import View
from curate.whole import ROWS_PER_PARTITION, CollectVerdicts, JudgePartition, _drain, _spill, runs_of

#: Files of links that one task puts together.
MERGED = 64
#: Tasks that write keys; with more shards than this, a task writes those of several.
RUNS = 256

#: Places of two rows in a frame, and how close they are: 1 for rows that are the same to the rule, less for others.
Links = tuple[np.ndarray, np.ndarray, np.ndarray]


class Linked(Op):
    """An op that links rows which are alike, and judges together all that are linked, directly or through others."""

    #: Rows that a group has at most: a larger one falls apart at its weakest links, see curate.forest.
    cap: int = 10_000

    @abstractmethod
    def bands(self) -> int:
        """Number of keys that a row has."""

    @abstractmethod
    def keys(self, rows: Rows) -> Sequence[pa.Array]:
        """One uint64 array per band, null for a row that has no key. Rows that share a band's key are compared, so
        equality by chance costs time and changes nothing."""

    @abstractmethod
    def compares(self) -> tuple[str, ...]:
        """Columns that `links` needs."""

    @abstractmethod
    def links(self, rows: pl.DataFrame) -> Links:
        """Rows that are alike, of `key`, `node` and the columns of `compares`, sorted by key and node. Only rows of one
        key are compared. Needs not give all pairs: a maximum spanning forest of them is enough. Which rows come out
        linked, and how close, must not depend on the order of the rows or on other keys."""

    def carries(self) -> tuple[str, ...]:
        """Columns that `judge` needs beside the key."""
        return ("uid",)

    @abstractmethod
    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        """As Grouped.judge; a row without a link is a group of one."""


def run_linked(view: View, op: Linked, folder: str, cluster: Cluster) -> dict[str, Any]:
    """Fill the table of a Linked op; each phase goes on where it was stopped. Returns what goes into the manifest."""
    store, rows = view.store, view.store.shard_rows()
    shards, label = sorted(rows), op.table()
    missing = [s for s in shards if s not in store.parts(folder)]
    shared: dict[str, Any] = {"view": view, "op": op, "folder": folder}
    if not missing:
        # Stopped after its last part, maybe while the work was being removed.
        names = store.names(f"{folder}/.work")
        report = json.loads(store.read_bytes(work_file(folder, "report.json"))) if "report.json" in names else {}
        store.remove(f"{folder}/.work")
        return cast("dict[str, Any]", report)
    if "labels.parquet" not in store.names(f"{folder}/.work"):
        level, files = _find_links(view, op, folder, cluster)
        work = {**shared, "level": level, "files": files}
        _drain(cluster.each(f"{label}: groups", Label, work, [0], {}, cpus=op.cpus))
    report = json.loads(store.read_bytes(work_file(folder, "report.json")))
    partitions = max(1, -(-sum(rows.values()) // ROWS_PER_PARTITION))
    judged = store.names(f"{folder}/.work")
    to_judge = [p for p in range(partitions) if f"{p:05d}.verdict.parquet" not in judged]
    if to_judge:
        spilled = store.parts(_spill(folder, partitions - 1))
        runs = list(enumerate(runs_of(shards)))
        spill = {**shared, "partitions": partitions, "shards": shards}
        sizes = {i: sum(rows[s] for s in run) for i, run in runs}
        todo = [i for i, _ in runs if i not in spilled]
        _drain(cluster.each(f"{label}: rows", SpillLabels, spill, todo, sizes, cpus=op.cpus))
        judge = {**shared, "op": cast(Grouped, op), "files": list(range(len(runs)))}
        _drain(cluster.each(f"{label}: verdicts", JudgePartition, judge, to_judge, {}, cpus=op.cpus))
    lacking = set(missing)
    groups = [i for i, run in enumerate(runs_of(shards)) if lacking & set(run)]
    collect = {**shared, "partitions": partitions, "shards": shards}
    _drain(cluster.each(f"{label}: columns", CollectVerdicts, collect, groups, {}, cpus=op.cpus))
    store.remove(f"{folder}/.work")
    return cast("dict[str, Any]", report)


def _find_links(view: View, op: Linked, folder: str, cluster: Cluster) -> tuple[int, int]:
    """Compare all rows that share a key; (level, number of files) of the links that are left to put together."""
    store, rows = view.store, view.store.shard_rows()
    shards, label = sorted(rows), op.table()
    shared: dict[str, Any] = {"view": view, "op": op, "folder": folder}
    partitions = max(1, -(-sum(rows.values()) * op.bands() // ROWS_PER_PARTITION))
    size = -(-len(shards) // RUNS)
    runs = [shards[i : i + size] for i in range(0, len(shards), size)]
    done = store.parts(work_file(folder, "links-0"))
    if todo := [p for p in range(partitions) if p not in done]:
        spilled = store.parts(work_file(folder, f"keys/{partitions - 1:05d}"))
        spill = {**shared, "partitions": partitions, "runs": runs}
        waiting = [i for i in range(len(runs)) if i not in spilled]
        sizes = {i: sum(rows[s] for s in run) for i, run in enumerate(runs)}
        _drain(cluster.each(f"{label}: keys", SpillBands, spill, waiting, sizes, cpus=op.cpus))
        work = {**shared, "runs": len(runs)}
        _drain(cluster.each(f"{label}: pairs", LinkPartition, work, todo, {}, cpus=op.cpus))
    level, files = 0, partitions
    while files > MERGED:
        level, below, files = level + 1, files, -(-files // MERGED)
        done = store.parts(work_file(folder, f"links-{level}"))
        merge = {"view": view, "folder": folder, "level": level, "files": below, "merged": MERGED}
        todo = [g for g in range(files) if g not in done]
        _drain(cluster.each(f"{label}: links", MergeLinks, merge, todo, {}, cpus=op.cpus))
    return level, files
