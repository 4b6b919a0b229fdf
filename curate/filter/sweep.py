"""How many rows each of several thresholds of a column would keep: one pass over the column, and no keep table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
import polars as pl

from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import each_run, shard_runs
from curate.errors import CurateError
from curate.filter.batches import batches
from curate.filter.rule import Filter
from curate.filter.sql import decided
from curate.filter.step import check_columns, types_of
from curate.filter.top import Top
from curate.library.names import in_sql
from curate.store.view import View

#: Thresholds of one sweep at most.
MOST = 10_000


@dataclass(frozen=True)
class Sweep:
    """What thresholds of a column would keep of the rows that are in.

    relation: `>=`, or `<=`. rows: that are in. no_value: of these without a value, kept by no threshold.
    table: threshold, kept (rows), share (of the rows that are in).
    """

    column: str
    relation: str
    rows: int
    no_value: int
    table: pl.DataFrame


def thresholds_of(values: str | Sequence[float]) -> list[str]:
    """Thresholds as they are written: `0.2:0.4:0.02` is from, to and step, both ends among them; else a list.

    >>> thresholds_of("0.28:0.32:0.02"), thresholds_of("0.3, 1e-3"), thresholds_of([0.25, 3])
    (['0.28', '0.30', '0.32'], ['0.3', '0.001'], ['0.25', '3'])

    Raises:
        CurateError: for what is no number, a range that does not end, and more than 10,000.
    """
    if not isinstance(values, str):
        numbers = [_number(str(value)) for value in values]
    elif ":" in values:
        numbers = _range(values)
    else:
        numbers = [_number(text) for text in values.replace(",", " ").split()]
    if not 1 <= len(numbers) <= MOST:
        raise CurateError(f"sweep: {len(numbers):,} thresholds, expected 1 to {MOST:,}: {_FORMS}")
    return [f"{number:f}" for number in numbers]


_FORMS = "write from:to:step, 0.2:0.4:0.02, or a list, 0.2,0.25,0.3"


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or abs(number) >= Decimal(10) ** 30:
        raise CurateError(f"sweep: {text.strip()!r} is no number: {_FORMS}")
    return number


def _range(text: str) -> list[Decimal]:
    parts = [_number(part) for part in text.split(":")]
    if len(parts) != 3:
        raise CurateError(f"sweep: {text!r} is no range: {_FORMS}")
    first, last, step = parts
    if step <= 0 or last < first:
        raise CurateError(f"sweep: {text!r} never ends: the step is over 0, and the first threshold the lowest")
    count = int((last - first) / step) + 1
    return [first + step * number for number in range(min(count, MOST + 1))]


def sweep(
    view: View, column: str, values: str | Sequence[float], at_most: bool = False, cluster: Cluster | None = None
) -> Sweep:
    """Counts the rows that are in and pass `column >= threshold`, as a filter with this condition would.

    at_most: those that pass `column <= threshold`.
    cluster: does it when shards are many, see curate.cluster.many_shards; None is always this process.

    Raises:
        CurateError: for a column that is not there or holds no numbers, and for what is no threshold.
    """
    relation, thresholds = "<=" if at_most else ">=", thresholds_of(values)
    conditions = [f"{in_sql(column)} {relation} {number}" for number in thresholds]
    check_columns(Filter(name="sweep", top=Top.model_validate({"by": column, "rows": 1})), view.columns)
    kind = types_of(view, [column]).get(column)
    if kind is not None and kind != pl.Null and not kind.is_numeric():
        raise CurateError(f"sweep: '{column}' holds {kind}, and thresholds are of numbers")
    rows = view.store.shard_rows()
    job = SweepJob(view, column, conditions, shard_runs(rows))
    total = np.zeros(2 + len(thresholds), np.int64)
    for counts in each_run("sweep", job.count, job.runs, rows, cluster):
        total += counts
    inside, no_value, *kept = total.tolist()
    schema = {"threshold": pl.Float64, "kept": pl.Int64}
    table = pl.DataFrame({"threshold": [float(number) for number in thresholds], "kept": kept}, schema=schema)
    share = pl.col("kept") / inside if inside else pl.lit(None, pl.Float64)
    return Sweep(column, relation, inside, no_value, table.with_columns(share=share))


@dataclass(frozen=True)
class SweepJob:
    """The job. conditions: SQL of one column. runs: the shards of each task."""

    view: View
    column: str
    conditions: Sequence[str]
    runs: Sequence[range]

    def count(self, run: int) -> np.ndarray:
        """int64[2 + conditions]: rows that are in, those of them without a value, and rows that each keeps."""
        total = np.zeros(2 + len(self.conditions), np.int64)
        for batch in batches(self.view, [self.column], self.runs[run]):
            parts = [self.view.kept(shard) for shard in batch.shards]
            sizes = np.diff([0, *batch.ends]).tolist()
            inside = [np.ones(n, bool) if kept is None else kept for kept, n in zip(parts, sizes, strict=True)]
            rows = batch.rows.filter(pl.Series(np.concatenate(inside), dtype=pl.Boolean))
            values = rows.to_series()
            lacking = int(values.null_count()) + (int(values.is_nan().sum()) if values.dtype.is_float() else 0)
            types = ((self.column, values.dtype),)
            kept_rows = rows.select(
                decided(sql, types).fill_null(False).sum().cast(pl.Int64).alias(f"{number}")
                for number, sql in enumerate(self.conditions)
            )
            total += np.array([len(rows), lacking, *kept_rows.row(0)], np.int64)
        return total
