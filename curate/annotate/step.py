"""Annotating: ops run over the rows that are in; a value that is already there is never computed again."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

from curate.annotate.linked import run_linked
from curate.annotate.one_shard import Pass, Planned, status_column, unfinished
from curate.annotate.packages import check_packages
from curate.annotate.tables import folder_for
from curate.annotate.whole import run_counted, run_grouped
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.messages.progress import console
from curate.messages.remarks import Remarks, say
from curate.op import Counted, Grouped, Linked, Op, Score
from curate.store.folder import identity
from curate.store.manifest import Table
from curate.store.view import View

#: Up to here the driver looks itself which shards have work, so that a finished step starts no worker.
LOOK_HERE = 2000


def annotate(view: View, ops: Sequence[Op], cluster: Cluster) -> View:
    """Run ops in their order; neighbours that look at single records share one pass over the shards.

    Raises:
        Findings: for ops whose packages are not installed; or CurateError, for workers without Ray.
    """
    check_packages(ops)
    if ops:
        cluster.check()
    for single, group in groupby(ops, key=lambda op: isinstance(op, Score)):
        if single:
            for together in _passes(op for op in group if isinstance(op, Score)):
                view = _scores(view, together, cluster)
        else:
            for op in group:
                view = _whole(view, op, cluster)
    return view


def _passes(ops: Iterable[Score]) -> Iterator[list[Score]]:
    """Ops that can share a pass; one that makes a column anew comes after those that use the one before it."""
    together: list[Score] = []
    names: set[str] = set()
    for op in ops:
        if names & set(op.makes()):
            yield together
            together, names = [], set()
        together.append(op)
        names |= {*op.reads(), *op.makes()}
    yield together


def _scores(view: View, ops: Sequence[Score], cluster: Cluster) -> View:
    plan, after = [], view
    specs: dict[str, Any] = {}
    for op in ops:
        folder = folder_for(after, op)
        _check_name(view, op)
        op.check_reads(_made_by(after, op, specs))
        specs[folder] = op.spec()
        plan.append(Planned(op, folder))
        after = after.with_table(folder, op.makes())
    rows = view.store.shard_rows()
    todo = _unfinished(after, plan, sorted(rows))
    for planned in plan:
        complete = _complete(view, planned.folder)
        if todo[planned.folder] and any(reads != _reads(after, planned.op) for reads in complete.values()):
            view.store.note_change(planned.folder)
    shards = sorted(set().union(*todo.values()))
    seconds: dict[str, float] = {}
    cpus, gpus = max(op.cpus for op in ops), max(op.gpus() for op in ops)
    label = ", ".join(op.table() for op in ops)
    work = Pass(after, plan, secrets.token_hex(8))
    for _, report in cluster.each(label[:40], work, shards, rows, cpus=cpus, gpus=gpus):
        for folder, spent in report["seconds"].items():
            seconds[folder] = seconds.get(folder, 0.0) + spent
    for planned in plan:
        complete = {**_complete(view, planned.folder), view.pool(): _reads(after, planned.op)}
        more = _facts(view, planned) if todo[planned.folder] else {}
        _note(view, planned.op, planned.folder, seconds=seconds.get(planned.folder, 0.0), complete=complete, **more)
    return after


def _check_name(view: View, op: Op) -> None:
    """
    Raises:
        CurateError: when its table has the name of another op's table, whose columns would be lost to view.
    """
    manifest = view.store.manifest()
    folder = manifest.current.get(op.table())
    if folder and manifest.op_of(folder) != op.spec()["op"]:
        raise CurateError(
            f"{op.spec()['op']}: table '{op.table()}' of {view.store.url} is that of "
            f"{manifest.op_of(folder) or 'a filter'}: give one of the two another `name`"
        )
    columns = manifest.columns()
    for column in op.makes():
        other = manifest.op_table(columns.get(column))
        if other and other.name != op.table():
            console.print(f"[yellow]{op.table()}: column '{column}' now comes from this table, not from '{other.name}'")


def _made_by(view: View, op: Op, coming: Mapping[str, Any]) -> dict[str, Any]:
    """For each column that an op reads the spec of what makes it; `coming`: by folder, those of this very pass."""
    manifest = view.store.manifest()
    folders = {name: view.columns[name] for name in op.reads() if name != "image"}
    return {name: coming.get(folder) or manifest.spec_of(folder) for name, folder in folders.items()}


def _complete(view: View, folder: str) -> dict[str, str]:
    """The pools that a table is final for, each with the identity of what its op read there."""
    entry = view.store.manifest().op_table(folder)
    return (entry.complete or {}) if entry else {}


def _facts(view: View, planned: Planned) -> dict[str, Any]:
    """What of a finished table goes into the manifest: the rows without a value by reason, the op's own summary."""
    remarks = view.store.remarks(planned.folder)
    say(planned.op.table(), remarks)
    facts: dict[str, Any] = {"remarks": remarks.to_json()}
    if type(planned.op).summary is not Score.summary:
        facts["report"] = planned.op.summary(view.store.scan(planned.folder))
    return facts


def _reads(view: View, op: Score) -> str:
    """Identity of what an op reads: it changes when the values may have."""
    manifest = view.store.manifest()
    folders = {name: view.images if name == "image" else view.columns[name] for name in op.reads()}
    marks: dict[str, list[Any]] = {}
    for name, folder in folders.items():
        entry = manifest.op_table(folder)
        marks[name] = [folder, entry.changes if entry else 0, len((entry.complete if entry else None) or ())]
    return identity(**marks)


def _unfinished(view: View, plan: Sequence[Planned], shards: list[int]) -> dict[str, list[int]]:
    """For each table, the shards that it has work in."""
    store, pool = view.store, view.pool()
    found: dict[str, list[int]] = {}
    for planned in plan:
        absent = set(shards) - store.parts(planned.folder)
        if _complete(view, planned.folder).get(pool) == _reads(view, planned.op):
            found[planned.folder] = sorted(absent)
        elif len(shards) > LOOK_HERE:
            found[planned.folder] = shards
        else:

            def has_work(shard: int, planned: Planned = planned, absent: set[int] = absent) -> bool:
                return shard in absent or bool(unfinished(view, planned, shard)[0].any())

            with ThreadPoolExecutor(8) as threads:
                found[planned.folder] = [s for s, w in zip(shards, threads.map(has_work, shards), strict=True) if w]
    return found


def _whole(view: View, op: Op, cluster: Cluster) -> View:
    folder = folder_for(view, op, whole=True)
    _check_name(view, op)
    op.check_reads(_made_by(view, op, {}))
    # One that is not in the manifest was stopped before its end, even when all its parts are there.
    if folder in view.store.manifest().tables and set(view.store.shard_rows()) <= view.store.parts(folder):
        _note(view, op, folder)
        return view.with_table(folder, op.makes())
    report: dict[str, Any] = {}
    if isinstance(op, Grouped):
        run_grouped(view, op, folder, cluster)
    elif isinstance(op, Linked):
        report = run_linked(view, op, folder, cluster)
    elif isinstance(op, Counted):
        report = run_counted(view, op, folder, cluster)
    else:
        raise TypeError(f"{type(op).__name__} must be a Score, a Grouped, a Linked or a Counted")
    remarks = report.pop("remarks", {})
    say(op.table(), Remarks.from_json(remarks))
    more = {"report": report} if report else {}
    _note(view, op, folder, pool=view.pool(), after=view.keep, remarks=remarks, **more)
    return view.with_table(folder, op.makes())


def _note(view: View, op: Op, folder: str, **more: Any) -> None:
    columns = [*op.makes(), status_column(op.table())]
    view.store.note_table(folder, Table(name=op.table(), **op.spec(), columns=columns, **more))
