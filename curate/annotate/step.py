"""Annotating: ops run over the rows that are in; a value that is already there is never computed again."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.markup import escape

from curate.alike.against_old import OldStore, itself_among_old, old_stores
from curate.alike.kept_keys import KeptKeys, Keys
from curate.annotate.groups import run_grouped
from curate.annotate.kept_keys import kept_keys
from curate.annotate.links import run_linked
from curate.annotate.one_shard import OneShard
from curate.annotate.packages import check_packages
from curate.annotate.partitions import USUAL, Cut
from curate.annotate.speed import Speed
from curate.annotate.statistic import export, run_statistic
from curate.annotate.tables import check_name, folder_for, made_by, note
from curate.annotate.unfinished import Planned, pools_done, reads_id, shards_to_do
from curate.cluster.cluster import Cluster
from curate.errors import CurateError, Findings
from curate.messages.counted import counted
from curate.messages.progress import console
from curate.messages.remarks import Remarks, say
from curate.op import Fitted, Grouped, Linked, Op, Score
from curate.store.view import View


def annotate(view: View, ops: Sequence[Op], cluster: Cluster, cut: Cut = USUAL) -> View:
    """Run ops in their order; neighbours that look at single records share one pass over the shards.

    cut: how small the pieces of whole-dataset work are; what it makes does not depend on it.

    Raises:
        Findings: for ops whose packages are not installed, or that judge rows against the store itself; or CurateError,
            for workers without Ray.
    """
    check_packages(ops)
    if faults := [fault for op in ops for fault in itself_among_old(op, view.store.url)]:
        raise Findings(faults)
    if ops:
        cluster.check()
    for single, group in groupby(ops, key=lambda op: isinstance(op, Score)):
        if single:
            for together in _passes(op for op in group if isinstance(op, Score)):
                view = _scores(view, together, cluster)
        else:
            for op in group:
                view = _whole(view, op, cluster, cut)
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


# ---- ops on single rows ----


def _scores(view: View, ops: Sequence[Score], cluster: Cluster) -> View:
    plan, after = _planned(view, ops)
    rows = view.store.shard_rows()
    todo = {planned.folder: shards_to_do(after, planned, sorted(rows)) for planned in plan}
    for planned in plan:
        before = pools_done(view, planned.folder).values()
        if todo[planned.folder]:
            _say_old(planned.op, old_stores(planned.op))
        if todo[planned.folder] and any(reads != reads_id(after, planned.op) for reads in before):
            view.store.note_change(planned.folder)
    shards = sorted(set().union(*todo.values()))
    label = ", ".join(op.table() for op in ops)[:40]
    use: dict[str, Any] = {"cpus": max(op.cpus for op in ops), "gpus": max(op.gpus() for op in ops)}
    speed = Speed([planned.op.table() for planned in plan if todo[planned.folder]])
    try:
        for _, report in cluster.each(label, OneShard(after, plan, secrets.token_hex(8)), shards, rows, **use):
            speed.add(report)
    except BaseException:
        # The shards that are finished stay, so what they cost stays, too. Why the step stops is said, whatever becomes
        # of this.
        with contextlib.suppress(CurateError, OSError):
            if speed.costs:
                view.store.note_unfinished(speed.costs)
        raise
    for planned in plan:
        complete = {**pools_done(view, planned.folder), view.pool(): reads_id(after, planned.op)}
        more = _facts(view, planned) if todo[planned.folder] else {}
        if cost := speed.costs.get(planned.folder):
            more |= {"seconds": round(speed.seconds[planned.folder], 3), "cost": cost.rounded()}
        note(view, planned.op, planned.folder, complete=complete, **more)
    speed.say()
    return after


def _planned(view: View, ops: Sequence[Score]) -> tuple[list[Planned], View]:
    """The table of each op, and the view that has all of them: an op may read what the one before it makes."""
    plan: list[Planned] = []
    specs: dict[str, Any] = {}
    for op in ops:
        folder = folder_for(view, op)
        check_name(view, op)
        op.check_reads(made_by(view, op, specs))
        specs[folder] = op.spec()
        plan.append(Planned(op, folder))
        view = view.with_table(folder, op.makes())
    return plan, view


def _facts(view: View, planned: Planned) -> dict[str, Any]:
    """What of a finished table goes into the manifest: the rows without a value by reason, the op's own summary."""
    remarks = view.store.remarks(planned.folder)
    say(planned.op.table(), remarks)
    facts: dict[str, Any] = {"remarks": remarks.to_json()}
    if type(planned.op).summary is not Score.summary:
        facts["report"] = planned.op.summary(view.store.scan(planned.folder))
    return facts


def _say_old(op: Op, old: Sequence[OldStore]) -> None:
    for store in old:
        rows = f"{counted(store.rows_in, 'row')}, those that are in at its end"
        keys = ""
        if isinstance(op, KeptKeys):
            keeps = kept_keys(store.view, op, store.manifest)
            keys = "; their keys are read from there" if keeps else "; it keeps no keys of them: made anew (keep_keys)"
        console.print(f"[dim]{op.table()}: against {escape(store.name)}: {rows}{keys}")


# ---- ops on all rows ----


def _whole(view: View, op: Op, cluster: Cluster, cut: Cut) -> View:
    old = old_stores(op)
    folder = folder_for(view, op, whole=True, old=old)
    check_name(view, op)
    op.check_reads(made_by(view, op))
    if isinstance(op, KeptKeys) and op.keep_keys:
        _scores(view, [Keys(of=op)], cluster)
    # One that is not in the manifest was stopped before its end, even when all its parts are there.
    if folder in view.store.manifest().tables and set(view.store.shard_rows()) <= view.store.parts(folder):
        note(view, op, folder)
        export(view, op, folder)
        return view.with_table(folder, op.makes())
    _say_old(op, old)
    report: dict[str, Any] = {}
    began = time.monotonic()
    if isinstance(op, Grouped):
        report = run_grouped(view, op, folder, cluster, cut, old)
    elif isinstance(op, Linked):
        report = run_linked(view, op, folder, cluster, cut, old)
    elif isinstance(op, Fitted):
        report = run_statistic(view, op, folder, cluster, cut)
    else:
        raise TypeError(f"{type(op).__name__} must be a Score, a Grouped, a Linked or a Fitted")
    remarks = report.pop("remarks", {})
    say(op.table(), Remarks.from_json(remarks))
    if old:
        report["old_rows"] = sum(store.rows_in for store in old)
        report["against"] = [{"store": store.name, "rows": store.rows_in} for store in old]
    more: dict[str, Any] = {"report": report} if report else {}
    more["seconds"] = round(time.monotonic() - began, 3)
    note(view, op, folder, pool=view.pool(), after=view.keep, remarks=remarks, **more)
    return view.with_table(folder, op.makes())
