"""The tail of a list along the funnel: entries or concepts of which few rows stay, and where they fell short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.markup import escape
from rich.table import Table

from curate.cluster.many_shards import each_run, shard_runs
from curate.errors import CurateError, unknown
from curate.look.dataset import Dataset
from curate.look.funnel_by import step_names
from curate.messages.counted import counted
from curate.messages.terminal import out
from curate.metaclip.entry_lists import lists_of
from curate.score.concepts import concept_list
from curate.store.view import View

#: Rows under which an entry falls short, and the column that says at which step it did.
LIMITS = {1: "none_at", 10: "under_10_at", 100: "under_100_at"}
#: What stands there for an entry that has so few rows from the beginning.
INPUT = "in"
#: The least frequent entries that are called the tail: a fifth.
TAIL = 5
#: Entries that are printed.
LINES = 20


def tail(root: str, by: str = "entries", names: str = "", verified: str = "", step: str = "") -> pl.DataFrame:
    """A line for each entry, the rarest first.

    by: a column of lists of numbers: `entries` of score.entries, `concepts` of score.concepts.
    names: the file of the concepts: then concepts that no row names are there, too. Of entries the list is known.
    verified: a truth column, whether the row's caption does mean what it names; null: not asked.
    step: up to which filter step; by default all of the last run.

    Columns: `number`, `name` (null where not known); `rows` that came in; with `verified` `frequency`, rows times the
    share of yes among the answers; `is_tail`, whether it is among the rarest fifth, equals by name; for each step
    `dropped_by_<step>`; `kept`; `none_at`, `under_10_at` and `under_100_at`, the step at which fewer than 1, 10 and 100
    rows were left, `in` where there were no more from the beginning, null where there are enough.

    Raises:
        CurateError: for a column that is not there or holds no numbers, a list that is not the column's; when nothing
            was filtered yet.
    """
    dataset = Dataset(root)
    for column in filter(None, (by, verified)):
        if column not in dataset.view.columns:
            raise unknown("column", column, dataset.view.columns, root)
    steps = step_names(dataset, step)
    view = replace(dataset.view, keep=dataset.keep_folder(step))
    sizes = dataset.manifest.shard_rows()
    job = _Counts(view, by, verified, tuple(steps), shard_runs(sizes))
    counts = _summed(list(each_run("tail", job.count, job.runs, sizes, None)))
    return _lines(counts, _named(dataset, by, names, counts), steps, bool(verified))


def shortfalls(lines: pl.DataFrame, steps: Sequence[str]) -> pl.DataFrame:
    """How many entries have no row, fewer than 10, fewer than 100: when rows come in, and after each step."""
    order = {name: number for number, name in enumerate([INPUT, *steps])}
    rows = []
    for name, number in order.items():
        counts = {}
        for limit, column in LIMITS.items():
            at = lines[column].replace_strict(order, default=len(order), return_dtype=pl.Int64)
            counts["none" if limit == 1 else f"under {limit}"] = int((at <= number).sum())
        rows.append({"after": name, **counts})
    return pl.DataFrame(rows)


def print_tail(lines: pl.DataFrame, by: str) -> None:
    """Shortfalls along the funnel, and the entries that lost most of what they had."""
    steps = [name.removeprefix("dropped_by_") for name in lines.columns if name.startswith("dropped_by_")]
    table = Table(box=None, pad_edge=False, header_style="bold", title=f"{by} with few rows", title_justify="left")
    short = shortfalls(lines, steps)
    for place, heading in enumerate(short.columns):
        table.add_column(heading, justify="right" if place else "left")
    for row in short.iter_rows():
        table.add_row(escape(str(row[0])), *(f"{count:,}" for count in row[1:]))
    out.print(table)
    fell = lines.filter(pl.col("under_100_at").is_not_null() & (pl.col("under_100_at") != INPUT))
    lost = fell.sort(["kept", "rows", "number"], descending=[False, True, False]).head(LINES)
    if len(lost):
        table = Table(box=None, pad_edge=False, header_style="bold", title="had 100 rows or more", title_justify="left")
        for place, heading in enumerate(("name", "rows", "kept", "under 100 at")):
            table.add_column(heading, justify="right" if place in (1, 2) else "left", overflow="fold")
        for number, name, rows, kept, at in lost.select("number", "name", "rows", "kept", "under_100_at").iter_rows():
            table.add_row(escape(str(number) if name is None else name), f"{rows:,}", f"{kept:,}", escape(at))
        out.print(table)
    more = f", the first {LINES} are shown" if len(fell) > LINES else ""
    out.print(f"{counted(len(lines), 'line')}, {len(fell):,} fell below 100 rows at a step{more}")


@dataclass(frozen=True)
class _Counts:
    """The job: rows of a run of shards by entry and step, and what was answered of each entry."""

    view: View
    by: str
    verified: str
    steps: tuple[str, ...]
    runs: Sequence[range]

    def count(self, run: int) -> pl.DataFrame:
        return _summed([self._of_shard(shard) for shard in self.runs[run]])

    def _of_shard(self, shard: int) -> pl.DataFrame:
        frame = self.view.frame(shard, [name for name in (self.by, self.verified) if name])
        kind = frame[self.by].dtype
        if not isinstance(kind, pl.List) or not (kind.inner.is_integer() or kind.inner == pl.Null):
            raise CurateError(f"'{self.by}' holds {kind}, expected lists of numbers, as score.concepts makes them")
        verdicts = self.view.verdicts(shard)
        assert verdicts is not None
        places = {name: place for place, name in enumerate(self.steps)}
        steps = [len(self.steps), *(places[text.partition(": ")[0]] for text in verdicts.texts[1:])]
        step = np.array(steps, np.uint16)[verdicts.codes]
        answer = frame[self.verified] if self.verified else pl.Series([None] * len(frame), dtype=pl.Boolean)
        if answer.dtype not in (pl.Boolean, pl.Null):
            raise CurateError(f"'{self.verified}' holds {answer.dtype}, expected true, false or null")
        rows = pl.DataFrame({"number": frame[self.by], "step": step, "answer": answer.cast(pl.Boolean)})
        named = rows.explode("number").drop_nulls("number").with_columns(pl.col("number").cast(pl.Int64))
        yes = pl.col("answer").fill_null(False).cast(pl.Int64)
        answered = pl.col("answer").is_not_null().cast(pl.Int64)
        return _summed([named.select("number", "step", rows=pl.lit(1, pl.Int64), yes=yes, answered=answered)])


def _summed(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames).group_by("number", "step").agg(pl.col("rows", "yes", "answered").sum())


def _named(dataset: Dataset, by: str, file: str, counts: pl.DataFrame) -> Mapping[int, str] | None:
    """Entries by number: all of a list where there is one."""
    made_by: dict[str, Any] = dataset.manifest.spec_of(dataset.view.columns[by])
    seen = counts["number"].unique().to_list()
    names: Mapping[int, str] | None = None
    if file:
        if not Path(file).is_file():
            raise CurateError(f"tail: no file '{file}'")
        names = dict(enumerate(name for name, _ in concept_list(file)))
    elif lists := lists_of(made_by):
        names = lists.strings(range(lists.size()))
    if names is not None and (odd := [number for number in seen if number not in names]):
        raise CurateError(
            f"tail: '{by}' has number {max(odd)}, and the list has {len(names):,}: it is not the column's"
        )
    return names


def _lines(counts: pl.DataFrame, names: Mapping[int, str] | None, steps: Sequence[str], verified: bool) -> pl.DataFrame:
    numbers = np.array(sorted(names if names is not None else counts["number"].unique().to_list()), np.int64)
    place = np.searchsorted(numbers, counts["number"].to_numpy())
    rows = np.zeros((len(numbers), len(steps) + 1), np.int64)
    np.add.at(rows, (place, counts["step"].to_numpy()), counts["rows"].to_numpy())
    total = rows.sum(axis=1)
    after = total[:, None] - np.concatenate([np.zeros((len(numbers), 1), np.int64), rows[:, :-1].cumsum(axis=1)], 1)
    columns: dict[str, Any] = {
        "number": numbers,
        "name": pl.Series([None if names is None else names[n] for n in numbers.tolist()], dtype=pl.String),
        "rows": total,
    }
    measure = total.astype(np.float64)
    if verified:
        sums = np.zeros((len(numbers), 2), np.int64)
        np.add.at(sums, place, counts.select("yes", "answered").to_numpy())
        measure = np.divide(total * sums[:, 0], sums[:, 1], out=np.full(len(numbers), np.nan), where=sums[:, 1] > 0)
        columns["frequency"] = pl.Series(measure).fill_nan(None)
    columns |= {f"dropped_by_{name}": rows[:, number] for number, name in enumerate(steps)}
    columns["kept"] = rows[:, -1]
    at = np.array([INPUT, *steps, None], object)
    for limit, column in LIMITS.items():
        short = after < limit
        first = np.where(short.any(axis=1), short.argmax(axis=1), len(steps) + 1)
        columns[column] = pl.Series(at[first].tolist(), dtype=pl.String)
    frame = pl.DataFrame(columns).with_columns(measure=pl.Series(measure).fill_nan(None))
    frame = frame.sort("measure", "name", "number", nulls_last=True).drop("measure")
    is_tail = pl.int_range(pl.len()) < len(frame) // TAIL
    return frame.insert_column(frame.columns.index("rows") + 1 + verified, frame.select(is_tail=is_tail).to_series())
