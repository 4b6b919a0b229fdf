"""JSON lines, plain, .gz, .zst or .bz2; nested values become JSON text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pyarrow as pa

from curate import json_rows
from curate.inputs import opened

EXTENSIONS = tuple(name + zipped for name in (".jsonl", ".ndjson", ".json") for zipped in ("", ".gz", ".zst", ".bz2"))

SEEKABLE = False

DECLARED = False

#: Lines looked at to learn the columns and their types.
SAMPLE_LINES = 10_000

BOM = b"\xef\xbb\xbf"


def _lines(file: str) -> Iterator[bytes]:
    with opened(file) as handle:
        first = handle.readline().removeprefix(BOM)
        yield from (line for line in itertools.chain([first], handle) if line.strip())


def schema(file: str) -> pa.Schema:
    """Columns and types as the first lines show them; what later lines have besides goes to `malformed`."""
    lines = itertools.islice(_lines(file), SAMPLE_LINES)
    return pa.schema(json_rows.fields([json_rows.parse(line) for line in lines]))


def count(file: str) -> int:
    return sum(1 for _ in _lines(file))


def read(file: str, start: int = 0, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on; empty lines are no rows."""
    columns = schema(file)
    lines = itertools.islice(_lines(file), start, None)
    while rows := [json_rows.parse(line) for line in itertools.islice(lines, batch_rows)]:
        yield json_rows.batch(rows, columns)
