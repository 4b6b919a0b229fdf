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
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.annotate import flat
from curate.cluster import Cluster
from curate.forest import components, spanning_forest
from curate.op import Grouped, Op, Rows
from curate.view import View
from curate.whole import (
    ROWS_PER_PARTITION,
    SHARDS_PER_COLLECT,
    CollectVerdicts,
    JudgePartition,
    _as_rows,
    _drain,
    _spill,
    pool_rows,
)

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


def _work(folder: str, name: str) -> str:
    return f"{folder}/.work/{name}"


def _write(view: View, name: str, frame: pl.DataFrame) -> None:
    with view.store.writing(name) as file:
        pq.write_table(frame.to_arrow(), file, compression="zstd", row_group_size=1 << 17)


def _read(view: View, name: str, **options: Any) -> pl.DataFrame:
    with view.store.open(name) as file:
        return pl.DataFrame(pq.read_table(file, partitioning=None, **options))


def _mixed(keys: np.ndarray, band: int) -> np.ndarray:
    """splitmix64: one to one, other for every band, and its high bits spread rows over partitions."""
    x = keys + np.uint64((0x9E3779B97F4A7C15 * (band + 1)) & 0xFFFFFFFFFFFFFFFF)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _by_partition(high: np.ndarray, partitions: int) -> np.ndarray:
    """The partition of the upper 32 bits of a mixed key."""
    return high.astype(np.uint64) * np.uint64(partitions) >> np.uint64(32)


@dataclass
class SpillBands:
    """Work for a run of shards: the keys of their rows, split by partition."""

    view: View
    op: Linked
    folder: str
    partitions: int
    runs: list[list[int]]

    def __post_init__(self) -> None:
        self.op.setup()

    def __call__(self, run: int) -> dict[str, Any]:
        frame = pl.concat([band for shard in self.runs[run] for band in self._bands(shard)])
        parts = _by_partition(frame["key"].to_numpy() >> np.uint64(32), self.partitions)
        frame = frame[np.argsort(parts, kind="stable")]
        ends = np.cumsum(np.bincount(parts.astype(np.int64), minlength=self.partitions))
        for partition, end in enumerate(ends.tolist()):
            start = int(ends[partition - 1]) if partition else 0
            _write(self.view, _work(self.folder, f"keys/{partition:05d}/{run:05d}.parquet"), frame[start:end])
        return {"rows": len(frame)}

    def _bands(self, shard: int) -> list[pl.DataFrame]:
        columns = tuple(dict.fromkeys((*self.op.needs(), *self.op.compares())))
        rows, _, table = pool_rows(self.view, shard, columns, nulls=True)
        found = self.op.keys(_as_rows(table))
        compared = {name: flat(table[name]) for name in self.op.compares()}
        nodes = (np.int64(shard) << np.int64(32)) | rows.astype(np.int64)
        frame = pl.DataFrame(pa.table({"node": pa.array(nodes), **compared}))
        keyed = np.zeros(len(rows), bool)
        bands = []
        for band, keys in enumerate(found):
            there = keys.is_valid().to_numpy(zero_copy_only=False)
            values = keys.fill_null(0).to_numpy().astype(np.uint64)
            keyed |= there
            bands.append(frame.select(pl.Series("key", _mixed(values, band)), pl.all()).filter(there))
        if len(bands) != self.op.bands():
            raise ValueError(f"{type(self.op).__name__}.keys gave {len(bands)} arrays, expected {self.op.bands()}")
        _write(self.view, _work(self.folder, f"keyed/{shard:05d}.parquet"), pl.DataFrame({"row": rows[keyed]}))
        return bands


def _forest(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(spanning_forest(*(frame[name].to_numpy() for name in ("a", "b", "closeness"))))


@dataclass
class LinkPartition:
    """Work for one partition: compare the rows that share a key."""

    view: View
    op: Linked
    folder: str
    runs: int

    def __post_init__(self) -> None:
        self.op.setup()

    def __call__(self, partition: int) -> dict[str, Any]:
        names = [_work(self.folder, f"keys/{partition:05d}/{run:05d}.parquet") for run in range(self.runs)]
        # A row alone with its key goes at once: most do.
        frame = pl.concat([_read(self.view, name) for name in names]).filter(pl.col("key").is_duplicated())
        frame = frame.sort("key", "node")
        a, b, closeness = self.op.links(frame)
        nodes = frame["node"].to_numpy()
        links = pl.DataFrame({"a": nodes[a], "b": nodes[b], "closeness": np.asarray(closeness, np.float64)})
        _write(self.view, _work(self.folder, f"links-0/{partition:05d}.parquet"), _forest(links))
        return {"rows": len(frame)}


@dataclass
class MergeLinks:
    """Work for one file of a level: the spanning forest of MERGED files of the level below."""

    view: View
    folder: str
    level: int
    files: int

    def __call__(self, group: int) -> dict[str, Any]:
        links = _links(self.view, self.folder, self.level - 1, group * MERGED, min(self.files, (group + 1) * MERGED))
        _write(self.view, _work(self.folder, f"links-{self.level}/{group:05d}.parquet"), _forest(links))
        return {"rows": len(links)}


def _links(view: View, folder: str, level: int, start: int, stop: int) -> pl.DataFrame:
    return pl.concat([_read(view, _work(folder, f"links-{level}/{i:05d}.parquet")) for i in range(start, stop)])


@dataclass
class Label:
    """Work done once: the group of every row that has a link."""

    view: View
    op: Linked
    folder: str
    level: int
    files: int

    def __call__(self, _: int) -> dict[str, Any]:
        links = _links(self.view, self.folder, self.level, 0, self.files)
        arrays = (links[name].to_numpy() for name in ("a", "b", "closeness"))
        nodes, labels, whole = components(*arrays, self.op.cap)
        report = _report(labels, whole, self.op.cap)
        self.view.store.write_bytes(_work(self.folder, "report.json"), json.dumps(report).encode())
        _write(self.view, _work(self.folder, "labels.parquet"), pl.DataFrame({"node": nodes, "label": labels}))
        return {"rows": len(nodes)}


def _report(labels: np.ndarray, whole: np.ndarray, cap: int) -> dict[str, Any]:
    """Groups by size (`4` counts those of 4 to 7 rows), and what was cut."""
    sizes = np.unique(labels, return_counts=True)[1]
    powers, counts = np.unique(np.floor(np.log2(sizes)).astype(int), return_counts=True)
    over = whole[whole > cap]
    return {
        "linked_rows": len(labels),
        "groups": len(sizes),
        "groups_by_size": {str(2**int(p)): int(n) for p, n in zip(powers, counts, strict=True)},
        "largest": int(whole.max(initial=0)),
        "over_cap": round(float((1 / over).sum())),
        "over_cap_rows": len(over),
    }


@dataclass
class SpillLabels:
    """Work for one shard: every row that has a key, by the partition of its group."""

    view: View
    op: Linked
    folder: str
    partitions: int

    def __call__(self, shard: int) -> dict[str, Any]:
        rows = _read(self.view, _work(self.folder, f"keyed/{shard:05d}.parquet"))["row"].to_numpy().astype(np.int64)
        nodes = (np.int64(shard) << np.int64(32)) | rows
        span = [("node", ">=", shard << 32), ("node", "<", (shard + 1) << 32)]
        linked = _read(self.view, _work(self.folder, "labels.parquet"), filters=span)
        labels = nodes.copy()
        labels[np.searchsorted(nodes, linked["node"].to_numpy())] = linked["label"].to_numpy()
        mixed = _mixed(labels.astype(np.uint64), 0)
        joined = np.stack([mixed, labels.astype(np.uint64)], axis=1).astype(">u8").tobytes()
        keys = pa.Array.from_buffers(pa.binary(16), len(rows), [None, pa.py_buffer(joined)]).cast(pa.binary())
        table = self.view.read(shard, self.op.carries()).take(pa.array(rows))
        places = {"shard": pa.array(np.full(len(rows), shard, np.int32)), "row": pa.array(rows, pa.int32())}
        frame = pl.DataFrame(pa.table({"key": keys, **places, **{n: flat(table[n]) for n in table.column_names}}))
        parts = _by_partition(mixed >> np.uint64(32), self.partitions)
        for partition in range(self.partitions):
            name = f"{_spill(self.folder, partition)}/{shard:05d}.parquet"
            _write(self.view, name, frame.filter(parts == partition))
        return {"rows": len(rows)}


def run_linked(view: View, op: Linked, folder: str, cluster: Cluster) -> dict[str, Any]:
    """Fill the table of a Linked op; each phase goes on where it was stopped. Returns what goes into the manifest."""
    store, rows = view.store, view.store.shard_rows()
    shards, label = sorted(rows), op.table()
    missing = [s for s in shards if s not in store.parts(folder)]
    shared: dict[str, Any] = {"view": view, "op": op, "folder": folder}
    if "labels.parquet" not in store.names(f"{folder}/.work"):
        if not missing:
            # Stopped after its last part, while the work was being removed.
            store.remove(f"{folder}/.work")
            return {}
        level, files = _find_links(view, op, folder, cluster)
        work = {**shared, "level": level, "files": files}
        _drain(cluster.each(f"{label}: groups", Label, work, [0], {}, cpus=op.cpus))
    report = json.loads(store.read_bytes(_work(folder, "report.json")))
    partitions = max(1, -(-sum(rows.values()) // ROWS_PER_PARTITION))
    judged = store.names(f"{folder}/.work")
    to_judge = [p for p in range(partitions) if f"{p:05d}.verdict.parquet" not in judged]
    if to_judge and missing:
        spilled = store.parts(_spill(folder, partitions - 1))
        todo = [s for s in shards if s not in spilled]
        spill = {**shared, "partitions": partitions}
        _drain(cluster.each(f"{label}: rows", SpillLabels, spill, todo, rows, cpus=op.cpus))
        judge = {**shared, "op": cast(Grouped, op), "shards": shards}
        _drain(cluster.each(f"{label}: verdicts", JudgePartition, judge, to_judge, {}, cpus=op.cpus))
    groups = sorted({shards.index(s) // SHARDS_PER_COLLECT for s in missing})
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
    done = store.parts(_work(folder, "links-0"))
    if todo := [p for p in range(partitions) if p not in done]:
        spilled = store.parts(_work(folder, f"keys/{partitions - 1:05d}"))
        spill = {**shared, "partitions": partitions, "runs": runs}
        waiting = [i for i in range(len(runs)) if i not in spilled]
        sizes = {i: sum(rows[s] for s in run) for i, run in enumerate(runs)}
        _drain(cluster.each(f"{label}: keys", SpillBands, spill, waiting, sizes, cpus=op.cpus))
        work = {**shared, "runs": len(runs)}
        _drain(cluster.each(f"{label}: pairs", LinkPartition, work, todo, {}, cpus=op.cpus))
    level, files = 0, partitions
    while files > MERGED:
        level, below, files = level + 1, files, -(-files // MERGED)
        done = store.parts(_work(folder, f"links-{level}"))
        merge = {"view": view, "folder": folder, "level": level, "files": below}
        todo = [g for g in range(files) if g not in done]
        _drain(cluster.each(f"{label}: links", MergeLinks, merge, todo, {}, cpus=op.cpus))
    return level, files
