"""The json of samples is what `json.dumps` writes of each of them, whatever the columns hold."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.write.sample_json import sample_json, values_of

#: Every character that JSON escapes, and those around them; then what other encoders escape, and where UTF-8 grows.
STRINGS = [
    *map(chr, range(0x100)),
    "".join(map(chr, range(0x80))),
    *"\u07ff\u0800\u2028\u2029\ud7ff\ue000\ufeff\ufffd\uffff\U00010000\U0001f600\U0010ffff",
    "",
    'a "quoted" \\ path\n\ttwo\r\n</script>/',
    "e\u0301 \u202e",
]
FLOATS = [
    *(0.0, -0.0, 1.0, -1.5, 0.1, 1 / 3, 2 / 3, 100.0, 1e15, 1e16, 1e17, 123456789012345680.0, 1e21, 1e22, 1e23, 1e100),
    *(1e-3, 1e-4, 1e-5, 1.5e-5, 1e-6, 1e-7, 5e-324, 2.2250738585072014e-308, sys.float_info.max, -sys.float_info.max),
    *(9007199254740993.0, 9999999999999998.0, 0.30000000000000004, 1.7976931348623157e308, math.pi),
    *(math.nan, math.inf, -math.inf),
]


def plain(value: Any) -> Any:
    """What the json of a sample has always held."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def same_as_the_standard_library(table: pa.Table) -> None:
    expected = [json.dumps(plain(sample), ensure_ascii=False, allow_nan=False).encode() for sample in table.to_pylist()]
    assert list(map(bytes, sample_json(table))) == expected


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_strings(kind):
    same_as_the_standard_library(pa.table({"s": pa.array([*STRINGS, None], kind)}))
    same_as_the_standard_library(pa.table({"s": pa.array(["plain", "", None], kind)}))
    same_as_the_standard_library(pa.table({"s": pa.array([None, None], kind)}))


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
def test_floats(kind):
    most = {pa.float64(): math.inf, pa.float32(): 3.4e38, pa.float16(): 65504}[kind]
    values = [value for value in FLOATS if abs(value) <= most or not math.isfinite(value)]
    same_as_the_standard_library(pa.table({"f": pa.array([*values, None], pa.float64()).cast(kind, safe=False)}))


ODD = {
    "smallest": pa.array([-(2**63), 2**63 - 1, None]),
    "uint64": pa.array([0, 2**64 - 1, None], pa.uint64()),
    "int8": pa.array([-128, 65, None], pa.int8()),
    "bool": pa.array([True, False, None]),
    "null": pa.nulls(3),
    "bytes": pa.array([b"", b"\xff\x00", None]),
    "hash": pa.array([b"ab", b"\x00\x01", None], pa.binary(2)),
    "day": pa.array([datetime.date(1, 1, 1), datetime.date(2026, 11, 27), None]),
    "moment": pa.array([datetime.datetime(2026, 1, 2, 3, 4, 5, 6), datetime.datetime(1, 1, 1), None]),
    "zone": pa.array([datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), None, None]),
    "time": pa.array([datetime.time(1, 2, 3), datetime.time(0, 0, 0, 5), None]),
    "duration": pa.array([datetime.timedelta(days=1, microseconds=1), datetime.timedelta(0), None]),
    "decimal": pa.array([decimal.Decimal("1.50"), decimal.Decimal("-0.01"), None]),
    "list": pa.array([[], [1e16, None, math.nan], None], pa.list_(pa.float64())),
    "names": pa.array([['"', None], ["é\n"], None]),
    "object": pa.array([{"a": 1, "b": '"'}, {"a": None, "b": "\u2028"}, None]),
    "deep": pa.array([[{"box": [0.5, math.inf], "data": b"x"}], [], None]),
    "map": pa.array([[("a", 1), ("a", 2)], [], None], pa.map_(pa.string(), pa.int64())),
    "dictionary": pa.array(["x", '"', None]).dictionary_encode(),
    'odd "name"\n é': pa.array([1, 2, None]),
    "": pa.array(["", "a", None]),
    "%s {0} {": pa.array(["%s {0}", "%", None]),
}


@pytest.mark.parametrize("name", ODD)
def test_a_column_of_each_type(name):
    same_as_the_standard_library(pa.table({name: ODD[name]}))


def test_all_columns_in_their_order_and_in_several_pieces():
    table = pa.table(dict(reversed(ODD.items())))
    same_as_the_standard_library(table)
    same_as_the_standard_library(pa.concat_tables([table.slice(1), table, table.slice(2, 1)]).slice(1, 4))


@given(
    st.lists(
        st.tuples(st.none() | st.text(), st.none() | st.floats(), st.none() | st.integers(-(2**63), 2**63 - 1)),
        min_size=1,
        max_size=20,
    ),
    st.integers(0, 5),
)
@settings(deadline=None)
def test_any_values(rows, start):
    texts, floats, numbers = zip(*rows, strict=True)
    columns = [pa.array(texts, pa.string()), pa.array(floats, pa.float64()), pa.array(numbers, pa.int64())]
    same_as_the_standard_library(pa.table(dict(zip("tfn", columns, strict=True))).slice(start))


def test_a_string_that_is_not_utf8_is_refused():
    damaged = pa.array([b"a", b"\xff"]).view(pa.string())
    with pytest.raises(pa.ArrowInvalid, match="UTF8"):
        sample_json(pa.table({"s": damaged}))


def test_values_are_those_of_the_rows():
    strings = pa.array(["a", "", "é", "d"])
    assert list(map(bytes, values_of(strings))) == [b"a", b"", "é".encode(), b"d"]
    assert list(map(bytes, values_of(strings.slice(1, 2)))) == [b"", "é".encode()]
    assert values_of(strings.slice(4)) == []
