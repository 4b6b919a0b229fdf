"""Ops that judge groups of rows which are alike, not equal: rows that share a key are compared, links become groups.

A row has several keys. Rows that share one are compared, those found alike are linked, and the connected components of
the links are the groups. The work lies in small files under `<table>/.work`, each written whole under a name that only
its content decides, so a retried task replaces its own file:

    plan.json                        how many rows a partition may have, see curate.annotate.partitions
    keys/<run>.spill                 keys of a run of shards, cut by partition of the key space
    keyed/<shard>.parquet            rows of a shard that have a key
    links-0/<partition>.parquet      links found in a partition: a spanning forest, at most one per row
    links-1/<group>.parquet ...      the same of 64 files of the level below, until 64 or fewer are left
    labels.parquet, report.json      row -> its group, for rows with a link; sizes of the groups

Then each group is judged whole, as those of a Grouped op are. The result is a pure function of rows and options: row
order, cut into shards and partitions and retries have no part in it. A partition is in memory at a time, fitted to
the worker; but the links that stay of all rows are in one worker at the end, whatever its memory: 24 bytes each, and
some 200 at the peak.
"""

from __future__ import annotations

from typing import Any

from curate.annotate.link_tasks import Label, LinkPartition, MergeLinks, SpillBands, SpillLabels, work_file
from curate.annotate.partitions import forget, partitions_for, planned, rows_that_fit, runs_of, warn_of_skew
from curate.annotate.whole import fill_by_groups
from curate.cluster.cluster import Cluster
from curate.op import Linked
from curate.store.spill import spilled, spilled_rows
from curate.store.view import View

#: Files of links that one task puts together.
MERGED = 64


def run_linked(view: View, op: Linked, folder: str, cluster: Cluster) -> dict[str, Any]:
    """Fill the table of a Linked op; each phase goes on where it was stopped. Returns what goes into the manifest."""
    store, report = view.store, work_file(folder, "report.json")
    if set(store.shard_rows()) - store.parts(folder):
        keys = rows_that_fit(view, op.compares(), op.link_copies, cluster, op.cpus)
        groups = rows_that_fit(view, op.carries(), op.copies, cluster, op.cpus)
        fit = planned(store, folder, {"keys": keys, "groups": groups})
        if "labels.parquet" not in store.names(f"{folder}/.work"):
            level, files = _find_links(view, op, folder, fit["keys"], cluster)
            use: dict[str, Any] = {"cpus": op.cpus, "memory": cluster.memory or 0}
            cluster.do(f"{op.table()}: groups", Label(view, op, folder, level, files), [0], {}, **use)
        fill_by_groups(view, op, folder, fit["groups"], cluster, SpillLabels, ("rows", "verdicts", "columns"))
    # It is not there when the step was stopped after its last part, while the work was being removed.
    found = store.read_json(report) if "report.json" in store.names(f"{folder}/.work") else {}
    forget(store, folder)
    return found


def _find_links(view: View, op: Linked, folder: str, fit: int, cluster: Cluster) -> tuple[int, int]:
    """Compare all rows that share a key; (level, number of files) of the links that are left to put together.

    fit: keys that a worker can hold with what is compared.
    """
    store, rows, label = view.store, view.store.shard_rows(), op.table()
    use: dict[str, Any] = {"cpus": op.cpus, "memory": cluster.memory or 0}
    keys = {shard: number * op.bands() for shard, number in rows.items()}
    partitions, runs = partitions_for(sum(keys.values()), fit), runs_of(sorted(rows), keys, fit)
    done = store.parts(work_file(folder, "links-0"))
    if todo := [p for p in range(partitions) if p not in done]:
        base = work_file(folder, "keys")
        done = spilled(store, base)
        work = SpillBands(view, op, folder, partitions, runs)
        sizes = {i: sum(rows[s] for s in run) for i, run in enumerate(runs)}
        cluster.do(f"{label}: keys", work, [i for i in sizes if i not in done], sizes, **use)
        found = spilled_rows(store, base, partitions)
        warn_of_skew(found, fit, f"{label}: pairs")
        held = dict(enumerate(found.tolist()))
        cluster.do(f"{label}: pairs", LinkPartition(view, op, folder, len(runs)), todo, held, **use)
    level, files = 0, partitions
    while files > MERGED:
        level, below, files = level + 1, files, -(-files // MERGED)
        done = store.parts(work_file(folder, f"links-{level}"))
        todo = [g for g in range(files) if g not in done]
        cluster.do(f"{label}: links", MergeLinks(view, folder, level, below, MERGED), todo, {}, **use)
    return level, files
