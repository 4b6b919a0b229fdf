"""Comparisons and choices of a condition: exact between whole numbers and doubles, null where a side is null."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from curate.filter.sql_values import (
    NAMES,
    NUMBERS,
    ConditionError,
    Kind,
    Value,
    as_float,
    by_rows,
    common_width,
    in_python,
    null,
    refuse_kind,
    truth,
    unknown_value,
    whole_literal,
)

#: Whole numbers that a double holds exactly reach to here; a float32's to the second.
_DOUBLE = 1 << 53
_SINGLE = 1 << 24

#: Whole numbers that are compared with a double by its floor lie within this.
_WITHIN = 1 << 126

_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_BACKWARDS = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}


def compare(sign: str, a: Value, b: Value) -> Value:
    """a = b, a != b, a < b ...: null where a side is null."""
    words = f"{a.words} {sign} {b.words}"
    kinds = {a.kind, b.kind}
    if kinds & {"list", "other"}:
        raise refuse_kind(a if a.kind in ("list", "other") else b, "something to compare")
    if "null" in kinds:
        return truth(pl.lit(None, pl.Boolean), words)
    if "any" in kinds:
        return truth(pl.lit(None, pl.Boolean), words)
    if kinds == {"time", "text"}:
        a, b = (value if value.kind == "time" else time_literal(value) for value in (a, b))
        kinds = {"time"}
    if kinds == {"truth"} and sign not in ("=", "!="):
        raise refuse_kind(a, "something that has an order")
    if len(kinds) == 2 and kinds != set(NUMBERS):
        raise _mismatch(a, b)
    if kinds <= {"text", "truth"}:
        return truth(_SIGNS[sign](a.expr, b.expr), words)
    return truth(_numbers(sign, a, b), words)


def _mismatch(a: Value, b: Value) -> ConditionError:
    kinds, hint = {a.kind, b.kind}, ""
    if "text" in kinds and kinds & set(NUMBERS):
        hint = ": a text stands in single quotes, a number in none"
    elif "truth" in kinds:
        flag = a if a.kind == "truth" else b
        hint = f": a truth value stands alone, {flag.words} or NOT {flag.words}"
    return ConditionError(
        f"{a.words} is {NAMES[a.kind]}, {b.words} is {NAMES[b.kind]}: they cannot be compared{hint}"
        if not hint
        else f"{a.words} is {NAMES[a.kind]}, {b.words} is {NAMES[b.kind]}{hint}"
    )


def _numbers(sign: str, a: Value, b: Value) -> pl.Expr:
    decide = _SIGNS[sign]
    if a.kind == "float" and b.kind == "float":
        return _floats(sign, a, b)
    if "float" in (a.kind, b.kind):
        return _whole_and_float(sign, a, b) if b.kind == "float" else _whole_and_float(_BACKWARDS[sign], b, a)
    dtype = common_width(a, b)
    if dtype is None:
        return by_rows(in_python(decide, a, b), pl.Boolean)
    return decide(a.expr.cast(dtype), b.expr.cast(dtype))  # type: ignore[no-any-return]


def _floats(sign: str, a: Value, b: Value) -> pl.Expr:
    """A number of the condition is rounded as a float32 column's were when they were stored: 0.28 is 0.28."""
    for one, other in ((a, b), (b, a)):
        if one.narrow and other.literal is not None and abs(other.literal) <= float(np.finfo(np.float32).max):
            return _SIGNS[sign](a.expr.cast(pl.Float32), b.expr.cast(pl.Float32))  # type: ignore[no-any-return]
    return _SIGNS[sign](a.expr.cast(pl.Float64), b.expr.cast(pl.Float64))  # type: ignore[no-any-return]


def _whole_and_float(sign: str, a: Value, b: Value) -> pl.Expr:
    """Exact, as Python compares an int with a float: by the float's floor or ceiling, not by the int as a double."""
    if a.literal is not None and abs(a.literal) <= (_SINGLE if b.narrow else _DOUBLE):
        return _floats(sign, replace(a, expr=pl.lit(float(a.literal), pl.Float64)), b)
    if a.beyond or not (a.low > -_WITHIN and a.high < _WITHIN):
        return by_rows(in_python(_SIGNS[sign], a, b), pl.Boolean)
    number, whole = b.expr.cast(pl.Float64), a.expr.cast(pl.Int128)
    floor, ceiling = (x.clip(-float(_WITHIN), float(_WITHIN)).cast(pl.Int128) for x in (number.floor(), number.ceil()))
    # False AND null is false: what has no value must stay null.
    equal = pl.when(whole.is_not_null() & number.is_not_null()).then((number.floor() == number) & (whole == floor))
    if sign in ("=", "!="):
        return equal if sign == "=" else ~equal
    return _SIGNS[sign](whole, ceiling if sign in ("<", ">=") else floor)  # type: ignore[no-any-return]


def time_literal(value: Value) -> Value:
    """A text of the condition as nanoseconds since 1970: '2024-05-31', '2024-05-31 10:00:00', with a zone or in UTC."""
    from datetime import datetime, timezone

    if value.literal is None:
        raise ConditionError(f"{value.words} is a text and no time: a time is compared with '2024-05-31'")
    try:
        moment = datetime.fromisoformat(value.literal.replace("Z", "+00:00"))
    except ValueError as error:
        raise ConditionError(f"{value.words} is no time: write '2024-05-31' or '2024-05-31 10:00:00'") from error
    since = moment.replace(tzinfo=moment.tzinfo or timezone.utc) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    number = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    return replace(whole_literal(number, value.words), kind="time")


# ---- one kind for several ----


def unified(values: Sequence[Value]) -> tuple[Kind, list[pl.Expr]]:
    """Values that stand for one another (COALESCE, CASE, GREATEST) as expressions of one type."""
    kinds = {value.kind for value in values} - {"null"}
    if not kinds:
        return "null", [pl.lit(None) for _ in values]
    if "any" in kinds:
        return "any", [pl.lit(None) for _ in values]
    if kinds <= set(NUMBERS) and "float" in kinds:
        return "float", [as_float(value) if value.kind != "null" else value.expr for value in values]
    if len(kinds) > 1:
        a, b = next((a, b) for a in values for b in values if a.kind != b.kind and {a.kind, b.kind} <= kinds)
        raise ConditionError(f"{a.words} is {NAMES[a.kind]}, {b.words} is {NAMES[b.kind]}: they are no choice")
    (kind,) = kinds
    if kind in ("whole", "time"):
        dtype = common_width(*(value for value in values if value.kind != "null"))
        if dtype is None:
            raise ConditionError(f"{values[0].words} may need more than 128 bits here")
        return kind, [value.expr.cast(dtype) if value.kind != "null" else value.expr for value in values]
    return kind, [value.expr for value in values]


def joined(values: Sequence[Value], expr: Callable[[list[pl.Expr]], pl.Expr], words: str) -> Value:
    """What comes of a choice between values."""
    kind, parts = unified(values)
    if kind in ("null", "any"):
        return null(words) if kind == "null" else unknown_value(words)
    not_null = [value for value in values if value.kind != "null"]
    narrow = kind == "float" and all(value.narrow or value.literal is not None for value in not_null)
    low, high = min(value.low for value in not_null), max(value.high for value in not_null)
    return Value(kind, expr(parts), words, low, high, narrow=narrow and any(value.narrow for value in not_null))
