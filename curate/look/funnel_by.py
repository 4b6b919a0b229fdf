"""The funnel by the values of a column: how many rows of each source came in, left at each step, and stayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from rich.markup import escape
from rich.table import Table

from curate.cluster.many_shards import each_run, shard_runs
from curate.errors import CurateError, unknown
from curate.look.dataset import Dataset
from curate.messages.counted import counted
from curate.messages.terminal import out
from curate.store.view import View

#: Lines that are printed, and on the page of a report; values with most rows first.
LINES = 40
#: Values that a column has at most: one with more tells no sources apart.
MOST_VALUES = 100_000
#: What rows without a value are called.
NULL = "null"


def funnel_by(root: str, column: str, step: str = "") -> pl.DataFrame:
    """A line for each value of a column and step that dropped rows of it, values with most rows first.

    Columns: `value` (rows without one: `null`), `rows` that came in, `step`, `dropped` there, `kept` at the end. A
    value that lost no row has one line, its step null.

    Raises:
        CurateError: for a column that is not there, holds lists, or has over 100,000 values; when nothing was filtered.
    """
    dataset = Dataset(root)
    if column not in dataset.view.columns:
        raise unknown("column", column, dataset.view.columns, root)
    view = replace(dataset.view, keep=dataset.keep_folder(step))
    sizes = dataset.manifest.shard_rows()
    job = _Counts(view, column, shard_runs(sizes))
    counts = _summed(list(each_run("show", job.count, job.runs, sizes, None)), column)
    of_value = pl.col("count").sum().over("value")
    kept = pl.col("count").filter(pl.col("step").is_null()).sum().over("value")
    lines = counts.with_columns(rows=of_value, kept=kept)
    lost = pl.col("step").is_not_null()
    lines = lines.filter(lost | (pl.col("kept") == pl.col("rows")))
    dropped = pl.when(lost).then("count").otherwise(0)
    order = {name: number for number, name in enumerate(step_names(dataset, step))}
    place = pl.col("step").replace_strict(order, default=len(order), return_dtype=pl.Int64)
    lines = lines.sort("rows", "value", place, descending=[True, False, False])
    return lines.select("value", "rows", "step", dropped.alias("dropped"), "kept")


def step_names(dataset: Dataset, step: str = "") -> list[str]:
    """Steps of the funnel, the first one first."""
    return dataset.funnel(step)["step"].unique(maintain_order=True).to_list()


def as_lines(lines: pl.DataFrame, steps: Sequence[str]) -> list[list[str]]:
    """A line for each value: value, rows, -dropped at each step, kept, its share of the rows."""
    cells = []
    for (value, rows, kept), of_value in lines.group_by("value", "rows", "kept", maintain_order=True):
        lost = dict(of_value.select("step", "dropped").rows())
        each = [f"-{lost[name]:,}" if lost.get(name) else "0" for name in steps]
        cells.append([str(value), f"{rows:,}", *each, f"{kept:,}", f"{int(str(kept)) / int(str(rows)):.1%}"])
    return cells


def print_funnel_by(root: str, column: str, step: str = "") -> None:
    """The table, and one line with the sums."""
    lines, steps = funnel_by(root, column, step), step_names(Dataset(root), step)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(column, overflow="fold")
    for heading in ("in", *steps, "kept", "share"):
        table.add_column(escape(heading), justify="right")
    cells = as_lines(lines, steps)
    for line in cells[:LINES]:
        table.add_row(*map(escape, line))
    out.print(table)
    values = lines.unique("value")
    more = f", the first {LINES} are shown" if len(cells) > LINES else ""
    kept, rows = int(values["kept"].sum()), int(values["rows"].sum())
    out.print(f"{kept:,} of {counted(rows, 'row')} kept, {counted(len(cells), 'value')} of {escape(column)}{more}")


@dataclass(frozen=True)
class _Counts:
    """The job: rows of a run of shards by value and by the step that dropped them."""

    view: View
    column: str
    runs: Sequence[range]

    def count(self, run: int) -> pl.DataFrame:
        return _summed([self._of_shard(shard) for shard in self.runs[run]], self.column)

    def _of_shard(self, shard: int) -> pl.DataFrame:
        values = self.view.frame(shard, [self.column]).to_series()
        if values.dtype.is_nested() or values.dtype == pl.Binary:
            raise CurateError(f"'{self.column}' holds {values.dtype}: a row has no single value to be counted under")
        verdicts = self.view.verdicts(shard)
        assert verdicts is not None
        step = pl.Series([None, *(text.partition(": ")[0] for text in verdicts.texts[1:])], dtype=pl.String)
        names = values.cast(pl.String).fill_null(NULL).rename("value")
        steps = step.gather(verdicts.codes.astype(np.int64)).rename("step")
        return pl.DataFrame([names, steps]).with_columns(count=pl.lit(1, pl.Int64))


def _summed(frames: Sequence[pl.DataFrame], column: str) -> pl.DataFrame:
    counts = pl.concat(frames).group_by("value", "step").agg(pl.col("count").sum())
    if counts["value"].n_unique() > MOST_VALUES:
        raise CurateError(f"'{column}' has over {MOST_VALUES:,} values: choose a column that tells sources apart")
    return counts
