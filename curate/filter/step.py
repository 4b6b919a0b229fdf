"""Selecting: a filter applied to every shard, its verdicts kept as a table, its funnel in the manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa

from curate.catalog import load, names
from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import each_run, shard_runs
from curate.errors import CurateError, nearest
from curate.filter.job import FilterJob, Judged
from curate.filter.matched import Matched
from curate.filter.passes import Pass, Passes, RowsOf
from curate.filter.rule import Filter
from curate.filter.sql import condition
from curate.filter.sql_values import ConditionError
from curate.filter.threshold import Threshold, find_threshold
from curate.filter.top import Top
from curate.filter.within import Thresholds, find_thresholds
from curate.library.op_names import op_name
from curate.messages.remarks import Remarks, say
from curate.store.folder import identity
from curate.store.image_columns import IMAGE_FIELDS
from curate.store.manifest import Counts, Keep, Manifest
from curate.store.subset_file import subset_at
from curate.store.verdict import COPIES, VERDICT
from curate.store.view import View

#: Reasons in the line that says that nothing is left.
REASONS_SAID = 5

#: Types of groups beside whole numbers.
_GROUPS = (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null)

T = TypeVar("T")


def folder_of(rule: Filter, view: View) -> str:
    """The keep table's folder: the rule, the tables it reads and the rows that enter it decide its content."""
    columns = view.states(rule.needs())
    made_of = identity(rule=rule.spec(), step=rule.name, columns=columns, pool=view.pool())
    return f"keep_{rule.name}-{made_of}"


def check_columns(rule: Filter, columns: Iterable[str] | Mapping[str, Any]) -> None:
    """
    columns: their names, or their names with their polars or Arrow types (None where a type is not known).

    Raises:
        CurateError: when a column that the filter needs is not there, with the command that makes it; when a condition
            compares a text with a number, or is none; for a subset file that cannot be read.
    """
    for name in rule.needs():
        if name not in columns:
            hint = _hint(rule, name, columns)
            raise CurateError(f"filter {rule.name} needs column '{name}', which is not there{hint}")
    if rule.subset:
        subset_at(rule.subset)
    if not isinstance(columns, Mapping):
        return
    types = {name: _polars_type(columns[name]) for name in rule.needs()}
    try:
        for sql in rule.where.values():
            condition(sql).expression(types)
    except ConditionError as error:
        raise CurateError(f"filter {rule.name}: {error}") from error
    copies = types.get(rule.copies) if rule.copies else None
    if copies is not None and copies != pl.Null and not copies.is_integer():
        raise CurateError(f"filter {rule.name}: copies are whole numbers, and '{rule.copies}' holds {copies}")
    ranked = types.get(rule.top.by) if rule.top else None
    if rule.top and ranked is not None and ranked != pl.Null and not ranked.is_numeric():
        raise CurateError(f"filter {rule.name}: top ranks numbers, and '{rule.top.by}' holds {ranked}")
    groups = types.get(rule.top.within or "") if rule.top else None
    if rule.top and groups is not None and not (groups.is_integer() or groups in _GROUPS):
        held = f"'{rule.top.within}' holds {groups}"
        raise CurateError(f"filter {rule.name}: top within groups takes texts or whole numbers, and {held}")


def _hint(rule: Filter, name: str, columns: Iterable[str]) -> str:
    """What makes a column, and how; or what was meant by its name."""
    if name in IMAGE_FIELDS:
        return ": download makes it"
    maker = next((op_name(type(op)) for op in rule.ops if name in op.makes()), None)
    if maker:
        return f": {maker} makes it; run `curate score STORE --filter {rule.name}` or add {maker} to {_step_of(maker)}"
    if any(name in condition(sql).quoted for sql in rule.where.values()):
        return f": \"{name}\" in double quotes is a column, a text stands in single quotes: '{name}'"
    maker = maker_of(name)
    if maker:
        return f": {maker} makes it; run `curate score STORE {maker}` or add {maker} to {_step_of(maker)}"
    return nearest(name, columns)


def _step_of(op: str) -> str:
    return "a `score:` step" if op.startswith("score.") else "an `annotate:` step"


def maker_of(column: str) -> str | None:
    """The op that makes a column with its options as they are by default."""
    for name in names():
        # An op that needs an option, or a package that is not installed, makes nothing by default.
        with contextlib.suppress(CurateError, ImportError):
            if column in load(name).makes():
                return name
    return None


def _polars_type(kind: Any) -> pl.DataType | None:
    if kind is None or isinstance(kind, pl.DataType):
        return kind
    try:
        # Not pa.array([], kind): for a list, pyarrow imports pandas where it is installed.
        empty = pa.RecordBatchReader.from_batches(pa.schema([("", kind)]), []).read_all()
        return pl.DataFrame(pl.from_arrow(empty)).dtypes[0]
    except (pa.ArrowException, pl.exceptions.PolarsError, TypeError, ValueError):
        return None


def types_of(view: View, columns: Iterable[str]) -> dict[str, pl.DataType]:
    """The types of columns, as the first shard has them."""
    names = list(columns)
    shards = sorted(view.store.shard_rows())
    return dict(view.frame(shards[0], names).schema) if shards and names else {}


def nothing_left(counts: Mapping[str, Any], name: str, root: str) -> str:
    """One line when a step kept none of the rows that came in: its reasons, and what to do; empty otherwise."""
    if counts["kept"] or not counts["entered"]:
        return ""
    reasons = list(counts["dropped"].items())
    first_reasons = ", ".join(f"{rows:,} {reason}" for reason, rows in reasons[:REASONS_SAID])
    more = f", {len(reasons) - REASONS_SAID} other reasons" if len(reasons) > REASONS_SAID else ""
    return (
        f"{name} dropped all {counts['entered']:,} rows ({first_reasons}{more}): nothing is left; look at them with "
        f"`curate show {root}`, change the conditions or the input, and run again"
    )


def select(view: View, rule: Filter, step: str = "", cluster: Cluster | None = None) -> tuple[View, dict[str, Any]]:
    """Apply a filter to the rows that are in; returns the view of those that stay, and the filter's counts.

    Verdicts are cumulative: a row that an earlier step dropped keeps that step's name and reason.

    cluster: does it when shards are many, see curate.cluster.many_shards; None is always this process.
    """
    step = step or rule.name
    check_columns(rule, view.columns)
    check_columns(rule, types_of(view, rule.needs()) or view.columns)
    # What makes its columns is not needed any more, and may be unknown to workers.
    decides = {name: getattr(rule, name) for name in ("where", "subset", "copies", "top", "reason")}
    rule = Filter(name=step, **decides)
    store, folder = view.store, folder_of(rule, view)
    rows = store.shard_rows()
    entry = store.manifest().tables.get(folder)
    if not isinstance(entry, Keep) or not rows.keys() <= store.parts(folder):
        if isinstance(entry, Keep) and VERDICT not in entry.columns:
            # Written in the earlier form, and some of it is missing: no folder holds parts of both.
            store.remove(folder)
        job = FilterJob(view, rule, folder, shard_runs(rows), with_copies=_says_copies(rule))
        passes = _Passes(job, rows, cluster)
        threshold = _threshold(rule.top, passes) if rule.top else None
        counts, remarks = _judged(replace(job, threshold=threshold), rows, cluster)
        entry = Keep(
            kind="keep",
            name=f"keep_{step}",
            step=step,
            filter=rule.spec(),
            columns=[VERDICT] if counts.copies is None else [VERDICT, COPIES],
            after=view.keep,
            counts=counts,
            threshold=threshold.as_json() if threshold else None,
            remarks=remarks.to_json(),
        )
    say(step, Remarks.from_json(entry.remarks))
    store.note_table(folder, entry)
    return replace(view, keep=folder), entry.counts.by_name()


def _threshold(top: Top, summed: Passes) -> Threshold | Thresholds:
    if top.within:
        return find_thresholds(summed, top.within, top.count, top.ties)
    return find_threshold(summed, top.count, top.ties)


def _says_copies(rule: Filter) -> bool:
    """Whether rows may be taken another time than once by this filter."""
    return bool(rule.copies) or (bool(rule.subset) and subset_at(rule.subset).repeats)


def _judged(job: FilterJob, rows: Mapping[int, int], cluster: Cluster | None) -> tuple[Counts, Remarks]:
    """Write the verdicts of all rows; returns what is counted of them, and what is to be said of a subset file."""
    total, uids = Judged(), Matched.of(job.rule.subset)
    for judged in each_run(job.rule.name, job.judge, job.runs, rows, cluster):
        total.entered += judged.entered
        total.dropped.update(judged.dropped)
        if judged.copies is not None:
            total.copies = (total.copies or 0) + judged.copies
        uids.add(judged)
    # By count, then by name: the same manifest whichever run of shards ended first.
    reasons = dict(sorted(total.dropped.items(), key=lambda item: (-item[1], item[0])))
    kept = total.entered - total.dropped.total()
    return Counts(entered=total.entered, kept=kept, dropped=reasons, copies=total.copies), uids.remarks()


def read_remarks(view: View, rule: Filter) -> Iterator[tuple[str, Remarks]]:
    """(table, what its step had to say) of the tables that a filter reads."""
    manifest = view.store.manifest()
    for folder in dict.fromkeys(view.columns[name] for name in rule.needs()):
        entry = manifest.op_table(folder)
        if entry and (remarks := Remarks.from_json(entry.remarks)):
            yield entry.name, remarks


@dataclass(frozen=True)
class _Passes:
    """Passes over all rows that are ranked."""

    job: FilterJob
    rows: Mapping[int, int]
    cluster: Cluster | None

    def __call__(self, one: Pass[T], zero: T) -> T:
        runs = [range(one.shard, one.shard + 1)] if isinstance(one, RowsOf) else self.job.runs
        rows = {shard: self.rows[shard] for shard in runs[0]} if isinstance(one, RowsOf) else self.rows
        task, total = replace(self.job, one=one, runs=runs).add_up, zero
        for more in each_run(f"{self.job.rule.name}: threshold", task, runs, rows, self.cluster):
            if more is not None:
                total += more
        return total


def funnel(manifest: Manifest, folder: str | None) -> list[dict[str, Any]]:
    """The steps that led to a keep table, first step first: {step, entered, kept, dropped: {reason: rows}}, and copies
    where rows have some. Rows that were out from the beginning (removed, opted out) left in steps of those names."""
    steps = [{"step": entry.step, **entry.counts.by_name()} for entry in manifest.chain(folder)]
    for word, rows in sorted(manifest.out.items(), reverse=True) if steps else ():
        first = steps[0]["entered"]
        steps.insert(0, {"step": word, "entered": first + rows, "kept": first, "dropped": {word: rows}})
    return steps
