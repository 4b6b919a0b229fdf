"""Ops that judge groups of rows which are alike, not equal: rows that share a key are compared, links become groups.

A row has several keys. Rows that share one are compared, those found alike are linked, and the connected components of
the links are the groups. The work lies in small files below `<table>/.work`, each written whole under a name that only
its content decides, so a task that is done again replaces its own file:

    plan.json                        how many rows a partition may have, see curate.annotate.partitions
    keys/<run>.spill                 keys of a run of shards, cut by partition of the key space
    met-0/<run>.parquet ...          where old rows take part: which can be in a group with a new one, see
                                     curate.annotate.reach
    keyed/<shard>.parquet            rows of a shard that have a key
    links-0/<partition>.parquet      links found in a partition: a spanning forest, at most one per row
    links-1/<batch>.parquet ...      the same of several files of the level below, see curate.annotate.merging
    stars-0/<batch>.spill ...        where one worker cannot hold all links: see curate.annotate.rounds
    labels/<number>.spill            row -> its group, for rows with a link, cut by run of shards
    report.json                      sizes of the groups; all labels are there

Keys are removed once all links are there, links once all labels are. Then each group is judged whole, as those of a
Grouped op are. The result is a pure function of rows and options: row order, cut into shards and partitions and retries
have no part in it. A partition is in memory at a time, fitted to the worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.alike.against_old import OldStore
from curate.alike.kept_keys import KeptKeys, parted
from curate.annotate.all_rows import AllRows
from curate.annotate.exchange import Exchange
from curate.annotate.groups import Judging, fill, workers_for
from curate.annotate.merging import Merging
from curate.annotate.nodes import forest, high, mixed, nodes_of, read_labels, summed
from curate.annotate.partitions import (
    USUAL,
    Cut,
    forget,
    links_that_fit,
    marks_for,
    planned,
    rows_of_runs,
    rows_that_fit,
)
from curate.annotate.pool import as_rows
from curate.annotate.reach import FOLDERS as OF_REACH
from curate.annotate.reach import Reach, reached
from curate.annotate.rounds import FOLDERS, Rounds, label_by_rounds
from curate.arrays.arrow_columns import flat
from curate.cluster.cluster import Cluster
from curate.library.op_fault import OpFault
from curate.library.op_names import op_name
from curate.op import Linked
from curate.store.view import View


@dataclass(frozen=True)
class Links(Judging):
    """The job of a Linked op: `keys`, `pairs`; then, once links are groups, `spread`, `judge` and `collect`.

    keyed: brings rows that share a key to one partition, to be compared. reach: says which old rows can be in a group
    with a new one, where the op's keys tell rows apart.
    """

    op: Linked
    keyed: Exchange
    reach: Reach | None = None

    # ---- which rows are alike ----

    def keys(self, run: int) -> None:
        """Keys and compared columns of a run of shards, to the partition of each key. Runs are of old rows or of
        new."""
        shards = self.keyed.runs[run]
        if self.reach is None:
            frame = pl.concat([band for shard in shards for band in self._bands(shard)])
        else:
            within = self.reach.rows_of(run)
            frame = pl.concat([band for shard in shards for band in self._reached(self.reach, shard, within)])
            if shards[0] >= 0:
                self.reach.meet(run, frame["key"].to_numpy())
        self.keyed.send(run, frame, high(frame["key"].to_numpy()))

    def _bands(self, shard: int) -> list[pl.DataFrame]:
        kept = self.rows.keeps_keys(shard)
        made_of = (self.rows.key,) if kept else self.op.reads()
        rows, table = self.rows.pool_rows(shard, (*made_of, *self.op.compares()))
        keys_of_bands = parted(flat(table[self.rows.key]), self.op.bands()) if kept else self.op.keys(as_rows(table))
        if len(keys_of_bands) != self.op.bands():
            what = f"`keys` gave {len(keys_of_bands)} arrays, expected {self.op.bands()}"
            raise OpFault(f"{op_name(type(self.op))}: {what}")
        valid = [keys.is_valid().to_numpy(zero_copy_only=False) for keys in keys_of_bands]
        mixed_keys = [mixed(keys.fill_null(0).to_numpy(), band) for band, keys in enumerate(keys_of_bands)]
        return self._keyed(shard, rows, table, mixed_keys, valid)

    def _reached(self, reach: Reach, shard: int, within: Mapping[int, np.ndarray] | None) -> list[pl.DataFrame]:
        """As `_bands`, of the rows of a shard that can be in a group with a new one; None: of all."""
        rows, keys, valid = reach.keys(shard)
        if within is not None:
            valid &= np.isin(rows, within[shard])
        rows, keys = rows[valid], [key[valid] for key in keys]
        table = self.rows.read(shard, self.op.compares()).take(pa.array(rows))
        return self._keyed(shard, rows, table, keys, [np.ones(len(rows), bool)] * len(keys))

    def _keyed(
        self, shard: int, rows: np.ndarray, table: pa.Table, keys: Sequence[np.ndarray], valid: Sequence[np.ndarray]
    ) -> list[pl.DataFrame]:
        """A frame for each band, of the rows that have a key there; and the note of rows that have any."""
        compared = {name: flat(table[name]) for name in self.op.compares()}
        frame = pl.DataFrame(pa.table({"node": pa.array(nodes_of(shard, rows)), **compared}))
        bands, keyed = [], np.zeros(len(rows), bool)
        for key, of_band in zip(keys, valid, strict=True):
            bands.append(frame.select(pl.Series("key", key), pl.all()).filter(of_band))
            keyed |= of_band
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
        self._write(f"links-0/{partition:05d}", forest(links))

    # ---- to the partition of the group ----

    def spread(self, run: int) -> None:
        """Every row of a run that has a key, to the partition of its group."""
        linked = read_labels(self.store, self.work, run)
        frame = pl.concat([self._labelled(shard, linked) for shard in self.groups.runs[run]])
        self.groups.send(run, frame.drop("mixed"), high(frame["mixed"].to_numpy()))

    def _labelled(self, shard: int, linked: pl.DataFrame) -> pl.DataFrame:
        rows = self._read(f"keyed/{shard:05d}")["row"].to_numpy().astype(np.int64)
        nodes = nodes_of(shard, rows)
        linked = linked.filter(pl.col("node").is_between(shard << 32, (shard + 1) << 32, closed="left"))
        labels = nodes.copy()  # a row without a link is a group of its own
        labels[np.searchsorted(nodes, linked["node"].to_numpy())] = linked["label"].to_numpy()
        keys = mixed(labels, 0)
        joined = np.stack([keys, labels.astype(np.uint64)], axis=1).astype(">u8").tobytes()
        key = pa.Array.from_buffers(pa.binary(16), len(rows), [None, pa.py_buffer(joined)]).cast(pa.binary())
        carried = self.rows.read(shard, self.op.carries()).take(pa.array(rows))
        return pl.DataFrame(pa.table({"mixed": keys, "key": key} | self.rows.placed(shard, rows, carried)))

    # ---- files of the work ----

    @property
    def work(self) -> str:
        return f"{self.folder}/.work"

    def _write(self, name: str, frame: pl.DataFrame) -> None:
        self.store.write_file(f"{self.work}/{name}.parquet", frame.to_arrow())

    def _read(self, name: str) -> pl.DataFrame:
        return pl.DataFrame(self.store.read_file(f"{self.work}/{name}.parquet"))


def run_linked(
    view: View, op: Linked, folder: str, cluster: Cluster, cut: Cut = USUAL, old: Sequence[OldStore] = ()
) -> dict[str, Any]:
    """Fill the table of a Linked op; each phase goes on where it was stopped. Returns what goes into the manifest.

    old: the stores of its `against`.
    """
    store, work = view.store, f"{folder}/.work"
    if set(store.shard_rows()) - store.parts(folder):
        job, fit = _planned(AllRows.of(view, op, old), op, folder, cluster, cut)
        if "report.json" not in store.names(work):
            _compare(job, cluster)
            _label(job, cluster, fit, cut)
        for name in store.names(work):
            if name.startswith(("links-", "stars-")) or name in ("reports", *FOLDERS):
                store.remove(f"{work}/{name}")
        fill(job, job.spread, cluster, ("rows", "verdicts", "columns"))
    # It is not there when the step was stopped after its last part, while the work was being removed.
    report = store.read_json(f"{work}/report.json") if "report.json" in store.names(work) else {}
    forget(store, folder)
    return report


def _planned(rows: AllRows, op: Linked, folder: str, cluster: Cluster, cut: Cut) -> tuple[Links, int]:
    """The job, and how many links one worker can hold."""
    store, sizes = rows.view.store, rows.sizes()
    pairs = rows_that_fit(rows, op.compares(), op.link_copies, cluster, op.cpus, cut)
    groups = rows_that_fit(rows, op.carries(), op.copies, cluster, op.cpus, cut)
    links = links_that_fit(cluster, op.cpus, cut)
    fit = {"pairs": pairs, "groups": groups, "links": links}
    if rows.old_shards:
        fit["marks"] = marks_for(rows, op.bands(), cluster, op.cpus) if isinstance(op, KeptKeys) else 0
    fit = planned(store, folder, fit)
    keys = {shard: number * op.bands() for shard, number in sizes.items()}
    keyed = Exchange.of(store, f"{folder}/.work/keys", keys, fit["pairs"], cut)
    to_groups = Exchange.of(store, f"{folder}/.work/groups", sizes, fit["groups"], cut)
    job = Links(rows, op, folder, to_groups, to_groups.back(f"{folder}/.work/verdicts", cut), keyed)
    if isinstance(op, KeptKeys) and (bits := fit.get("marks", 0)):
        job = replace(job, reach=Reach(rows, op, job.work, keyed.runs, bits))
    return job, fit["links"]


def _compare(job: Links, cluster: Cluster) -> None:
    """Compare all rows that share a key; of old rows those that can be in a group with a new one."""
    label, use = job.op.table(), workers_for(job.op, cluster)
    compared = job.store.parts(f"{job.work}/links-0")
    if todo := [partition for partition in range(job.keyed.partitions) if partition not in compared]:
        sizes = rows_of_runs(job.keyed.runs, job.rows.sizes())
        if job.reach and not job.reach.ended():
            new = [run for run in job.keyed.unsent() if job.keyed.runs[run][0] >= 0]
            cluster.do(f"{label}: new keys", job.keys, new, sizes, **use)
        if job.reach:
            job = replace(job, reach=reached(job.reach, cluster, label, use))
        cluster.do(f"{label}: keys", job.keys, job.keyed.unsent(), sizes, **use)
        waiting = job.keyed.waiting(cluster, label, "pairs", use)
        cluster.do(f"{label}: pairs", job.pairs, todo, waiting, **use)
    job.keyed.forget()
    if job.reach:
        job.reach.forget(*OF_REACH)


def _label(job: Links, cluster: Cluster, fit: int, cut: Cut) -> None:
    """Put links together until one task can label all groups, or, where none can, label them by rounds."""
    label, use, lasts = job.op.table(), workers_for(job.op, cluster), [run[-1] for run in job.groups.runs]
    files = job.keyed.partitions
    merging = Merging(job.store, job.work, files, fit, cut.files_per_merge, job.op.cap, lasts).batched()
    while len(merging.batches) > 1 and not merging.needs_rounds():
        cluster.do(f"{label}: links", merging.merge, merging.unmerged(), {}, **use)
        merging = merging.merged()
    if len(merging.batches) > 1:
        label_by_rounds(Rounds(**vars(merging)), cluster, label, use)
    else:
        rows = sum(job.rows.sizes().values())
        cluster.do(f"{label}: groups", merging.label, merging.unlabelled(range(1)), {0: rows}, **use)
    job.store.write_json(f"{job.work}/report.json", summed(merging.reports()))
