"""JSON objects as Arrow columns: types learnt from some of them, and nothing lost of those that do not fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from curate.image_columns import is_image_column
from curate.inputs import MALFORMED

_TYPES: dict[pa.DataType, set[type]] = {
    pa.null(): set(),
    pa.bool_(): {bool},
    pa.int64(): {int},
    pa.float64(): {int, float},
    pa.large_string(): {str},
}
_NULL = type(None)


def parse(line: bytes) -> dict[str, Any]:
    """A JSON object, or {MALFORMED: the line} when it is none."""
    text = line.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {MALFORMED: text.rstrip("\r\n")}


def fields(rows: Sequence[dict[str, Any]]) -> list[tuple[str, pa.DataType]]:
    """Columns and types that hold the rows: null, bool, int64, float64, or text; nested values become JSON text.

    A key that no column can be called (a lone surrogate, one of our own) makes none: `batch` keeps it in MALFORMED.
    """
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    values.pop(MALFORMED, None)
    kinds = {name: _kind(found) for name, found in values.items() if _valid(name) == name and not is_image_column(name)}
    return [*kinds.items(), (MALFORMED, pa.large_string())]


def _kind(values: list[Any]) -> pa.DataType:
    have = set(map(type, values)) - {_NULL}
    for kind, types in _TYPES.items():
        if have <= types and _array(values, kind) is not None:
            return kind
    return pa.large_string()


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
    if set(map(type, values)) <= _TYPES[kind] | {_NULL}:
        try:
            return pa.array(values, kind)
        except (OverflowError, UnicodeEncodeError, pa.ArrowInvalid):
            pass
    return None


def _fitting(values: list[Any], kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    if pa.types.is_large_string(kind):
        return pa.array([None if v is None else _valid(v) for v in values], kind), []
    unfit = [i for i, v in enumerate(values) if _array([v], kind) is None]
    kept = list(values)
    for i in unfit:
        kept[i] = None
    return pa.array(kept, kind), unfit


def _valid(value: Any) -> str:
    """Text that Arrow takes: a lone surrogate (`\\ud83d`) is valid JSON and no valid UTF-8."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")
