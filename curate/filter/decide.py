"""The verdict of every row, by the first condition of a filter that it fails; a row's verdict is one small number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.errors import CurateError, nearest
from curate.filter.rule import Filter
from curate.filter.sql import condition, decided
from curate.filter.sql_values import ConditionError
from curate.filter.threshold import Threshold

_NO_VALUE = " (no value)"


@dataclass(frozen=True)
class Decision:
    """What a filter says of rows.

    codes: (rows,) whole numbers: 0 for a row that stays, else the number of its reason. reasons: the first is "".
    """

    codes: np.ndarray
    reasons: Sequence[str]


def decision(rows: pl.DataFrame, rule: Filter, threshold: Threshold | None = None, shard: int = 0) -> Decision:
    """The verdicts of rows of one shard, or of several where the threshold names no place in a shard.

    A condition that is null drops too, with "(no value)" after its reason.

    Raises:
        CurateError: for a column that is not there, and for what the types of the columns cannot decide.
    """
    checks = _checks(rows, rule, threshold, shard)
    code = pl.repeat(0, pl.len(), dtype=pl.UInt16)
    for number in reversed(range(len(checks))):
        check, fails = pl.col(f"{number}"), pl.lit(2 * number + 1, pl.UInt16)
        code = pl.when(check).then(code).otherwise(pl.when(check.is_null()).then(fails + 1).otherwise(fails))
    try:
        # In two calls: a condition that stands in one expression several times is computed as often.
        truths = rows.select(check.alias(f"{number}") for number, (_, check) in enumerate(checks))
        codes = (truths if checks else rows).select(code).to_series()
        if rule.reason:
            return _in_words(codes, [reason for reason, _ in checks], rows[rule.reason].cast(pl.String))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError) as error:
        raise CurateError(f"filter {rule.name}: {error}") from error
    return Decision(codes.to_numpy(), ["", *(reason + end for reason, _ in checks for end in ("", _NO_VALUE))])


def _checks(rows: pl.DataFrame, rule: Filter, threshold: Threshold | None, shard: int) -> list[tuple[str, pl.Expr]]:
    """(reason, what is true for a row that stays), in the order in which they are asked."""
    types = dict(rows.schema)
    for name in rule.needs():
        if name not in types:
            raise CurateError(f"filter {rule.name}: column '{name}' is not there{nearest(name, types)}")
    try:
        checks = [
            (reason, decided(sql, tuple((name, types[name]) for name in condition(sql).columns)))
            for reason, sql in rule.where.items()
        ]
    except ConditionError as error:
        raise CurateError(f"filter {rule.name}: {error}") from error
    if rule.top is not None and threshold is not None:
        checks.append((rule.top.reason(), threshold.keeps(rule.top.by, shard)))
    return checks


def _in_words(codes: pl.Series, reasons: Sequence[str], words: pl.Series) -> Decision:
    """Reasons as a column tells them, where it holds a text."""
    own = pl.Series([None, *(reason for reason in reasons for _ in range(2))], dtype=pl.String)
    rows = pl.DataFrame({"code": codes, "words": words, "own": own.gather(codes)})
    text = pl.coalesce("words", "own")
    no_value = pl.col("code") % 2 == 0
    dropped = pl.when(pl.col("code") > 0).then(pl.when(no_value).then(text + _NO_VALUE).otherwise(text))
    per_row = rows.select(dropped).to_series()
    # In the order of the alphabet: the same numbers whichever rows are looked at together.
    texts = per_row.drop_nulls().unique().sort()
    numbers = per_row.cast(pl.Enum(texts)).to_physical().cast(pl.Int64) + 1
    return Decision(numbers.fill_null(0).to_numpy(), ["", *texts])


def decide(rows: pl.DataFrame, rule: Filter, threshold: Threshold | None = None, shard: int = 0) -> pl.DataFrame:
    """`kept` (bool) and `reason` (str, null where kept) for every row; raises as `decision`."""
    outcome = decision(rows, rule, threshold, shard)
    reason = pl.Series("reason", [None, *outcome.reasons[1:]], pl.String).gather(outcome.codes)
    return pl.DataFrame([pl.Series("kept", outcome.codes == 0), reason])
