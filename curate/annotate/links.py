"""Ops that judge groups of rows which are alike, not equal: rows that share a key are compared, links become groups.

A row has several keys. Rows that share one are compared, those found alike are linked, and the connected components of
the links are the groups. The work lies in small files below `<table>/.work`, each written whole under a name that only
its content decides, so a task that is done again replaces its own file:

    plan.json                        how many rows a partition may have, see curate.annotate.partitions
    keys/<run>.spill                 keys of a run of shards, cut by partition of the key space
    keyed/<shard>.parquet            rows of a shard that have a key
    links-0/<partition>.parquet      links found in a partition: a spanning forest, at most one per row
    links-1/<group>.parquet ...      the same of 64 files of the level below, until 64 or fewer are left
    labels.parquet, report.json      row -> its group, for rows with a link; sizes of the groups

Keys are removed once all links are there, links once all labels are. Then each group is judged whole, as those of a
Grouped op are. The result is a pure function of rows and options: row order, cut into shards and partitions and retries
have no part in it. A partition is in memory at a time, fitted to the worker; but the links that stay of all rows are in
one worker at the end, whatever its memory: 24 bytes each, and some 200 at the peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.alike.against_old import OldStore
from curate.alike.forest import components, spanning_forest
from curate.annotate.all_rows import AllRows
from curate.annotate.exchange import Exchange
from curate.annotate.groups import Judging, fill, workers_for
from curate.annotate.partitions import USUAL, Cut, forget, planned, rows_of_runs, rows_that_fit
from curate.annotate.pool import as_rows
from curate.arrays.arrow_columns import flat
from curate.arrays.string_hash import hash_pairs
from curate.cluster.cluster import Cluster
from curate.library.op_fault import OpFault
from curate.op import Linked, op_name
from curate.store.view import View


@dataclass(frozen=True)
class Links(Judging):
    """The job of a Linked op: `keys`, `pairs`, `merge` level by level, `label`, `spread`, then `judge` and `collect`.

    keyed: brings rows that share a key to one partition, to be compared.
    level, files: the files of links that are to be put together next, `files_per_merge` by one task.
    """

    op: Linked
    keyed: Exchange
    files_per_merge: int
    level: int
    files: int

    # ---- which rows are alike ----

    def keys(self, run: int) -> None:
        """Keys and compared columns of a run of shards, to the partition of each key."""
        frame = pl.concat([band for shard in self.keyed.runs[run] for band in self._bands(shard)])
        self.keyed.send(run, frame, _high(frame["key"].to_numpy()))

    def _bands(self, shard: int) -> list[pl.DataFrame]:
        rows, table = self.rows.pool_rows(shard, (*self.op.reads(), *self.op.compares()))
        keys_of_bands = self.op.keys(as_rows(table))
        if len(keys_of_bands) != self.op.bands():
            what = f"`keys` gave {len(keys_of_bands)} arrays, expected {self.op.bands()}"
            raise OpFault(f"{op_name(type(self.op))}: {what}")
        compared = {name: flat(table[name]) for name in self.op.compares()}
        frame = pl.DataFrame(pa.table({"node": pa.array(_nodes(shard, rows)), **compared}))
        keyed = np.zeros(len(rows), bool)
        bands = []
        for band, keys in enumerate(keys_of_bands):
            valid = keys.is_valid().to_numpy(zero_copy_only=False)
            mixed = _mixed(keys.fill_null(0).to_numpy().astype(np.uint64), band)
            bands.append(frame.select(pl.Series("key", mixed), pl.all()).filter(valid))
            keyed |= valid
        self._write(f"keyed/{shard:05d}", pl.DataFrame({"row": rows[keyed]}))
        return bands

    def pairs(self, partition: int) -> None:
        """Links between the rows of a partition that share a key."""
        frame = self.keyed.receive(partition)
        # A row alone with its key goes at once: most do.
        frame = frame.filter(pl.col("key").is_duplicated()).sort("key", "node")
        a, b, closeness = self.op.links(frame)
        nodes = frame["node"].to_numpy()
        links = pl.DataFrame({"a": nodes[a], "b": nodes[b], "closeness": np.asarray(closeness, np.float64)})
        self._write(f"links-0/{partition:05d}", _forest(links))

    # ---- which rows are one group ----

    def merge(self, group: int) -> None:
        """One file of the next level: the spanning forest of several files of this one."""
        start = group * self.files_per_merge
        links = self._links(start, min(self.files, start + self.files_per_merge))
        self._write(f"links-{self.level + 1}/{group:05d}", links)

    def unmerged(self) -> list[int]:
        merged = self.store.parts(self._name(f"links-{self.level + 1}"))
        return [group for group in range(self.merged().files) if group not in merged]

    def merged(self) -> Links:
        """The job as it goes on from the next level."""
        return replace(self, level=self.level + 1, files=-(-self.files // self.files_per_merge))

    def label(self, _: int) -> None:
        """Done once: the group of every row that has a link."""
        links = self._links(0, self.files)
        a, b, closeness = (links[name].to_numpy() for name in ("a", "b", "closeness"))
        nodes, labels, whole = components(a, b, closeness, self.op.cap)
        self.store.write_json(self._name("report.json"), _report(labels, whole, self.op.cap))
        self._write("labels", pl.DataFrame({"node": nodes, "label": labels}))

    def _links(self, start: int, stop: int) -> pl.DataFrame:
        """The spanning forest of several files. They are put together as they are read: of links that say the same
        again, no more are held than of those that stay, and one file."""
        kept, waiting = self._read(f"links-{self.level}/{start:05d}"), []
        for number in range(start + 1, stop):
            waiting.append(self._read(f"links-{self.level}/{number:05d}"))
            if number == stop - 1 or sum(map(len, waiting)) > len(kept):
                kept, waiting = _forest(pl.concat([kept, *waiting])), []
        return kept

    # ---- to the partition of the group ----

    def spread(self, run: int) -> None:
        """Every row of a run that has a key, to the partition of its group."""
        frame = pl.concat([self._labelled(shard) for shard in self.groups.runs[run]])
        self.groups.send(run, frame.drop("mixed"), _high(frame["mixed"].to_numpy()))

    def _labelled(self, shard: int) -> pl.DataFrame:
        rows = self._read(f"keyed/{shard:05d}")["row"].to_numpy().astype(np.int64)
        nodes = _nodes(shard, rows)
        linked = self._read("labels", filters=[("node", ">=", shard << 32), ("node", "<", (shard + 1) << 32)])
        labels = nodes.copy()  # a row without a link is a group of its own
        labels[np.searchsorted(nodes, linked["node"].to_numpy())] = linked["label"].to_numpy()
        mixed = _mixed(labels.astype(np.uint64), 0)
        joined = np.stack([mixed, labels.astype(np.uint64)], axis=1).astype(">u8").tobytes()
        keys = pa.Array.from_buffers(pa.binary(16), len(rows), [None, pa.py_buffer(joined)]).cast(pa.binary())
        carried = self.rows.read(shard, self.op.carries()).take(pa.array(rows))
        return pl.DataFrame(pa.table({"mixed": mixed, "key": keys} | self.rows.placed(shard, rows, carried)))

    # ---- files of the work ----

    def _name(self, name: str) -> str:
        return f"{self.folder}/.work/{name}"

    def _write(self, name: str, frame: pl.DataFrame) -> None:
        self.store.write_file(self._name(f"{name}.parquet"), frame.to_arrow(), row_group_size=1 << 17)

    def _read(self, name: str, **options: Any) -> pl.DataFrame:
        return pl.DataFrame(self.store.read_file(self._name(f"{name}.parquet"), **options))


def _nodes(shard: int, rows: np.ndarray) -> np.ndarray:
    """int64[n]: the numbers of rows among all rows of the store, which sort as (shard, row); shards of old stores
    have negative numbers."""
    return (np.int64(shard) << np.int64(32)) | rows.astype(np.int64)  # type: ignore[no-any-return]


def _mixed(keys: np.ndarray, band: int) -> np.ndarray:
    """uint64[n]: one to one, other for every band, and its high bits spread rows over partitions."""
    return hash_pairs(np.full(len(keys), band, np.uint64), keys, 0)


def _high(keys: np.ndarray) -> np.ndarray:
    return keys >> np.uint64(32)  # type: ignore[no-any-return]


def _forest(links: pl.DataFrame) -> pl.DataFrame:
    return links.filter(spanning_forest(*(links[name].to_numpy() for name in ("a", "b", "closeness"))))


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


def run_linked(
    view: View, op: Linked, folder: str, cluster: Cluster, cut: Cut = USUAL, old: Sequence[OldStore] = ()
) -> dict[str, Any]:
    """Fill the table of a Linked op; each phase goes on where it was stopped. Returns what goes into the manifest.

    old: the stores of its `against`.
    """
    store, work = view.store, f"{folder}/.work"
    if set(store.shard_rows()) - store.parts(folder):
        job = _planned(AllRows.of(view, op, old), op, folder, cluster, cut)
        if "labels.parquet" not in store.names(work):
            job = _linked(job, cluster)
            rows = sum(job.rows.sizes().values())
            cluster.do(f"{op.table()}: groups", job.label, [0], {0: rows}, **workers_for(op, cluster))
        for name in store.names(work):
            if name.startswith("links-"):
                store.remove(f"{work}/{name}")
        fill(job, job.spread, cluster, ("rows", "verdicts", "columns"))
    # It is not there when the step was stopped after its last part, while the work was being removed.
    report = store.read_json(f"{work}/report.json") if "report.json" in store.names(work) else {}
    forget(store, folder)
    return report


def _planned(rows: AllRows, op: Linked, folder: str, cluster: Cluster, cut: Cut) -> Links:
    store, sizes = rows.view.store, rows.sizes()
    pairs = rows_that_fit(rows, op.compares(), op.link_copies, cluster, op.cpus, cut)
    groups = rows_that_fit(rows, op.carries(), op.copies, cluster, op.cpus, cut)
    fit = planned(store, folder, {"pairs": pairs, "groups": groups})
    keys = {shard: number * op.bands() for shard, number in sizes.items()}
    keyed = Exchange.of(store, f"{folder}/.work/keys", keys, fit["pairs"], cut)
    to_groups = Exchange.of(store, f"{folder}/.work/groups", sizes, fit["groups"], cut)
    return Links(rows, op, folder, to_groups, keyed, cut.files_per_merge, level=0, files=keyed.partitions)


def _linked(job: Links, cluster: Cluster) -> Links:
    """Compare all rows that share a key, and put links together until one task can label them."""
    label, store, use = job.op.table(), job.store, workers_for(job.op, cluster)
    compared = store.parts(f"{job.folder}/.work/links-0")
    if todo := [partition for partition in range(job.keyed.partitions) if partition not in compared]:
        sizes = rows_of_runs(job.keyed.runs, job.rows.sizes())
        cluster.do(f"{label}: keys", job.keys, job.keyed.unsent(), sizes, **use)
        cluster.do(f"{label}: pairs", job.pairs, todo, job.keyed.waiting(f"{label}: pairs"), **use)
    job.keyed.forget()
    while job.files > job.files_per_merge:
        cluster.do(f"{label}: links", job.merge, job.unmerged(), {}, **use)
        job = job.merged()
    return job
