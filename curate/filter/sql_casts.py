"""CAST in a condition: what does not fit the type is null."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from curate.filter.sql_compare import time_literal
from curate.filter.sql_numbers import cut
from curate.filter.sql_values import (
    ConditionError,
    Value,
    as_float,
    by_rows,
    in_python,
    null,
    of_column,
    refuse_kind,
    unknown_value,
)

_WHOLE: dict[str, pl.DataType] = {
    "TINYINT": pl.Int8(), "SMALLINT": pl.Int16(), "INT": pl.Int32(), "BIGINT": pl.Int64(), "INT128": pl.Int128(),
    "UTINYINT": pl.UInt8(), "USMALLINT": pl.UInt16(), "UINT": pl.UInt32(), "UBIGINT": pl.UInt64(),
}  # fmt: skip
_TEXT = ("TEXT", "VARCHAR", "CHAR", "NVARCHAR")
_FLOAT = {"FLOAT": True, "DOUBLE": False}
_TIME = ("DATE", "TIMESTAMP", "DATETIME", "TIMESTAMPTZ")


def cast(value: Value, to: Any, words: str) -> Value:
    """`CAST(value AS to)`: a number is cut towards zero to a whole one; what does not fit is null.

    Raises:
        ConditionError: for a type that there is not, or that the value's kind cannot become.
    """
    name = str(getattr(to.this, "value", to.this))
    if to.expressions or name not in (*_WHOLE, *_TEXT, *_FLOAT, *_TIME, "BOOLEAN"):
        known = "TINYINT, SMALLINT, INT, BIGINT, HUGEINT, FLOAT, DOUBLE, TEXT, BOOLEAN, DATE, TIMESTAMP"
        raise ConditionError(f"{words}: no type {to.sql()} in conditions; there are: {known}")
    if value.kind == "null":
        return null(words)
    if name in _TIME:
        moment = _time(value, words)
        return _day(moment) if name == "DATE" and moment.kind == "time" else moment
    if value.kind in ("list", "other", "time"):
        raise refuse_kind(value, "something to cast")
    if name in _WHOLE:
        return _whole(value, _WHOLE[name], words)
    if value.kind == "any":
        return unknown_value(words, "text" if name in _TEXT else "truth" if name == "BOOLEAN" else "float")
    if name in _TEXT:
        return _text(value, words)
    return _float(value, _FLOAT[name], words) if name in _FLOAT else _truth(value, words)


def _whole(value: Value, dtype: pl.DataType, words: str) -> Value:
    bounds = of_column("", dtype, words)
    low, high = bounds.low, bounds.high
    if value.kind == "any":
        return replace(unknown_value(words, "whole"), low=low, high=high)
    if value.beyond:
        kept = in_python(lambda x: x if low <= x <= high else None, value)
        wide = pl.Int128 if dtype == pl.Int128 else pl.Int64 if dtype != pl.UInt64 else pl.UInt64
        return Value("whole", by_rows(kept, wide).cast(dtype, strict=False), words, low, high)
    expr = cut(value.expr) if value.kind == "float" else value.expr
    return Value("whole", expr.cast(dtype, strict=False), words, low, high)


def _float(value: Value, narrow: bool, words: str) -> Value:
    expr = as_float(value) if value.kind == "whole" else value.expr.cast(pl.Float64, strict=False)
    return Value("float", (expr.cast(pl.Float32) if narrow else expr).fill_nan(None), words, narrow=narrow)


def _text(value: Value, words: str) -> Value:
    if value.beyond:
        return Value("text", by_rows(in_python(str, value), pl.String), words)
    return Value("text", value.expr.cast(pl.String), words)


def _truth(value: Value, words: str) -> Value:
    if value.kind == "text":
        expr = value.expr.str.to_lowercase().replace_strict(
            {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
        )
        return Value("truth", expr, words)
    if value.beyond:
        raise refuse_kind(value, "something to cast")
    return Value("truth", value.expr if value.kind == "truth" else value.expr != 0, words)


def _time(value: Value, words: str) -> Value:
    if value.kind == "text" and value.literal is not None:
        return replace(time_literal(value), words=words)
    if value.kind in ("time", "any"):
        return replace(value, words=words) if value.kind == "time" else unknown_value(words)
    raise ConditionError(f"{words}: a time is written DATE '2024-05-31'")


def _day(moment: Value) -> Value:
    """The beginning of its day."""
    day = pl.lit(86_400 * 10**9, pl.Int128)
    into = moment.expr.cast(pl.Int128) % day
    into = pl.when(into < 0).then(into + day).otherwise(into)
    return replace(moment, expr=moment.expr.cast(pl.Int128) - into, low=moment.low - 86_400 * 10**9, literal=None)
