"""The tasks of a Linked op, each for one shard, partition or file; `linked` says what they write, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.alike.forest import components, spanning_forest
from curate.annotate.whole import _as_rows, pool_rows
from curate.arrays.arrow_columns import flat
from curate.library.op_fault import OpFault
from curate.op import op_name
from curate.store.spill import by_key, read_spilled, spill
from curate.store.view import View

if TYPE_CHECKING:
    from curate.op import Linked


def work_file(folder: str, name: str) -> str:
    return f"{folder}/.work/{name}"


def _write(view: View, name: str, frame: pl.DataFrame) -> None:
    view.store.write_file(name, frame.to_arrow(), row_group_size=1 << 17)


def _read(view: View, name: str, **options: Any) -> pl.DataFrame:
    return pl.DataFrame(view.store.read_file(name, **options))


def _mixed(keys: np.ndarray, band: int) -> np.ndarray:
    """splitmix64: one to one, other for every band, and its high bits spread rows over partitions."""
    x = keys + np.uint64((0x9E3779B97F4A7C15 * (band + 1)) & 0xFFFFFFFFFFFFFFFF)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


@dataclass
class SpillBands:
    """Work for a run of shards: the keys of their rows, split by partition."""

    view: View
    op: Linked
    folder: str
    partitions: int
    runs: list[list[int]]

    def setup(self) -> None:
        self.op.setup()

    def __call__(self, run: int) -> dict[str, Any]:
        frame = pl.concat([band for shard in self.runs[run] for band in self._bands(shard)])
        partition = by_key(frame["key"].to_numpy() >> np.uint64(32), self.partitions)
        spill(self.view.store, work_file(self.folder, "keys"), run, frame, partition, self.partitions)
        return {"rows": len(frame)}

    def _bands(self, shard: int) -> list[pl.DataFrame]:
        columns = tuple(dict.fromkeys((*self.op.reads(), *self.op.compares())))
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
            raise OpFault(f"{op_name(type(self.op))}: `keys` gave {len(bands)} arrays, expected {self.op.bands()}")
        _write(self.view, work_file(self.folder, f"keyed/{shard:05d}.parquet"), pl.DataFrame({"row": rows[keyed]}))
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

    def setup(self) -> None:
        self.op.setup()

    def __call__(self, partition: int) -> dict[str, Any]:
        frame = read_spilled(self.view.store, work_file(self.folder, "keys"), self.runs, partition)
        # A row alone with its key goes at once: most do.
        frame = frame.filter(pl.col("key").is_duplicated()).sort("key", "node")
        a, b, closeness = self.op.links(frame)
        nodes = frame["node"].to_numpy()
        links = pl.DataFrame({"a": nodes[a], "b": nodes[b], "closeness": np.asarray(closeness, np.float64)})
        _write(self.view, work_file(self.folder, f"links-0/{partition:05d}.parquet"), _forest(links))
        return {"rows": len(frame)}


@dataclass
class MergeLinks:
    """Work for one file of a level: the spanning forest of several files of the level below."""

    view: View
    folder: str
    level: int
    files: int
    merged: int

    def __call__(self, group: int) -> dict[str, Any]:
        start, stop = group * self.merged, min(self.files, (group + 1) * self.merged)
        links = _links(self.view, self.folder, self.level - 1, start, stop)
        _write(self.view, work_file(self.folder, f"links-{self.level}/{group:05d}.parquet"), links)
        return {"rows": len(links)}


def _links(view: View, folder: str, level: int, start: int, stop: int) -> pl.DataFrame:
    """The spanning forest of several files. They are put together as they are read: of links that say the same again,
    no more are held than of those that stay, and one file."""
    kept, waiting = _read(view, work_file(folder, f"links-{level}/{start:05d}.parquet")), []
    for number in range(start + 1, stop):
        waiting.append(_read(view, work_file(folder, f"links-{level}/{number:05d}.parquet")))
        if number == stop - 1 or sum(map(len, waiting)) > len(kept):
            kept, waiting = _forest(pl.concat([kept, *waiting])), []
    return kept


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
        a, b, closeness = (links[name].to_numpy() for name in ("a", "b", "closeness"))
        nodes, labels, whole = components(a, b, closeness, self.op.cap)
        report = _report(labels, whole, self.op.cap)
        self.view.store.write_json(work_file(self.folder, "report.json"), report)
        _write(self.view, work_file(self.folder, "labels.parquet"), pl.DataFrame({"node": nodes, "label": labels}))
        return {"rows": len(nodes)}


def _report(labels: np.ndarray, whole: np.ndarray, cap: int) -> dict[str, Any]:
    """Groups by size (`4` counts those of 4 to 7 rows), and what was cut."""
    sizes = np.unique(labels, return_counts=True)[1]
    powers, counts = np.unique(np.floor(np.log2(sizes)).astype(int), return_counts=True)
    over = whole[whole > cap]
    return {
        "linked_rows": len(labels),
        "groups": len(sizes),
        "groups_by_size": {str(2 ** int(p)): int(n) for p, n in zip(powers, counts, strict=True)},
        "largest": int(whole.max(initial=0)),
        "over_cap": round(float((1 / over).sum())),
        "over_cap_rows": len(over),
    }


@dataclass
class SpillLabels:
    """Work for a run of shards: every row that has a key, by the partition of its group."""

    view: View
    op: Linked
    folder: str
    partitions: int
    runs: list[list[int]]

    def __call__(self, run: int) -> dict[str, Any]:
        frame = pl.concat([self._labelled(shard) for shard in self.runs[run]])
        partition = by_key(frame["mixed"].to_numpy() >> np.uint64(32), self.partitions)
        spill(self.view.store, work_file(self.folder, "groups"), run, frame.drop("mixed"), partition, self.partitions)
        return {"rows": len(frame)}

    def _labelled(self, shard: int) -> pl.DataFrame:
        rows = _read(self.view, work_file(self.folder, f"keyed/{shard:05d}.parquet"))["row"].to_numpy().astype(np.int64)
        nodes = (np.int64(shard) << np.int64(32)) | rows
        span = [("node", ">=", shard << 32), ("node", "<", (shard + 1) << 32)]
        linked = _read(self.view, work_file(self.folder, "labels.parquet"), filters=span)
        labels = nodes.copy()
        labels[np.searchsorted(nodes, linked["node"].to_numpy())] = linked["label"].to_numpy()
        mixed = _mixed(labels.astype(np.uint64), 0)
        joined = np.stack([mixed, labels.astype(np.uint64)], axis=1).astype(">u8").tobytes()
        keys = pa.Array.from_buffers(pa.binary(16), len(rows), [None, pa.py_buffer(joined)]).cast(pa.binary())
        table = self.view.read(shard, self.op.carries()).take(pa.array(rows))
        places = {"shard": pa.array(np.full(len(rows), shard, np.int32)), "row": pa.array(rows, pa.int32())}
        carried = {name: flat(table[name]) for name in table.column_names}
        return pl.DataFrame(pa.table({"mixed": mixed, "key": keys, **places, **carried}))
