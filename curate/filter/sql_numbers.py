"""Arithmetic of a condition: whole numbers stay whole and never wrap around, the rest are doubles."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import polars as pl

from curate.filter.sql_values import (
    NUMBERS,
    Value,
    as_float,
    common_width,
    in_python,
    null,
    refuse_kind,
    unknown_value,
    whole_literal,
)

_EXACT: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def _truncated(a: int, b: int) -> int | None:
    return None if b == 0 else (abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1)


def _remainder(a: int, b: int) -> int | None:
    return None if b == 0 else (abs(a) % abs(b)) * (-1 if a < 0 else 1)


def checked(values: tuple[Value, ...], words: str) -> Value | None:
    """NULL, or a value of a kind that is not known yet, where one of the numbers is such.

    Raises:
        ConditionError: when one is no number.
    """
    for value in values:
        if value.kind not in (*NUMBERS, "any", "null"):
            raise refuse_kind(value, "a number")
    if any(value.kind == "null" for value in values):
        return null(words)
    return unknown_value(words) if any(value.kind == "any" for value in values) else None


def arithmetic(sign: str, a: Value, b: Value) -> Value:
    """a + b, a - b, a * b, a / b (a double), a // b and a % b (cut towards zero, so the rest has the sign of a).

    Division by zero, and what is no number (inf - inf), is null.
    """
    words = f"{a.words} {sign} {b.words}"
    early = checked((a, b), words)
    if early:
        return early
    if a.kind == b.kind == "whole" and sign != "/":
        return _exact(sign, a, b, words) if sign in _EXACT else _division(sign, a, b, words)
    narrow = all(value.narrow or value.literal is not None for value in (a, b)) and (a.narrow or b.narrow)
    return Value("float", _floats(sign, as_float(a), as_float(b)), words, narrow=narrow)


def _floats(sign: str, x: pl.Expr, y: pl.Expr) -> pl.Expr:
    if sign in _EXACT:
        return _EXACT[sign](x, y).fill_nan(None)  # type: ignore[no-any-return]
    quotient = x / y
    if sign == "//":
        quotient = _cut(quotient)
    elif sign == "%":
        quotient = pl.when(x < 0).then(-(x.abs() % y.abs())).otherwise(x.abs() % y.abs())
    return pl.when(y != 0).then(quotient).fill_nan(None)


def _cut(x: pl.Expr) -> pl.Expr:
    return pl.when(x < 0).then(x.ceil()).otherwise(x.floor())


def _exact(sign: str, a: Value, b: Value, words: str) -> Value:
    ends = [_EXACT[sign](x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    low, high = min(ends), max(ends)
    if a.literal is not None and b.literal is not None:
        return whole_literal(low, words)
    dtype = common_width(a, b, low=low, high=high)
    if dtype is None:
        return Value("whole", pl.lit(None), words, low, high, beyond=in_python(_EXACT[sign], a, b))
    return Value("whole", _EXACT[sign](a.expr.cast(dtype), b.expr.cast(dtype)), words, low, high)


def _division(sign: str, a: Value, b: Value, words: str) -> Value:
    compute = _truncated if sign == "//" else _remainder
    largest = max(abs(a.low), abs(a.high))
    dtype = common_width(a, b, low=min(-largest, b.low, -b.high), high=max(largest, b.high, -b.low))
    if dtype is None:
        return Value("whole", pl.lit(None), words, -largest, largest, beyond=in_python(compute, a, b))
    x, y = a.expr.cast(dtype), b.expr.cast(dtype)
    zero = pl.lit(0, dtype)
    size = x.abs() // y.abs() if sign == "//" else x.abs() - (x.abs() // y.abs()) * y.abs()
    minus = (x < zero) != (y < zero) if sign == "//" else x < zero
    expr = pl.when(y != zero).then(pl.when(minus).then(zero - size).otherwise(size))
    return Value("whole", expr, words, -largest, largest)


def negated(a: Value) -> Value:
    words = f"-{a.words}"
    early = checked((a,), words)
    if early:
        return early
    if a.kind == "float":
        literal = None if a.literal is None else -a.literal
        return Value("float", -a.expr, words, narrow=a.narrow, literal=literal)
    return _exact("-", whole_literal(0, "0"), a, words)


def absolute(a: Value) -> Value:
    words = f"ABS({a.words})"
    early = checked((a,), words)
    if early:
        return early
    if a.kind == "float":
        return Value("float", a.expr.abs(), words, narrow=a.narrow)
    low, high = (0 if a.low <= 0 <= a.high else min(abs(a.low), abs(a.high))), max(abs(a.low), abs(a.high))
    dtype = common_width(a, low=-high, high=high)
    if dtype is None:
        return Value("whole", pl.lit(None), words, low, high, beyond=in_python(abs, a))
    return Value("whole", a.expr.cast(dtype).abs(), words, low, high)


def of_double(name: str, function: Callable[..., pl.Expr], *values: Value) -> Value:
    """A function of doubles; what is no number is null."""
    words = f"{name}({', '.join(value.words for value in values)})"
    early = checked(values, words)
    if early:
        return early
    narrow = values[0].narrow and all(value.narrow or value.literal is not None for value in values)
    return Value("float", function(*map(as_float, values)).fill_nan(None), words, narrow=narrow)


def rounded(name: str, function: Callable[[pl.Expr], pl.Expr], a: Value) -> Value:
    """FLOOR, CEIL, ROUND, TRUNC: a whole number stays as it is."""
    early = checked((a,), f"{name}({a.words})")
    return early or (a if a.kind == "whole" else of_double(name, function, a))


def cut(x: pl.Expr) -> pl.Expr:
    """Towards zero."""
    return _cut(x)
