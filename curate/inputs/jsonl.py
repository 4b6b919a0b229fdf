"""JSON lines, plain, .gz or .zst; nested values become JSON text."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import fsspec
import pyarrow as pa

EXTENSIONS = tuple(name + zipped for name in (".jsonl", ".ndjson", ".json") for zipped in ("", ".gz", ".zst", ".bz2"))

SEEKABLE = False

#: Lines looked at to learn the columns and their types.
SAMPLE_LINES = 10_000

#: Column that holds a line which is not a JSON object; such a row has no url and no text.
MALFORMED = "malformed"


def _lines(file: str) -> Iterator[bytes]:
    with fsspec.open(file, "rb", compression="infer") as handle:
        for line in handle:
            if line.strip():
                yield line


def _row(line: bytes) -> dict[str, Any]:
    text = line.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {MALFORMED: text.rstrip("\n")}


def _kind(values: list[Any]) -> pa.DataType:
    kinds = {type(v) for v in values if v is not None}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    if kinds and kinds <= {int, float}:
        return pa.float64()
    return pa.large_string()


def schema(file: str) -> pa.Schema:
    """Columns and types as the first lines show them; later values that do not fit are null, or text in a text column."""
    rows = [_row(line) for line in itertools.islice(_lines(file), SAMPLE_LINES)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    kinds = {name: _kind([row.get(name) for row in rows]) for name in names}
    return pa.schema([(n, kinds[n]) for n in names if n != MALFORMED] + [(MALFORMED, pa.large_string())])


def count(file: str) -> int:
    return sum(1 for _ in _lines(file))


def read(file: str, start: int = 0, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on."""
    fields = schema(file)
    lines = itertools.islice(_lines(file), start, None)
    while chunk := [_row(line) for line in itertools.islice(lines, batch_rows)]:
        columns = [_column([row.get(field.name) for row in chunk], field.type) for field in fields]
        yield pa.record_batch(columns, schema=fields)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_large_string(kind):
        return pa.array([_as_text(v) for v in values], kind)
    wanted: tuple[type, ...] = {pa.bool_(): (bool,), pa.int64(): (int,), pa.float64(): (int, float)}[kind]
    return pa.array([v if type(v) in wanted else None for v in values], kind)


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # A lone surrogate (`\\ud83d`) is valid JSON and no valid UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8")
