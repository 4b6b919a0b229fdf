"""Values of a condition: kinds, null, whole numbers without bounds, and comparisons that are exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl

Kind = Literal["whole", "float", "text", "truth", "time", "list", "null", "any", "other"]

#: What an error calls a value of each kind.
NAMES: dict[Kind, str] = {
    "whole": "a whole number",
    "float": "a number",
    "text": "a text",
    "truth": "a truth value",
    "time": "a time",
    "list": "a list",
    "null": "NULL",
    "any": "of a kind that is not known yet",
    "other": "neither a number nor a text",
}

_INT64 = (-(1 << 63), (1 << 63) - 1)
_INT128 = (-(1 << 127), (1 << 127) - 1)

NUMBERS = ("whole", "float")


class ConditionError(ValueError):
    """A condition that cannot be decided, with what is wrong in it."""


@dataclass(frozen=True)
class Beyond:
    """A whole number that may need more than 128 bits: computed row by row in Python from other values."""

    inputs: tuple[pl.Expr, ...]
    compute: Callable[[Sequence[Any]], Any]


@dataclass(frozen=True)
class Value:
    """A part of a condition, typed: `expr` computes it in polars.

    words: the part as it is written.
    low, high: bounds of a whole number or of a time (nanoseconds since 1970), from the types of the columns.
    narrow: computed from float32 columns and numbers of the condition only.
    literal: the number or text that stands in the condition.
    raw: a time as polars has it.
    """

    kind: Kind
    expr: pl.Expr
    words: str
    low: int = 0
    high: int = 0
    narrow: bool = False
    literal: Any = None
    beyond: Beyond | None = None
    raw: pl.Expr | None = None


def refuse_kind(value: Value, expected: str) -> ConditionError:
    return ConditionError(f"{value.words} is {NAMES[value.kind]}, not {expected}")


def null(words: str = "NULL") -> Value:
    return Value("null", pl.lit(None), words)


def unknown_value(words: str, kind: Kind = "any") -> Value:
    """A value whose kind is only known once the columns' types are."""
    return Value(kind, pl.lit(None), words)


def whole_literal(number: int, words: str) -> Value:
    fits = _width(number, number)
    beyond = None if fits else Beyond((), lambda row: number)
    expr = pl.lit(number, fits) if fits else pl.lit(None)
    return Value("whole", expr, words, number, number, literal=number, beyond=beyond)


def float_literal(number: float, words: str) -> Value:
    return Value("float", pl.lit(number, pl.Float64), words, literal=number)


def truth(expr: pl.Expr, words: str) -> Value:
    return Value("truth", expr, words)


def of_column(name: str, dtype: pl.DataType, words: str) -> Value:  # noqa: PLR0911
    """A column by its type. NaN counts as no value; decimals are doubles, or whole numbers where they have no digits
    after the point; times are nanoseconds, those without a zone taken as UTC."""
    column = pl.col(name)
    if dtype == pl.Boolean:
        return truth(column, words)
    if dtype.is_integer():
        low, high = _bounds(dtype)
        return Value("whole", column, words, low, high)
    if isinstance(dtype, pl.Decimal):
        if dtype.scale == 0:
            return Value("whole", column.cast(pl.Int128), words, *_INT128)
        return Value("float", column.cast(pl.Float64), words)
    if dtype.is_float():
        narrow = dtype != pl.Float64
        return Value("float", column.cast(pl.Float32 if narrow else pl.Float64).fill_nan(None), words, narrow=narrow)
    if dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum)):
        return Value("text", column.cast(pl.String), words)
    if isinstance(dtype, (pl.Date, pl.Datetime)):
        return _time(column, dtype, words)
    if isinstance(dtype, (pl.List, pl.Array)):
        return Value("list", column if isinstance(dtype, pl.List) else column.arr.to_list(), words)
    if dtype == pl.Null:
        return replace(null(words), raw=column)
    return Value("other", column, words)


def _bounds(dtype: pl.DataType) -> tuple[int, int]:
    signed = not str(dtype).startswith("U")
    bits = int(str(dtype).lstrip("UInt"))
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def _time(column: pl.Expr, dtype: pl.DataType, words: str) -> Value:
    if isinstance(dtype, pl.Datetime):
        each = {"ms": 10**6, "us": 10**3, "ns": 1}[str(dtype.time_unit)]
        ticks = column.cast(pl.Int64)
    else:
        each, ticks = 86_400 * 10**9, column.cast(pl.Int32)
    nanoseconds = ticks.cast(pl.Int128) * pl.lit(each, pl.Int128)
    return Value("time", nanoseconds, words, _INT64[0] * each, _INT64[1] * each, raw=column)


# ---- widths ----


def _width(low: int, high: int) -> pl.DataType | None:
    """The type that whole numbers between two bounds are computed in; None: more than 128 bits."""
    for bounds, dtype in ((_INT64, pl.Int64()), (_INT128, pl.Int128())):
        if bounds[0] <= low and high <= bounds[1]:
            return dtype
    return None


def common_width(*values: Value, low: int = 0, high: int = 0) -> pl.DataType | None:
    """The type that holds the values and all between `low` and `high`; None: more than 128 bits."""
    if any(value.beyond for value in values):
        return None
    return _width(min(low, *(v.low for v in values)), max(high, *(v.high for v in values)))


def beyond(value: Value) -> Beyond:
    """Any number as one that is computed in Python."""
    if value.literal is not None:
        return Beyond((), lambda row: value.literal)
    return value.beyond or Beyond((value.expr,), lambda row: row[0])


def in_python(compute: Callable[..., Any], *values: Value) -> Beyond:
    """A function of the values' numbers, null where one of them is null."""
    parts = [beyond(value) for value in values]
    starts = np.cumsum([0, *(len(part.inputs) for part in parts)]).tolist()

    def of_row(row: Sequence[Any]) -> Any:
        numbers = [part.compute(row[a:b]) for part, a, b in zip(parts, starts, starts[1:], strict=False)]
        return None if any(number is None for number in numbers) else compute(*numbers)

    return Beyond(tuple(expr for part in parts for expr in part.inputs), of_row)


def by_rows(part: Beyond, dtype: type[pl.DataType]) -> pl.Expr:
    """The polars expression of something that Python computes."""
    if not part.inputs:
        return pl.lit(part.compute(()), dtype)

    def rows(columns: Sequence[pl.Series]) -> pl.Series:
        # The last one has the height of the frame; a number of the condition has one value for all rows.
        *inputs, every = columns
        lists = [column.to_list() * (len(every) if len(column) == 1 else 1) for column in inputs]
        return pl.Series([part.compute(row) for row in zip(*lists, strict=True)], dtype=dtype)

    return pl.map_batches([*part.inputs, pl.int_range(pl.len())], rows, return_dtype=dtype())


def as_float(value: Value) -> pl.Expr:
    """A number as a double."""
    if value.beyond:
        return by_rows(in_python(_double, value), pl.Float64)
    return value.expr.cast(pl.Float64)


def _double(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
