"""JSON objects as Arrow columns: no number is rounded, nested values keep their type, nothing is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa

from curate.messages.remarks import Remarks
from curate.read.inputs import distinct
from curate.read.json_types import Seen, columns_of
from curate.record import MALFORMED
from curate.store.image_columns import is_image_column

_NULL = type(None)

#: Whole numbers that orjson may round: it reads those beyond 64 bits as doubles.
_LONG_NUMBER = re.compile(rb"[0-9]{19}")

_SURROGATE = re.compile("[\ud800-\udfff]")

#: The only types of Python values that an Arrow type takes; Arrow itself would make 1 of True.
_TYPES: dict[pa.DataType, set[type]] = {
    pa.null(): set(),
    pa.bool_(): {bool},
    pa.int64(): {int},
    pa.uint64(): {int},
    pa.float64(): {int, float},
    pa.large_string(): {str},
}


def is_exact(text: bytes) -> bool:
    """Whether orjson rounds no number of a text."""
    return _LONG_NUMBER.search(text) is None


def parse(line: bytes, remarks: Remarks | None = None, exact: bool | None = None) -> dict[str, Any]:
    """A JSON object, or {MALFORMED: the line} when it is none. A name that occurs twice has its last value.

    exact: what `is_exact` says of the line, where it is known for many lines at once.
    """
    try:
        value = orjson.loads(line) if exact or is_exact(line) else None
    except ValueError:
        value = None
    if value is None:
        text = line.decode("utf-8", "replace")
        try:
            # Also NaN, long numbers, line ends inside of strings, lone surrogates.
            value = clean(json.loads(text, strict=False), text, remarks)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            return {MALFORMED: text.rstrip("\r\n")}
    if not isinstance(value, dict):
        return {MALFORMED: line.decode("utf-8", "replace").rstrip("\r\n")}
    return named(value)


def named(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose own MALFORMED, if it has one, goes by another name."""
    if MALFORMED not in row:
        return row
    names = distinct(name for name in row if not is_image_column(name))
    place = iter(names)
    return {name if is_image_column(name) else next(place): value for name, value in row.items()}


def clean(value: Any, text: str, remarks: Remarks | None = None) -> Any:
    """A value whose strings are valid UTF-8: a lone surrogate (`\\ud83d`) is valid JSON, and becomes `?`."""
    if "\\u" not in text:
        return value
    cleaned = _clean(value)
    if remarks is not None and cleaned != value:
        remarks.add("row(s) with half a character (a lone surrogate), now '?'", example=text.strip())
    return cleaned


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("?", value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


def fields(rows: Sequence[dict[str, Any]]) -> list[tuple[str, pa.DataType]]:
    """Columns and types that hold the rows exactly; MALFORMED is the last."""
    seen: dict[str, Seen] = {}
    look(rows, seen)
    return types(seen)


def look(rows: Sequence[dict[str, Any]], seen: dict[str, Seen]) -> None:
    """Add what rows hold to what was seen of their columns. A key that is a name of ours makes no column: `batch` keeps
    it in MALFORMED."""
    for name, values in columns_of(rows).items():
        if name != MALFORMED and not is_image_column(name):
            seen.setdefault(name, Seen()).add(values)


def types(seen: dict[str, Seen]) -> list[tuple[str, pa.DataType]]:
    return [*((name, column.type()) for name, column in seen.items()), (MALFORMED, pa.large_string())]


def batch(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Rows in the schema's columns. What has no column or does not fit its type is kept in MALFORMED, as JSON.

    >>> kinds = pa.schema(fields([{"width": 3}]))
    >>> batch([{"width": 4}, {"width": "wide", "depth": 2}], kinds).to_pylist()
    [{'width': 4, 'malformed': None}, {'width': None, 'malformed': '{"depth": 2, "width": "wide"}'}]
    """
    known = set(schema.names)
    misfits = {i: {n: row[n] for n in row.keys() - known} for i, row in enumerate(rows) if not row.keys() <= known}
    columns = {}
    for field in schema:
        if field.name == MALFORMED:
            continue
        values = [row.get(field.name) for row in rows]
        columns[field.name] = _array(values, field.type)
        if columns[field.name] is None:
            columns[field.name], unfit = _fitting(values, field.type)
            for i in unfit:
                misfits.setdefault(i, {})[field.name] = values[i]
    malformed = [row.get(MALFORMED) for row in rows]
    for i, lost in misfits.items():
        if malformed[i] is not None:
            lost[MALFORMED] = malformed[i]
        malformed[i] = dict(sorted(lost.items()))
    columns[MALFORMED], _ = _fitting(malformed, pa.large_string())
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array | None:
    """All values at once; None when one of them is of another type or out of range."""
    if kind in _TYPES:
        fits = set(map(type, values)) <= _TYPES[kind] | {_NULL}
    else:
        if kind == pa.list_(pa.large_string()):
            values = [[value] if isinstance(value, str) else value for value in values]
        seen = Seen()
        seen.add(values)
        fits = _holds(kind, seen)
    if fits:
        try:
            return pa.array(values, kind)
        except (OverflowError, UnicodeEncodeError, pa.ArrowInvalid):
            pass
    return None


def _holds(kind: pa.DataType, seen: Seen) -> bool:
    """Whether a type has a place for all values of a column; Arrow says whether numbers are in its range."""
    if not seen.kinds or kind in _TYPES:
        return seen.kinds <= _TYPES.get(kind, set())
    if pa.types.is_list(kind):
        return seen.kinds == {list} and _holds(kind.value_type, seen.items or Seen())
    types = {field.name: field.type for field in kind}
    names = seen.keys or {}
    return seen.kinds == {dict} and not seen.too_many and all(n in types and _holds(types[n], names[n]) for n in names)


def _fitting(values: list[Any], kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    if pa.types.is_large_string(kind):
        return pa.array([None if v is None else _text(v) for v in values], kind), []
    unfit = [i for i, v in enumerate(values) if _array([v], kind) is None]
    kept = list(values)
    for i in unfit:
        kept[i] = None
    array = _array(kept, kind)
    assert array is not None
    return array, unfit


def _text(value: Any) -> str:
    """Text as it is, any other value as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")
