"""Selecting: a filter applied to every shard, its verdicts kept as a table, its funnel in the manifest."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from curate.catalog import load, names
from curate.errors import CurateError, nearest
from curate.filter.rule import Filter, Threshold, decide
from curate.filter.sql import condition
from curate.filter.sql_values import ConditionError
from curate.filter.threshold import Where, find_threshold
from curate.messages.remarks import Remarks
from curate.op import op_name
from curate.store.folder import identity
from curate.store.image_columns import IMAGE_FIELDS
from curate.store.manifest import Counts, Keep, Manifest
from curate.store.view import View

#: Reading small parquet files waits for storage more than it computes.
THREADS = 8

_WORD = pa.dictionary(pa.int32(), pa.string())

#: Reasons in the line that says that nothing is left.
REASONS_SAID = 5

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
        return pl.Series(pl.from_arrow(pa.array([], kind))).dtype
    except (pa.ArrowException, pl.exceptions.PolarsError, TypeError, ValueError):
        return None


def types_of(view: View, columns: Iterable[str]) -> dict[str, pl.DataType]:
    """The types of columns, as the first shard has them."""
    wanted = list(columns)
    shards = sorted(view.store.shard_rows())
    return dict(view.frame(shards[0], wanted).schema) if shards and wanted else {}


def nothing_left(counts: Mapping[str, Any], name: str, root: str) -> str:
    """One line when a step kept none of the rows that came in: its reasons, and what to do; empty otherwise."""
    if counts["kept"] or not counts["entered"]:
        return ""
    reasons = list(counts["dropped"].items())
    said = ", ".join(f"{rows:,} {reason}" for reason, rows in reasons[:REASONS_SAID])
    more = f", {len(reasons) - REASONS_SAID} other reasons" if len(reasons) > REASONS_SAID else ""
    return (
        f"{name} dropped all {counts['entered']:,} rows ({said}{more}): nothing is left; look at them with "
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
        threshold = _threshold(view, rule, shards)
        dropped: Counter[str] = Counter()
        entered = 0
        for found in _threads(lambda shard: _one_shard(view, rule, threshold, shard, folder), shards):
            entered += found.pop("")
            dropped.update(found)
        # By count, then by name: the same manifest whichever shard ended first.
        reasons = dict(sorted(dropped.items(), key=lambda item: (-item[1], item[0])))
        entry = Keep(
            kind="keep",
            name=f"keep_{step}",
            step=step,
            filter=rule.spec(),
            columns=["kept", "dropped_by", "reason"],
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


def _threads(work: Callable[[int], T], shards: list[int]) -> Iterator[T]:
    """Results in the order of the shards, never more than a few ahead of the reader."""
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(shards), THREADS * 4):
            yield from pool.map(work, shards[start : start + THREADS * 4])


def _threshold(view: View, rule: Filter, shards: list[int]) -> Threshold | None:
    if rule.top is None:
        return None
    by = rule.top.by
    conditions = rule.model_copy(update={"top": None})

    def of_shard(shard: int, with_places: bool) -> tuple[np.ndarray, Where | None]:
        assert rule.top is not None
        passing = rule.top.among == "passing"
        names = {by, "uid"} | (set(conditions.needs()) if passing else set())
        frame = view.frame(shard, sorted(names)).with_row_index("row of the shard")
        kept = view.kept(shard)
        if kept is not None:
            frame = frame.filter(pl.Series(kept))
        if passing and rule.where:
            frame = frame.filter(decide(frame, conditions)["kept"])
        frame = frame.with_columns(_ranked(frame[by], rule.name).alias(by)).filter(pl.col(by).is_not_null())
        places = (frame["uid"], shard, frame["row of the shard"].to_numpy()) if with_places else None
        return frame[by].to_numpy(), places

    def scores(with_places: bool) -> Iterator[tuple[np.ndarray, Where | None]]:
        return _threads(lambda shard: of_shard(shard, with_places), shards)

    return find_threshold(scores, rule.top.wanted, rule.top.ties)


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


def _verdicts(view: View, rule: Filter, threshold: Threshold | None, shard: int) -> pl.DataFrame:
    names = list(rule.needs())
    # The uid is the longest column of all, and only equal scores at the threshold are told apart by it.
    if not names or (threshold is not None and threshold.uid is not None):
        names = list(dict.fromkeys((*names, "uid")))
    verdict = decide(view.frame(shard, names), rule, threshold, shard)
    verdict = verdict.with_columns(dropped_by=pl.when("kept").then(None).otherwise(pl.lit(rule.name)))
    if view.keep is None:
        return verdict
    before = pl.DataFrame(view.store.read_part(view.keep, shard, ["kept", "dropped_by", "reason"]))
    inside = before["kept"]
    return verdict.with_columns(
        kept=pl.col("kept") & inside,
        dropped_by=pl.when(inside).then("dropped_by").otherwise(before["dropped_by"].cast(pl.String)),
        reason=pl.when(inside).then("reason").otherwise(before["reason"].cast(pl.String)),
    )


def _one_shard(view: View, rule: Filter, threshold: Threshold | None, shard: int, folder: str) -> Counter[str]:
    """Write the verdicts of a shard; returns rows dropped here by reason, and under "" the rows that entered."""
    verdict = _verdicts(view, rule, threshold, shard)
    table = pa.table(
        {
            "kept": verdict["kept"].to_arrow(),
            "dropped_by": verdict["dropped_by"].to_arrow().cast(pa.string()).dictionary_encode().cast(_WORD),
            "reason": verdict["reason"].to_arrow().cast(pa.string()).dictionary_encode().cast(_WORD),
        }
    )
    view.store.write_part(folder, shard, table)
    before = view.kept(shard)
    inside = np.ones(len(verdict), bool) if before is None else before
    mine = verdict.filter(pl.Series(inside) & ~pl.col("kept"))
    counts: Counter[str] = Counter(dict(mine["reason"].value_counts().iter_rows()))
    counts[""] = int(inside.sum())
    return counts


def funnel(manifest: Manifest, folder: str | None) -> list[dict[str, Any]]:
    """The steps that led to a keep table, first step first: {step, entered, kept, dropped: {reason: rows}}."""
    return [{"step": entry.step, **entry.counts.model_dump()} for entry in manifest.chain(folder)]
