"""The functions that a condition may call: each looks at one row and gives the same value every time."""

from __future__ import annotations

import re
from collections.abc import Callable

import polars as pl

from curate.errors import nearest
from curate.filter.sql_compare import compare, joined
from curate.filter.sql_numbers import absolute, arithmetic, checked, cut, of_double, rounded
from curate.filter.sql_values import (
    ConditionError,
    Kind,
    Value,
    by_rows,
    in_python,
    null,
    refuse_kind,
    truth,
    unknown_value,
    whole_literal,
)

_LENGTH = (0, 1 << 32)


def text(value: Value) -> Value:
    if value.kind not in ("text", "any", "null"):
        raise refuse_kind(value, "a text")
    return value


def of_text(
    name: str, kind: Kind, function: Callable[..., pl.Expr], *values: Value, bounds: tuple[int, int] = (0, 0)
) -> Value:
    """A function of texts; null where one of them is null."""
    words = f"{name}({', '.join(value.words for value in values)})"
    kinds = {text(value).kind for value in values}
    if "null" in kinds:
        return truth(pl.lit(None, pl.Boolean), words) if kind == "truth" else null(words)
    if "any" in kinds:
        return unknown_value(words, kind)
    return Value(kind, function(*(value.expr for value in values)), words, *bounds)


def literal(value: Value, what: str) -> str:
    if value.literal is None:
        raise ConditionError(f"{what} must be a text in single quotes, got {value.words}")
    return str(value.literal)


def like(value: Value, pattern: Value, any_case: bool) -> Value:
    """LIKE: % stands for any text, _ for one character."""
    wild = {"%": ".*", "_": "."}
    parts = [
        wild.get(c) or re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", c) for c in literal(pattern, "the pattern of LIKE")
    ]
    regex = f"(?s{'i' if any_case else ''})^{''.join(parts)}$"
    return of_text("LIKE", "truth", lambda x: x.str.contains(regex), value)


def matches(value: Value, pattern: Value) -> Value:
    """REGEXP_LIKE: a regular expression of Rust's regex crate that fits anywhere in the text."""
    regex = literal(pattern, "a regular expression")
    try:
        pl.Series([""]).str.contains(regex)
    except pl.exceptions.PolarsError as error:
        raise ConditionError(f"{pattern.words} is no regular expression: {error}") from error
    return of_text("REGEXP_LIKE", "truth", lambda x: x.str.contains(regex), value)


def concatenated(*values: Value) -> Value:
    return of_text("CONCAT", "text", lambda *x: pl.concat_str(list(x)), *values)


def _places(value: Value, name: str, least: int = 0) -> int:
    """A number of characters, or a place among them."""
    if not isinstance(value.literal, int) or not least <= value.literal <= 1 << 31:
        raise ConditionError(f"{name} takes whole numbers of the condition from {least}, got {value.words}")
    return value.literal


def substring(value: Value, start: Value, length: Value | None = None) -> Value:
    """SUBSTR: characters from `start`, the first of which is 1."""
    first, size = _places(start, "SUBSTR", 1) - 1, None if length is None else _places(length, "SUBSTR")
    return of_text("SUBSTR", "text", lambda x: x.str.slice(first, size), value)


def head(value: Value, length: Value) -> Value:
    size = _places(length, "LEFT")
    return of_text("LEFT", "text", lambda x: x.str.slice(0, size), value)


def tail(value: Value, length: Value) -> Value:
    size = _places(length, "RIGHT")
    return of_text("RIGHT", "text", lambda x: x.str.tail(size), value)


def replaced(value: Value, old: Value, new: Value) -> Value:
    before, after = literal(old, "what REPLACE looks for"), literal(new, "what REPLACE puts there")
    return of_text("REPLACE", "text", lambda x: x.str.replace_all(before, after, literal=True), value)


def list_length(value: Value) -> Value:
    words = f"ARRAY_LENGTH({value.words})"
    if value.kind not in ("list", "any", "null"):
        raise refuse_kind(value, "a list")
    if value.kind != "list":
        return null(words) if value.kind == "null" else unknown_value(words, "whole")
    return Value("whole", value.expr.list.len(), words, *_LENGTH)


def list_contains(value: Value, item: Value) -> Value:
    words = f"ARRAY_CONTAINS({value.words}, {item.words})"
    if value.kind not in ("list", "any", "null"):
        raise refuse_kind(value, "a list")
    if item.literal is None:
        raise ConditionError(f"ARRAY_CONTAINS looks for a number or a text of the condition, got {item.words}")
    if value.kind != "list":
        return truth(pl.lit(None, pl.Boolean), words)
    kind = str if isinstance(item.literal, str) else (int, float)

    def holds(items: list[object] | None) -> bool | None:
        # Compared in Python: a list's numbers may be of any width, and its members of any kind.
        return None if items is None else any(isinstance(x, kind) and x == item.literal for x in items)

    return truth(by_rows(in_python(holds, Value("list", value.expr, value.words)), pl.Boolean), words)


def nothing_if(a: Value, b: Value) -> Value:
    """NULLIF(a, b): null where the two are equal, else a."""
    equal = compare("=", a, b)
    return joined([a], lambda x: pl.when(equal.expr.fill_null(False)).then(None).otherwise(x[0]), f"NULLIF({a.words})")


def sign(value: Value) -> Value:
    early = checked((value,), f"SIGN({value.words})")
    if early:
        return early
    zero = whole_literal(0, "0")
    plus, minus = compare(">", value, zero).expr, compare("<", value, zero).expr
    expr = pl.when(plus).then(1).when(minus).then(-1).when(plus.is_not_null()).then(0)
    return Value("whole", expr, f"SIGN({value.words})", -1, 1)


def logarithm(base: Value, value: Value | None = None) -> Value:
    """LOG(base, x), LOG10(x), LOG2(x); LOG(x) is that to the base 10."""
    number, of_base = (base, 10.0) if value is None else (value, base.literal)
    if not isinstance(of_base, (int, float)) or not 0 < of_base < 1e300 or of_base == 1:
        raise ConditionError("LOG takes its base first, a number: LOG(10, x)")
    return of_double("LOG", lambda x: pl.when(x > 0).then(x.log(float(of_base))), number)


def round_to(value: Value, digits: Value | None = None) -> Value:
    """ROUND(x), ROUND(x, digits): halves go to the even neighbour."""
    if digits is None:
        return rounded("ROUND", lambda x: x.round(), value)
    if not isinstance(digits.literal, int) or not 0 <= digits.literal <= 15:
        raise ConditionError("ROUND takes 0 to 15 digits: ROUND(x, 2)")
    return rounded("ROUND", lambda x: x.round(digits.literal), value)


def greatest(*values: Value) -> Value:
    """GREATEST: nulls are passed over."""
    return joined(_ordered(values), pl.max_horizontal, f"GREATEST({', '.join(v.words for v in values)})")


def least(*values: Value) -> Value:
    return joined(_ordered(values), pl.min_horizontal, f"LEAST({', '.join(v.words for v in values)})")


def _ordered(values: tuple[Value, ...]) -> tuple[Value, ...]:
    for value in values:
        if value.kind in ("list", "other", "truth"):
            raise refuse_kind(value, "something that has an order")
    return values


def coalesce(*values: Value) -> Value:
    return joined(values, pl.coalesce, f"COALESCE({', '.join(v.words for v in values)})")


def part_of_time(part: str, value: Value) -> Value:
    """EXTRACT(YEAR FROM t), YEAR(t): a whole number."""
    names = {"YEAR": "year", "MONTH": "month", "DAY": "day", "HOUR": "hour", "MINUTE": "minute", "SECOND": "second"}
    if part not in names:
        raise ConditionError(f"EXTRACT knows {', '.join(names)}, not {part}")
    words = f"{part}({value.words})"
    if value.kind not in ("time", "any", "null"):
        raise refuse_kind(value, "a time")
    if value.kind != "time" or value.raw is None:
        return null(words) if value.kind == "null" else unknown_value(words, "whole")
    return Value("whole", getattr(value.raw.dt, names[part])(), words, -(1 << 31), 1 << 31)


#: Name in SQL: (fewest, most arguments, what it does).
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Value]]] = {
    "ABS": (1, 1, absolute),
    "CEIL": (1, 1, lambda x: rounded("CEIL", lambda e: e.ceil(), x)),
    "FLOOR": (1, 1, lambda x: rounded("FLOOR", lambda e: e.floor(), x)),
    "ROUND": (1, 2, round_to),
    "TRUNC": (1, 1, lambda x: rounded("TRUNC", cut, x)),
    "SIGN": (1, 1, sign),
    "SQRT": (1, 1, lambda x: of_double("SQRT", lambda e: e.sqrt(), x)),
    "EXP": (1, 1, lambda x: of_double("EXP", lambda e: e.exp(), x)),
    "LN": (1, 1, lambda x: of_double("LN", lambda e: pl.when(e > 0).then(e.log()), x)),
    "LOG": (1, 2, logarithm),
    "POW": (2, 2, lambda x, y: of_double("POW", lambda a, b: a.pow(b), x, y)),
    "MOD": (2, 2, lambda x, y: arithmetic("%", x, y)),
    "GREATEST": (1, 99, greatest),
    "LEAST": (1, 99, least),
    "COALESCE": (1, 99, coalesce),
    "NULLIF": (2, 2, nothing_if),
    "LOWER": (1, 1, lambda x: of_text("LOWER", "text", lambda e: e.str.to_lowercase(), x)),
    "UPPER": (1, 1, lambda x: of_text("UPPER", "text", lambda e: e.str.to_uppercase(), x)),
    "LENGTH": (1, 1, lambda x: of_text("LENGTH", "whole", lambda e: e.str.len_chars(), x, bounds=_LENGTH)),
    "TRIM": (1, 1, lambda x: of_text("TRIM", "text", lambda e: e.str.strip_chars(), x)),
    "LTRIM": (1, 1, lambda x: of_text("LTRIM", "text", lambda e: e.str.strip_chars_start(), x)),
    "RTRIM": (1, 1, lambda x: of_text("RTRIM", "text", lambda e: e.str.strip_chars_end(), x)),
    "SUBSTR": (2, 3, substring),
    "LEFT": (2, 2, head),
    "RIGHT": (2, 2, tail),
    "REPLACE": (3, 3, replaced),
    "REVERSE": (1, 1, lambda x: of_text("REVERSE", "text", lambda e: e.str.reverse(), x)),
    "CONCAT": (1, 99, concatenated),
    "STARTS_WITH": (2, 2, lambda x, y: of_text("STARTS_WITH", "truth", lambda a, b: a.str.starts_with(b), x, y)),
    "ENDS_WITH": (2, 2, lambda x, y: of_text("ENDS_WITH", "truth", lambda a, b: a.str.ends_with(b), x, y)),
    "CONTAINS": (
        2,
        2,
        lambda x, y: of_text("CONTAINS", "truth", lambda a, b: a.str.contains(b, literal=True), x, y),
    ),
    "REGEXP_LIKE": (2, 2, matches),
    "ARRAY_LENGTH": (1, 1, list_length),
    "ARRAY_CONTAINS": (2, 2, list_contains),
    "YEAR": (1, 1, lambda x: part_of_time("YEAR", x)),
    "MONTH": (1, 1, lambda x: part_of_time("MONTH", x)),
    "DAY": (1, 1, lambda x: part_of_time("DAY", x)),
}

#: Other names of the same functions.
ALIASES = {
    "CEILING": "CEIL",
    "POWER": "POW",
    "LEN": "LENGTH",
    "CHAR_LENGTH": "LENGTH",
    "SUBSTRING": "SUBSTR",
    "IFNULL": "COALESCE",
    "NVL": "COALESCE",
    "LCASE": "LOWER",
    "UCASE": "UPPER",
    "TRUNCATE": "TRUNC",
    "STR_CONTAINS": "CONTAINS",
    "CARDINALITY": "ARRAY_LENGTH",
    "LIST_CONTAINS": "ARRAY_CONTAINS",
}


_LOOK_AT_OTHERS = """AVG MEAN SUM MIN MAX COUNT COUNT_IF FIRST LAST FIRST_VALUE LAST_VALUE NTH_VALUE ANY_VALUE MEDIAN
    MODE CORR STD STDDEV STDDEV_POP STDDEV_SAMP VAR VARIANCE VAR_POP VAR_SAMP COVAR COVAR_POP COVAR_SAMP QUANTILE
    QUANTILE_CONT QUANTILE_DISC PERCENTILE_CONT PERCENTILE_DISC APPROX_QUANTILE APPROX_COUNT_DISTINCT LIST GROUP_CONCAT
    ROW_NUMBER RANK DENSE_RANK PERCENT_RANK CUME_DIST NTILE LAG LEAD CUM_SUM BOOL_AND BOOL_OR ARG_MIN ARG_MAX PRODUCT"""
_CLOCKS_AND_DICE = "NOW RANDOM RAND UUID GETDATE TODAY SYSDATE CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP LOCALTIME"

#: Refused like all that is not listed, in words of their own.
OTHER_ROWS = frozenset(_LOOK_AT_OTHERS.split())
NOT_THE_SAME_TWICE = frozenset(_CLOCKS_AND_DICE.split())


def call(name: str, values: list[Value]) -> Value:
    """A function by its name, in any case.

    Raises:
        ConditionError: for a function that is not listed, a wrong number of arguments, or one of the wrong kind.
    """
    name = name.upper()
    if name in OTHER_ROWS or name.endswith("_AGG"):
        also = "; GREATEST and LEAST compare columns" if name in ("MAX", "MIN") else ""
        raise ConditionError(f"a condition looks at one row, {name} at others; see `top`{also}")
    if name in NOT_THE_SAME_TWICE:
        raise ConditionError(f"{name} has another value at each run")
    name = ALIASES.get(name, name)
    if name not in FUNCTIONS:
        raise ConditionError(f"no function {name}{nearest(name, [*FUNCTIONS, *ALIASES])} in conditions")
    fewest, most, function = FUNCTIONS[name]
    if not fewest <= len(values) <= most:
        number = f"{fewest}" if fewest == most else f"{fewest} or more" if most == 99 else f"{fewest} to {most}"
        raise ConditionError(f"{name} takes {number} arguments, got {len(values)}")
    return function(*values)
