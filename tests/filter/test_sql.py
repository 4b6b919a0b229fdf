"""Conditions against an oracle in plain Python: three-valued, whole numbers without bounds; and what is refused."""

from __future__ import annotations

import math
import operator
from datetime import date, datetime, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import CurateError
from curate.filter.decide import decide
from curate.filter.rule import Filter
from curate.filter.sql import condition, conjuncts
from curate.filter.sql_values import ConditionError

WHOLE = {
    "i8": pl.Int8,
    "i16": pl.Int16,
    "i32": pl.Int32,
    "i64": pl.Int64,
    "u8": pl.UInt8,
    "u16": pl.UInt16,
    "u32": pl.UInt32,
    "u64": pl.UInt64,
}
TYPES = {**WHOLE, "f": pl.Float64, "s": pl.String, "t": pl.Boolean}


def bounds(name: str) -> tuple[int, int]:
    bits = int(name[1:])
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if name[0] == "i" else (0, (1 << bits) - 1)


def whole_values(name: str):
    low, high = bounds(name)
    near = [low, low + 1, high, high - 1, 0, 1, 2, 3, 100]
    return st.none() | st.sampled_from([x for x in near if low <= x <= high]) | st.integers(low, high)


ROWS = st.fixed_dictionaries(
    {
        **{name: whole_values(name) for name in WHOLE},
        "f": st.none()
        | st.sampled_from([0.5, -0.5, 2.0**53, 2.0**63, -(2.0**64), 1e30, math.inf, -math.inf, math.nan]),
        "s": st.none() | st.sampled_from(["", "a", "b", "A", "en", "it's", "é"]),
        "t": st.none() | st.booleans(),
    }
)


# ---- the oracle: (SQL, function of a row) ----


def nulls(function):
    """Null where an argument is."""
    return lambda *values: None if any(value is None for value in values) else function(*values)


def cut_quotient(a, b):
    return None if b == 0 else int(math.copysign(1, a) * math.copysign(1, b)) * (abs(a) // abs(b)) if a else 0


def remainder(a, b):
    return None if b == 0 else a - b * cut_quotient(a, b)


def both(a, b):
    return False if a is False or b is False else None if a is None or b is None else True


def either(a, b):
    return True if a is True or b is True else None if a is None or b is None else False


def clean(value):
    return None if isinstance(value, float) and math.isnan(value) else value


def column(name):
    return name, lambda row: clean(row[name])


def literal(number):
    return str(number), lambda row: number


LITERALS = st.sampled_from([0, 1, 2, 3, 100, 127, 255, 2**31, 2**63 - 1, 2**63, 2**64, 2**127, 10**40]) | st.integers(
    0, 300
)


def apply(sql, function, *parts):
    return sql.format(*(part[0] for part in parts)), lambda row: function(*(part[1](row) for part in parts))


ARITHMETIC = {
    "({} + {})": nulls(operator.add),
    "({} - {})": nulls(operator.sub),
    "({} * {})": nulls(operator.mul),
    "({} // {})": nulls(cut_quotient),
    "({} % {})": nulls(remainder),
}
COMPARISONS = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@st.composite
def wholes(draw, depth=3):
    kind = draw(st.integers(0, 6 if depth else 1))
    if kind == 0:
        return literal(draw(LITERALS))
    if kind == 1:
        return column(draw(st.sampled_from(sorted(WHOLE))))
    if kind == 2:
        return apply("(-{})", nulls(operator.neg), draw(wholes(depth - 1)))
    if kind == 3:
        return apply("ABS({})", nulls(abs), draw(wholes(depth - 1)))
    sql = draw(st.sampled_from(sorted(ARITHMETIC)))
    return apply(sql, ARITHMETIC[sql], draw(wholes(depth - 1)), draw(wholes(depth - 1)))


@st.composite
def numbers(draw):
    if draw(st.integers(0, 5)):
        return draw(wholes())
    if draw(st.booleans()):
        return column("f")
    return draw(
        st.sampled_from([("0.5", lambda row: 0.5), ("-1e30", lambda row: -1e30), ("9.5e18", lambda row: 9.5e18)])
    )


@st.composite
def truths(draw, depth=3):  # noqa: PLR0911
    kind = draw(st.integers(0, 10 if depth else 5))
    if kind <= 2:
        sign = draw(st.sampled_from(sorted(COMPARISONS)))
        return apply(f"({{}} {sign} {{}})", nulls(COMPARISONS[sign]), draw(numbers()), draw(numbers()))
    if kind == 3:
        return apply("({} IS NULL)", lambda value: value is None, draw(numbers()))
    if kind == 4:
        low = apply("{}", lambda value: value, draw(wholes(1)))
        parts = draw(wholes(2)), low, draw(wholes(1))
        return apply(
            "({} BETWEEN {} AND {})", lambda x, a, b: both(nulls(operator.ge)(x, a), nulls(operator.le)(x, b)), *parts
        )
    if kind == 5:
        text = draw(st.sampled_from(["a", "en", "it's", "é"]))
        sql = f"(s = '{text}')".replace("it's", "it''s")
        return sql, lambda row: None if row["s"] is None else row["s"] == text
    if kind == 6:
        return apply("(NOT {})", nulls(operator.not_), draw(truths(depth - 1)))
    if kind == 7:
        items = draw(st.lists(LITERALS, min_size=1, max_size=3))
        sql = f"({{}} IN ({', '.join(map(str, items))}))"
        return apply(sql, nulls(lambda value: value in items), draw(wholes(2)))
    if kind == 8:
        return column("t")
    word, join = draw(st.sampled_from([("AND", both), ("OR", either)]))
    return apply(f"({{}} {word} {{}})", join, draw(truths(depth - 1)), draw(truths(depth - 1)))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(truths(), st.lists(ROWS, min_size=1, max_size=6))
def test_every_verdict_is_that_of_plain_python(pair, rows):
    sql, oracle = pair
    table = pl.DataFrame(rows, schema=TYPES)
    decided = table.with_columns(verdict=condition(sql).expression(dict(table.schema)))["verdict"].to_list()
    assert decided == [oracle(row) for row in rows]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(truths(1), min_size=1, max_size=4), st.lists(ROWS, min_size=1, max_size=4))
def test_the_reason_is_the_first_condition_that_is_not_true(pairs, rows):
    rule = Filter(name="f", keep=[{"if": sql, "else": f"r{i}"} for i, (sql, _) in enumerate(pairs)])
    expected = []
    for row in rows:
        values = [oracle(row) for _, oracle in pairs]
        first = next((i for i, value in enumerate(values) if value is not True), None)
        reason = None if first is None else f"r{first}" + (" (no value)" if values[first] is None else "")
        expected.append((reason is None, reason))
    assert decide(pl.DataFrame(rows, schema=TYPES), rule).rows() == expected


# ---- by hand ----


def verdict(sql: str, **values) -> list[bool | None]:
    table = pl.DataFrame(values)
    return table.with_columns(verdict=condition(sql).expression(dict(table.schema)))["verdict"].to_list()


@pytest.mark.parametrize(
    ("sql", "dtype", "value"),
    [
        ("n - 5 < 100", pl.UInt32, 1),
        ("n * 3 >= 150", pl.UInt8, 100),
        ("n * n > 2147483648", pl.Int32, 60_000),
        ("n * n > 9223372036854775807", pl.Int64, 4_000_000_000),
        ("n * n * n * n > 0", pl.Int64, 2**62),
        ("-n < 0", pl.UInt8, 200),
        ("-n > 127", pl.Int8, -128),
        ("ABS(n) = 128", pl.Int8, -128),
        ("-n > 9223372036854775807", pl.Int64, -(2**63)),
        ("n + 1 > 18446744073709551615", pl.UInt64, 2**64 - 1),
        ("n > -1", pl.UInt64, 2**63),
        ("n < 300", pl.UInt8, 255),
        ("n BETWEEN -5 AND 500", pl.Int8, 127),
        ("n IN (300, 44, 7)", pl.UInt8, 7),
        ("n <> 300", pl.UInt8, 44),
        ("CAST(n AS BIGINT) * 2 = 400", pl.UInt8, 200),
        ("CAST(n AS TINYINT) IS NULL", pl.UInt8, 200),
        ("CAST(n AS HUGEINT) * n > 0", pl.Int64, 2**62),
        ("CASE WHEN n > 5 THEN n ELSE -1 END * 2 = 400", pl.UInt8, 200),
        ("COALESCE(n, 70000) + 1 = 256", pl.UInt8, 255),
        ("GREATEST(n, 70000) = 70000", pl.UInt8, 255),
        ("LEAST(n, -1) = -1", pl.UInt8, 255),
        ("n // 2 = 127", pl.UInt8, 255),
        ("n % 7 = -1", pl.Int8, -8),
        ("n // 7 = -1", pl.Int8, -8),
        ("n / 2 = -3.5", pl.Int8, -7),
        ("n / 0 IS NULL AND n % 0 IS NULL AND n // 0 IS NULL", pl.Int64, 3),
        ("n < 9223372036854775807.5", pl.Int64, 2**63 - 1),
        ("CAST(n AS DOUBLE) = 9007199254740992", pl.Int64, 2**53),
        ("n > 9007199254740992", pl.Int64, 2**53 + 1),
        ("SIGN(n) = -1", pl.Int8, -3),
        ("NOT NOT (n > 3)", pl.Int8, 4),
    ],
)
def test_whole_numbers_do_not_wrap(sql, dtype, value):
    assert verdict(sql, n=pl.Series([value, None], dtype=dtype))[0] is True


def test_whole_numbers_of_two_types():
    a, b = pl.Series([-1, 2**53 + 1], dtype=pl.Int64), pl.Series([2**64 - 1, 2**53], dtype=pl.UInt64)
    assert verdict("a < b", a=a, b=b) == [True, False]
    assert verdict("a - b < 0", a=a, b=b) == [True, False]
    assert verdict("a = f", a=a, f=[-1.0, 2.0**53]) == [True, False], "as Python compares an int with a float"


def test_a_float32_column_meets_numbers_as_they_are_written():
    stored = pl.Series([0.28, 0.7, None], dtype=pl.Float32)
    assert verdict("x >= 0.28", x=stored) == [True, True, None]
    assert verdict("x = 0.7", x=stored) == [False, True, None]
    assert verdict("2 * x = 1.4", x=stored) == [False, True, None]
    assert verdict("x > y", x=stored, y=[0.28, 0.7, 0.1]) == [True, False, None], "two columns are compared as doubles"


def test_nan_is_null_wherever_it_comes_from():
    x = [math.inf, math.nan, 0.0]
    assert verdict("x - x = 0", x=x) == [None, None, True]
    assert verdict("SQRT(-x) >= 0", x=x) == [None, None, True]
    assert verdict("0 / x = 0", x=x) == [True, None, None]
    assert verdict("LN(x) > 0", x=x) == [True, None, None]


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        ("s LIKE '%e_'", ["en"]),
        ("s NOT LIKE '%e%'", ["", "x.y", "A\nB"]),
        ("s LIKE 'x.y'", ["x.y"]),
        ("s ILIKE 'a%b'", ["A\nB"]),
        ("s ~ '^[a-z.]+$'", ["en", "x.y"]),
        ("REGEXP_LIKE(s, 'n$')", ["en"]),
        ("LENGTH(s) = 2", ["en"]),
        ("s || '!' = 'en!'", ["en"]),
        ("UPPER(s) = 'EN'", ["en"]),
        ("SUBSTR(s, 2) = 'n'", ["en"]),
        ("STARTS_WITH(s, 'x') OR ENDS_WITH(s, 'B')", ["x.y", "A\nB"]),
        ("CONTAINS(s, '.')", ["x.y"]),
        ("REPLACE(s, '.', '') = 'xy'", ["x.y"]),
        ("s IN ('en', 'de', NULL)", ["en"]),
        ("NOT s IN ('en', 'de')", ["", "x.y", "A\nB"]),
        ("s < 'e'", ["", "A\nB"]),
        ("s IS DISTINCT FROM 'en'", ["", "x.y", "A\nB", None]),
        ("CAST(s AS INT) IS NULL", ["en", "", "x.y", "A\nB", None]),
        ("LEFT(s, 1) = 'x' AND RIGHT(s, 1) = 'y'", ["x.y"]),
        ("(s = 'en') IS NOT TRUE", ["", "x.y", "A\nB", None]),
    ],
)
def test_texts(sql, kept):
    texts = ["en", "", "x.y", "A\nB", None]
    assert [text for text, true in zip(texts, verdict(sql, s=texts), strict=True) if true] == kept


def test_times():
    when = [datetime(2024, 5, 31, 10), datetime(1969, 12, 31, 23), None]
    for unit in ("ms", "us", "ns"):
        column = pl.Series(when, dtype=pl.Datetime(unit))
        assert verdict("t > '2024-05-31'", t=column) == [True, False, None]
        assert verdict("t = '2024-05-31 10:00:00'", t=column) == [True, False, None]
        assert verdict("CAST(t AS DATE) = DATE '1969-12-31'", t=column) == [False, True, None]
        assert verdict("YEAR(t) = 2024 AND EXTRACT(MONTH FROM t) = 5", t=column) == [True, False, None]
    zoned = pl.Series([datetime(2024, 5, 31, 12, tzinfo=timezone.utc)], dtype=pl.Datetime("us", "Asia/Tokyo"))
    assert verdict("t = '2024-05-31T21:00:00+09:00'", t=zoned) == [True]
    assert verdict(
        "d < '2024-06-01' AND d <= t", d=[date(2024, 5, 31)], t=pl.Series(when[:1], dtype=pl.Datetime("ms"))
    ) == [True]


def test_lists():
    assert verdict("ARRAY_LENGTH(e) > 1", e=[[1, 2], [], None]) == [True, False, None]
    assert verdict("ARRAY_CONTAINS(e, 2)", e=[[1, 2], [], None]) == [True, False, None]
    assert verdict("e IS NULL", e=[[1, 2], [], None]) == [False, False, True]


def test_decimals_and_columns_of_nothing():
    price = pl.Series(["0.10", "12345678901234567890.00", None]).cast(pl.Decimal(38, 2))
    assert verdict("p = 0.1", p=price) == [True, False, None]
    big = pl.Series(["12345678901234567891", None]).cast(pl.Decimal(20, 0))
    assert verdict("p > 12345678901234567890", p=big) == [True, None]
    assert verdict("n > 3 OR n IS NULL", n=pl.Series([None, None], dtype=pl.Null)) == [True, True]


def test_a_comment_stays_a_comment():
    assert conjuncts("words > 2 -- AND words > 40") == ["words > 2"]
    assert verdict("words > 2 -- AND words > 40", words=[3]) == [True]
    assert verdict("words > /* 40 AND */ 2", words=[3]) == [True]
    assert conjuncts("a > 1 -- AND c\n AND b > 2 /* OR d */") == ["a > 1", "b > 2"]
    assert [condition(sql).columns for sql in conjuncts("a > 1 -- AND c\n AND b > 2")] == [("a",), ("b",)]


#: Words of SQL that people have as columns.
NAMES = [
    "desc",
    "set",
    "comment",
    "key",
    "format",
    "offset",
    "status",
    "count",
    "order",
    "group",
    "user",
    "date",
    "text",
    "left",
    "row",
    "rank",
    "over",
    "size",
    "value",
    "source",
]


@pytest.mark.parametrize("name", NAMES)
def test_columns_may_be_called_like_words_of_sql(name):
    assert condition(f"{name} = 1").columns == (name,)
    assert condition(f"{name} = 1 AND a > 1").columns == (name, "a")


def test_long_conditions():
    n = pl.Series([5])
    assert verdict(" AND ".join(["n > 2"] * 300), n=n) == [True]
    assert verdict(" OR ".join([f"n = {i}" for i in range(300)]), n=n) == [True]
    with pytest.raises(ConditionError, match="nested too deeply"):
        condition("(" * 5000 + "n > 2" + ")" * 5000)


# ---- refused when it is read ----


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("FIRST_VALUE(words) > 8", "FIRST_VALUE at others"),
        ("ROW_NUMBER() <= 5", "ROW_NUMBER at others"),
        ("SUM/**/(x) > 1", "SUM at others"),
        ("sum (x) > 1", "SUM at others"),
        ('"SUM"(x) > 1', "SUM at others"),
        ("MAX(a, b) > 1", "GREATEST and LEAST compare columns"),
        ("x > (SELECT MAX(x) FROM self)", "a subquery at others"),
        ("words > ANY(SELECT 1)", "a subquery at others"),
        ("words IN (SELECT 1)", "a subquery at others"),
        ("EXISTS(SELECT 1)", "a subquery at others"),
        ("(SELECT 1)", "a subquery at others"),
        ("(SELECT 1) = 1", "a subquery at others"),
        ("LAG(x) OVER (ORDER BY y) > 1", "OVER at others"),
        ("x OVER () > 1", "not a SQL condition"),
        ("NOW() > t", "NOW has another value at each run"),
        ("CURRENT_DATE > t", "another value at each run|CURRENT_DATE"),
        ("CURRENT_TIMESTAMP() > t", "another value at each run"),
        ("RANDOM() > 0.5", "RANDOM has another value at each run"),
        ("read_csv('/etc/passwd') = 1", "no function READ_CSV"),
        ("LENGHT(s) > 1", r"no function LENGHT \(did you mean 'LENGTH'\?\)"),
        ("words; DROP TABLE x", "not a SQL condition"),
        ("a) OR (b", "parentheses do not match"),
        ("a, b", "parentheses do not match, or it holds a comma"),
        ("(a, b) = (1, 2)", "not known to conditions"),
        ("* = 1", r"\* is no column|not known"),
        ("a[1] = 1", "not known to conditions"),
        ("x.a > 1", "not known to conditions"),
        ("a > ?", "not known to conditions"),
        ("a > :limit", "not known to conditions"),
        ("a LIKE 'x' ESCAPE 'y'", "not known to conditions"),
        ("a BETWEEN SYMMETRIC 2 AND 1", "not known to conditions"),
        ("a > 1 AS b", "not known|not a SQL"),
        ("a = NULL", "write a IS NULL"),
        ("a <> NULL", "write a IS NOT NULL"),
        ('lang == "en"', "write = for ==, and a text in single quotes: lang = 'en'"),
        ("1 < a < 3", "1 < a is a truth value, 3 is a whole number"),
        ("'x'", "is a text, no condition"),
        ("3", "is a whole number, no condition"),
        ("3 AND a > 1", "3 is a whole number, no condition"),
        ("'a' + 1 > 2", "'a' is a text, not a number"),
        ("LENGTH(3) > 1", "3 is a whole number, not a text"),
        ("s ~ '('", "is no regular expression"),
        ("s LIKE t", "the pattern of LIKE must be a text in single quotes"),
        ("CAST(a AS BLOB) = 1", "no type VARBINARY in conditions"),
        ("a OR b XOR c", "need parentheses"),
        ("a >", "something is missing at its end"),
        ("", "is empty"),
        ("  ", "is empty"),
        ("-- a > 1", "not a SQL condition"),
        ("a > 1 b > 2", "cannot be read at"),
        ("LEFT(s, -1) = 'x'", "LEFT takes whole numbers of the condition from 0, got -1"),
        ("SUBSTR(s, 0) = 'x'", "SUBSTR takes whole numbers of the condition from 1, got 0"),
        ("RIGHT(s, 10000000000000000000000000000000000000000) = 'x'", "RIGHT takes whole numbers"),
        ("GREATEST() > 1", "GREATEST takes 1 or more arguments, got 0"),
    ],
)
def test_refused_before_any_work(sql, message):
    with pytest.raises(ConditionError, match=message) as error:
        condition(sql)
    assert "Error" not in str(error.value) and "polars" not in str(error.value)


TABLE = {
    "words": pl.UInt32,
    "lang": pl.String,
    "match": pl.Float32,
    "flag": pl.Boolean,
    "e": pl.List(pl.UInt32),
    "b": pl.Binary,
}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("words", "'words' is a whole number, no condition: compare it"),
        ("match", "is a number, no condition"),
        ("lang", "is a text, no condition"),
        ("words + 1", "no condition"),
        ("words AND match > 1", "words is a whole number, no condition"),
        ("NOT words", "no condition"),
        ("lang > 3", "lang is a text, 3 is a whole number: a text stands in single quotes, a number in none"),
        ("lang = 3", "a text stands in single quotes"),
        ("lang IN (1, 2)", "a text stands in single quotes"),
        ("words = '3'", "a text stands in single quotes"),
        ("words BETWEEN 1 AND 'x'", "a text stands in single quotes"),
        ("match > lang", "match is a number, lang is a text"),
        ("flag = 1", "a truth value stands alone, flag or NOT flag"),
        ("flag > TRUE", "not something that has an order"),
        ("lang + 1 > 2", "lang is a text, not a number"),
        ("-lang > 2", "lang is a text, not a number"),
        ("words LIKE 'x'", "words is a whole number, not a text"),
        ("LOWER(words) = 'x'", "words is a whole number, not a text"),
        ("e > 3", "e is a list, not something to compare"),
        ("b = 'x'", "neither a number nor a text"),
        ("ARRAY_LENGTH(words) > 1", "words is a whole number, not a list"),
        ("CASE WHEN words > 1 THEN lang ELSE 3 END = 'x'", "they are no choice"),
        ("COALESCE(lang, 3) = 'x'", "they are no choice"),
        ("CASE WHEN words THEN 1 ELSE 2 END = 1", "words is a whole number, no condition"),
        ("e", "is a list, no condition"),
    ],
)
def test_refused_by_the_types_of_the_columns(sql, message):
    types = {name: dtype() if isinstance(dtype, type) else dtype for name, dtype in TABLE.items()}
    with pytest.raises(ConditionError, match=message):
        condition(sql).expression(types)
    with pytest.raises(CurateError, match="filter f: "):
        decide(pl.DataFrame(schema=TABLE), Filter(name="f", where=sql))


#: Bits of conditions, right and wrong, that are thrown together.
BITS = [
    "words",
    "lang",
    "match",
    "flag",
    "e",
    "b",
    "'x'",
    '"lang"',
    "3",
    "0.5",
    "NULL",
    "TRUE",
    "(",
    ")",
    ",",
    "=",
    "==",
    "<>",
    "<",
    "AND",
    "OR",
    "NOT",
    "XOR",
    "IN",
    "BETWEEN",
    "LIKE",
    "~",
    "IS",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "||",
    "CAST(words",
    "AS",
    "TINYINT)",
    "ABS(",
    "LENGTH(",
    "COALESCE(",
    "SUM(",
    "SELECT",
    "FROM",
    "--",
    "/*",
    "*/",
    ";",
    ".",
    "[",
    "]",
    "?",
    ":",
    "'",
    "`",
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(BITS), max_size=9).map(" ".join) | st.text(max_size=12))
def test_nothing_but_a_sentence_comes_of_any_text(sql):
    types = {name: dtype() if isinstance(dtype, type) else dtype for name, dtype in TABLE.items()}
    rows = {"words": [3, None], "lang": ["en", None], "match": [0.5, None], "flag": [True, None], "e": [[1], None]}
    try:
        conjuncts(sql)
        condition(sql).expression(types)
    except ConditionError:
        return
    table = pl.DataFrame({**rows, "b": [b"x", None]}, schema=types)
    if set(condition(sql).columns) <= set(types):
        assert decide(table, Filter(name="f", keep=[{"if": sql, "else": "r"}])).height == 2
