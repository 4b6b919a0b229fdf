"""Annotating: ops run over the rows that are in; a value that is already there is never computed again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from curate.annotate import Pass, Planned, status_column, unfinished
from curate.cluster import Cluster
from curate.op import Counted, Grouped, Op, Score
from curate.view import View
from curate.whole import run_counted, run_grouped

#: Up to here the driver looks itself which shards have work, so that a finished step starts no worker.
LOOK_HERE = 2000


def annotate(view: View, ops: Sequence[Op], cluster: Cluster) -> View:
    """Run ops in their order; neighbours that look at single records share one pass over the shards."""
    for single, group in groupby(ops, key=lambda op: isinstance(op, Score)):
        if single:
            view = _scores(view, [op for op in group if isinstance(op, Score)], cluster)
        else:
            for op in group:
                view = _whole(view, op, cluster)
    return view


def _scores(view: View, ops: Sequence[Score], cluster: Cluster) -> View:
    plan, after = [], view
    for op in ops:
        folder = after.folder_for(op)
        plan.append(Planned(op, folder))
        after = after.with_table(folder, op.makes())
    rows = view.store.shard_rows()
    todo = _unfinished_shards(after, plan, sorted(rows))
    seconds: dict[str, float] = {}
    cpus, gpus = max(op.cpus for op in ops), max(op.gpus() for op in ops)
    label = ", ".join(op.table() for op in ops)
    work = {"view": after, "plan": plan}
    for _, report in cluster.each(label[:40], Pass, work, todo, rows, cpus=cpus, gpus=gpus):
        for folder, spent in report["seconds"].items():
            seconds[folder] = seconds.get(folder, 0.0) + spent
    manifest = view.store.manifest()
    for planned in plan:
        known = manifest["tables"].get(planned.folder, {})
        complete = sorted({*known.get("complete", []), view.pool()})
        _note(view, planned.op, planned.folder, seconds=seconds.get(planned.folder, 0.0), complete=complete)
    return after


def _unfinished_shards(view: View, plan: Sequence[Planned], shards: list[int]) -> list[int]:
    store, tables = view.store, view.store.manifest()["tables"]
    open_ops = []
    absent: set[int] = set()
    for planned in plan:
        lacking = set(shards) - store.parts(planned.folder)
        absent |= lacking
        if view.pool() not in tables.get(planned.folder, {}).get("complete", []) or lacking:
            open_ops.append(planned)
    if not open_ops:
        return []
    if len(shards) > LOOK_HERE:
        return shards

    def has_work(shard: int) -> bool:
        return shard in absent or any(unfinished(view, planned, shard)[0].any() for planned in open_ops)

    with ThreadPoolExecutor(8) as pool:
        return [s for s, work in zip(shards, pool.map(has_work, shards), strict=True) if work]


def _whole(view: View, op: Op, cluster: Cluster) -> View:
    folder = view.folder_for(op, pool=view.pool())
    report = {}
    if not set(view.store.shard_rows()) <= view.store.parts(folder):
        if isinstance(op, Grouped):
            run_grouped(view, op, folder, cluster)
        elif isinstance(op, Counted):
            report = run_counted(view, op, folder, cluster)
        else:
            raise TypeError(f"{type(op).__name__} must be a Score, a Grouped or a Counted")
        _note(view, op, folder, pool=view.pool(), after=view.keep, **({"report": report} if report else {}))
    else:
        _note(view, op, folder)
    return view.with_table(folder, op.makes())


def _note(view: View, op: Op, folder: str, **more: object) -> None:
    columns = [*op.makes(), status_column(op.table())]
    view.store.note_table(folder, name=op.table(), **op.spec(), columns=columns, **more)
