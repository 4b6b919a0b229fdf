"""Selecting: a filter applied to every shard, its verdicts kept as a table, its funnel in the manifest."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.catalog import load, names
from curate.errors import CurateError, nearest
from curate.filter.batches import TASK_ROWS, batches, in_threads, tasks
from curate.filter.decide import decision
from curate.filter.rule import Filter
from curate.filter.sql import condition
from curate.filter.sql_values import ConditionError
from curate.filter.threshold import Threshold, Where, find_threshold
from curate.messages.remarks import Remarks
from curate.op import op_name
from curate.store.folder import identity
from curate.store.image_columns import IMAGE_FIELDS
from curate.store.manifest import Counts, Keep, Manifest
from curate.store.verdict import KEPT, VERDICT, Verdicts, verdict_of
from curate.store.view import View

#: Reasons in the line that says that nothing is left.
REASONS_SAID = 5


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
            compares a text with a number, or is none.
    """
    for name in rule.needs():
        if name not in columns:
            hint = _hint(rule, name, columns)
            raise CurateError(f"filter {rule.name} needs column '{name}', which is not there{hint}")
    if not isinstance(columns, Mapping):
        return
    types = {name: _polars_type(columns[name]) for name in rule.needs()}
    try:
        for sql in rule.where.values():
            condition(sql).expression(types)
    except ConditionError as error:
        raise CurateError(f"filter {rule.name}: {error}") from error
    ranked = types.get(rule.top.by) if rule.top else None
    if rule.top and ranked is not None and ranked != pl.Null and not ranked.is_numeric():
        raise CurateError(f"filter {rule.name}: top ranks numbers, and '{rule.top.by}' holds {ranked}")


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


def select(view: View, rule: Filter, step: str = "") -> tuple[View, dict[str, Any]]:
    """Apply a filter to the rows that are in; returns the view of those that stay, and the filter's counts.

    Verdicts are cumulative: a row that an earlier step dropped keeps that step's name and reason.
    """
    step = step or rule.name
    check_columns(rule, view.columns)
    check_columns(rule, types_of(view, rule.needs()) or view.columns)
    rule = rule.model_copy(update={"name": step})
    store, folder = view.store, folder_of(rule, view)
    shards = sorted(store.shard_rows())
    entry = store.manifest().tables.get(folder)
    after = replace(view, keep=folder)
    if not isinstance(entry, Keep) or not set(shards) <= store.parts(folder):
        if isinstance(entry, Keep) and entry.columns != [VERDICT]:
            # Written in the earlier form, and some of it is missing: no folder holds parts of both.
            store.remove(folder)
        threshold = _threshold(view, rule)
        dropped: Counter[str] = Counter()
        entered = 0
        judge = partial(_judge, view, rule, threshold, folder)
        for rows, reasons_of_some in in_threads(judge, tasks(store.shard_rows())):
            entered += rows
            dropped.update(reasons_of_some)
        # By count, then by name: the same manifest whichever shard ended first.
        reasons = dict(sorted(dropped.items(), key=lambda item: (-item[1], item[0])))
        entry = Keep(
            kind="keep",
            name=f"keep_{step}",
            step=step,
            filter=rule.spec(),
            columns=[VERDICT],
            after=view.keep,
            counts=Counts(entered=entered, kept=entered - dropped.total(), dropped=reasons),
            threshold=asdict(threshold) if threshold else None,
        )
    store.note_table(folder, entry)
    return after, entry.counts.model_dump()


def read_remarks(view: View, rule: Filter) -> Iterator[tuple[str, Remarks]]:
    """(table, what its step had to say) of the tables that a filter reads."""
    manifest = view.store.manifest()
    for folder in dict.fromkeys(view.columns[name] for name in rule.needs()):
        entry = manifest.op_table(folder)
        if entry and (remarks := Remarks.from_json(entry.remarks)):
            yield entry.name, remarks


def _threshold(view: View, rule: Filter) -> Threshold | None:
    if rule.top is None:
        return None

    def scores(with_places: bool) -> Iterator[tuple[np.ndarray, Where | None]]:
        # Places are those in a shard, and uids many bytes.
        all_tasks = tasks(view.store.shard_rows(), most=1 if with_places else TASK_ROWS)
        for several in in_threads(partial(_scores, view, rule, with_places), all_tasks):
            yield from several

    return find_threshold(scores, rule.top.count, rule.top.ties)


def _scores(view: View, rule: Filter, with_places: bool, shards: list[int]) -> list[tuple[np.ndarray, Where | None]]:
    """The scores of the rows that are ranked; with_places: with their uids and places, of one shard."""
    assert rule.top is not None
    by, conditions = rule.top.by, rule.model_copy(update={"top": None})
    passing = rule.top.among == "passing" and bool(rule.where)
    names = {by} | (set(conditions.needs()) if passing else set()) | ({"uid"} if with_places else set())
    several: list[tuple[np.ndarray, Where | None]] = []
    for batch in batches(view, sorted(names), shards):
        ranked = _ranked(batch.rows[by], rule.name)
        inside = ranked.is_not_null().to_numpy()
        if view.keep is not None:
            inside &= np.concatenate([view.kept(shard) for shard in batch.shards])
        if passing:
            inside &= decision(batch.rows, conditions).codes == 0
        rows = np.flatnonzero(inside)
        places = (batch.rows["uid"].gather(rows), batch.shards[0], rows) if with_places else None
        several.append((ranked.gather(rows).to_numpy(), places))
    return several


def _ranked(scores: pl.Series, name: str) -> pl.Series:
    """Scores in a type that can be ranked, none of them lost: null where there is none, or an infinite one.

    Raises:
        CurateError: for what is no number.
    """
    dtype = scores.dtype
    if dtype == pl.Null:
        none: pl.Series = scores.cast(pl.Float32)
        return none
    if not dtype.is_numeric() or dtype in (pl.Int128, pl.UInt128):
        raise CurateError(f"filter {name}: top ranks numbers of up to 64 bits, and '{scores.name}' holds {dtype}")
    if dtype.is_integer():
        whole: pl.Series = scores if dtype == pl.UInt64 else scores.cast(pl.Int64)
        return whole
    scores = scores.cast(pl.Float64) if dtype.is_decimal() or dtype == pl.Float64 else scores.cast(pl.Float32)
    finite: pl.Series = scores.set(~scores.is_finite(), None)
    return finite


def _columns(rule: Filter, threshold: Threshold | None) -> list[str]:
    """Columns that the verdicts are made of."""
    names = list(rule.needs())
    # The uid is the longest column of all, and only equal scores at the threshold are told apart by it.
    if not names or (threshold is not None and threshold.uid is not None):
        names = list(dict.fromkeys((*names, "uid")))
    return names


def _judge(
    view: View, rule: Filter, threshold: Threshold | None, folder: str, shards: list[int]
) -> tuple[int, Counter[str]]:
    """Write the verdicts of shards; returns the number of rows that entered, and rows dropped here by reason."""
    entered, dropped = 0, Counter[str]()
    # A threshold that ends at a row of a shard has to know which shard it looks at.
    alone = threshold is not None and threshold.place is not None
    for some in [[shard] for shard in shards] if alone else [shards]:
        for batch in batches(view, _columns(rule, threshold), some):
            outcome = decision(batch.rows, rule, threshold, batch.shards[0])
            texts = [KEPT, *(verdict_of(rule.name, reason) for reason in outcome.reasons[1:])]
            for shard, rows, owner in batch.slices():
                verdicts, before = Verdicts(outcome.codes[rows], texts), view.verdicts(shard, owner)
                codes = verdicts.codes if before is None else verdicts.codes[before.kept]
                entered += len(codes)
                counts = np.bincount(codes, minlength=1)
                counts[0] = 0
                for code in np.flatnonzero(counts).tolist():
                    dropped[outcome.reasons[code]] += int(counts[code])
                after = verdicts if before is None else before.then(verdicts)
                view.store.write_part(folder, shard, after.to_arrow(), owner=owner)
    return entered, dropped


def funnel(manifest: Manifest, folder: str | None) -> list[dict[str, Any]]:
    """The steps that led to a keep table, first step first: {step, entered, kept, dropped: {reason: rows}}."""
    return [{"step": entry.step, **entry.counts.model_dump()} for entry in manifest.chain(folder)]
