"""The verdict of every row, by the first condition of a filter that it fails; a row's verdict is one small number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from curate.errors import CurateError, nearest
from curate.filter.rule import Filter
from curate.filter.sql import condition, decided
from curate.filter.sql_values import ConditionError
from curate.filter.threshold import Threshold
from curate.filter.within import Thresholds
from curate.store.verdict import MOST_COPIES

_NO_VALUE = " (no value)"


@dataclass(frozen=True)
class Decision:
    """What a filter says of rows.

    codes: (rows,) whole numbers: 0 for a row that stays, else the number of its reason. reasons: the first is "".
    copies: (rows,) uint16: how often a row is taken that stays; None where the filter does not say it.
    """

    codes: np.ndarray
    reasons: Sequence[str]
    copies: np.ndarray | None = None


def decision(
    rows: pl.DataFrame,
    rule: Filter,
    threshold: Threshold | Thresholds | None = None,
    shard: int = 0,
    repeats: np.ndarray | None = None,
) -> Decision:
    """The verdicts of rows of one shard, or of several where the threshold names no place in a shard.

    repeats: (rows,) how often the subset file of the rule has the uid of each row.

    A condition that is null drops too, with "(no value)" after its reason.

    Raises:
        CurateError: for a column that is not there, and for what the types of the columns cannot decide.
    """
    checks = _checks(rows, rule, threshold, shard, repeats)
    code = pl.repeat(0, pl.len(), dtype=pl.UInt16)
    for number in reversed(range(len(checks))):
        check, fails = pl.col(f"{number}"), pl.lit(2 * number + 1, pl.UInt16)
        code = pl.when(check).then(code).otherwise(pl.when(check.is_null()).then(fails + 1).otherwise(fails))
    try:
        # In two calls: a condition that stands in one expression several times is computed as often.
        truths = rows.select(check.alias(f"{number}") for number, (_, check) in enumerate(checks))
        codes = (truths if checks else rows).select(code).to_series()
        copies = copies_of(rows, rule, repeats)
        if rule.reason:
            worded = _in_words(codes, [reason for reason, _ in checks], rows[rule.reason].cast(pl.String))
            return replace(worded, copies=copies)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError) as error:
        raise CurateError(f"filter {rule.name}: {error}") from error
    return Decision(codes.to_numpy(), ["", *(reason + end for reason, _ in checks for end in ("", _NO_VALUE))], copies)


def copies_of(rows: pl.DataFrame, rule: Filter, repeats: np.ndarray | None) -> np.ndarray | None:
    """(rows,) uint16: how often each row is taken; None where the filter does not say it.

    Raises:
        CurateError: for a number that is none of copies.
    """
    if rule.copies:
        copies = rows[rule.copies].fill_null(0).to_numpy()
    elif repeats is not None:
        copies = repeats
    else:
        return None
    odd = copies[(copies < 0) | (copies > MOST_COPIES)]
    if len(odd):
        source = f"column '{rule.copies}'" if rule.copies else f"subset '{rule.subset}'"
        raise CurateError(
            f"filter {rule.name}: {source} says {odd[0]:,} copies of a row, expected 0 to {MOST_COPIES:,}"
        )
    return copies.astype(np.uint16)


def _checks(
    rows: pl.DataFrame, rule: Filter, threshold: Threshold | Thresholds | None, shard: int, repeats: np.ndarray | None
) -> list[tuple[str, pl.Expr]]:
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
    if repeats is not None:
        checks.append((rule.not_in_subset(), pl.lit(pl.Series(repeats > 0, dtype=pl.Boolean))))
    if rule.copies:
        checks.append((rule.no_copies(), pl.col(rule.copies) != 0))
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


def decide(
    rows: pl.DataFrame, rule: Filter, threshold: Threshold | Thresholds | None = None, shard: int = 0
) -> pl.DataFrame:
    """`kept` (bool) and `reason` (str, null where kept) for every row; raises as `decision`."""
    outcome = decision(rows, rule, threshold, shard)
    reason = pl.Series("reason", [None, *outcome.reasons[1:]], pl.String).gather(outcome.codes)
    return pl.DataFrame([pl.Series("kept", outcome.codes == 0), reason])
