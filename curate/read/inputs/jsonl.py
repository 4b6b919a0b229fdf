"""JSON: lines, arrays, and objects that hold a table, plain or compressed; nested values keep their type."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from curate.errors import CurateError
from curate.messages.remarks import Remarks
from curate.read import json_documents, json_rows, text_lines
from curate.read.inputs import MOST_COLUMNS, Scan, endings
from curate.read.json_types import Seen
from curate.record import MALFORMED

EXTENSIONS = endings(".jsonl", ".ndjson", ".json")

SEEKABLE = False

DECLARED = False

#: Rows looked at for the columns of `schema`; `scan` looks at all.
SAMPLE_ROWS = 10_000

#: Lines at the beginning of a file that show whether it has a value on each.
SAMPLE_LINES = 20

Row = tuple[int, dict[str, Any]]


def _rows(file: str, remarks: Remarks) -> Iterator[Row]:
    """(line, row) of every row; {MALFORMED: text} of what is none."""
    blocks = text_lines.blocks(file, remarks)
    first = next(blocks, (1, b""))
    form = _form(first[1])
    if form == "document":
        yield from _document(file, first, blocks, remarks)
    elif form == "values":
        yield from json_documents.values(itertools.chain([first], blocks), remarks)
    else:
        for number, block in itertools.chain([first], blocks):
            exact = json_rows.is_exact(block)
            for place, line in enumerate(block.split(b"\n"), number):
                if line.strip():
                    yield place, json_rows.parse(line, remarks, exact)


def _form(block: bytes) -> str:
    """How values lie in a file, as its first block shows: `lines`, `values` that span lines, or one `document`."""
    lines = [line for line in block.split(b"\n", 10 * SAMPLE_LINES)[: 10 * SAMPLE_LINES] if line.strip()]
    start = block.lstrip()[:1]
    if start == b"[":
        return "lines" if len(lines) > 1 and _whole(lines[0]) else "values"
    if start != b"{":
        return "lines"
    objects = [MALFORMED not in json_rows.parse(line) for line in lines[:SAMPLE_LINES]]
    if len(lines) == 1:
        return "document"
    return "lines" if any(objects) or block.count(b"\n") < 1 else "document"


def _whole(line: bytes) -> bool:
    """Whether a line is a JSON value by itself."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _document(
    file: str, first: tuple[int, bytes], blocks: Iterator[tuple[int, bytes]], remarks: Remarks
) -> Iterator[Row]:
    """Rows of one object that spans the file; where it is none, the values one after the other, else the lines."""
    pieces, size = [first], len(first[1])
    for piece in blocks:
        pieces.append(piece)
        size += len(piece[1])
        if size > json_documents.MOST_BYTES:
            raise CurateError(f"'{file}' is one JSON value of more than 2 GB: write it as JSON lines")
    data = b"".join(block for _, block in pieces)
    value = json_rows.parse(data.strip())
    if MALFORMED not in value:
        rows = json_documents.rows_of(value, file, remarks)
        yield from (
            (1, json_rows.named(row) if isinstance(row, dict) else {MALFORMED: json.dumps(row)}) for row in rows
        )
        return
    documents = list(itertools.islice(json_documents.values([(1, data)], Remarks()), 1))
    if documents and MALFORMED not in documents[0][1]:
        yield from json_documents.values([(1, data)], remarks)
        return
    for place, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            yield place, json_rows.parse(line, remarks)


def schema(file: str) -> pa.Schema:
    """Columns and types as the first rows show them."""
    rows = [row for _, row in itertools.islice(_rows(file, Remarks()), SAMPLE_ROWS)]
    seen: dict[str, Seen] = {}
    json_rows.look(rows, seen)
    return _schema(seen, file)


def _schema(seen: dict[str, Seen], file: str) -> pa.Schema:
    if len(seen) > MOST_COLUMNS:
        some = ", ".join(list(seen)[:3])
        raise CurateError(
            f"'{file}' has more than {MOST_COLUMNS:,} different names in its objects ({some} ...): names that are data "
            'belong into a list of objects, e.g. {"name": ..., "value": ...}'
        )
    return pa.schema(json_rows.types(seen))


def count(file: str) -> int:
    return sum(1 for _ in _rows(file, Remarks()))


def scan(file: str) -> Scan:
    """Columns and types of all rows, with the malformed ones counted."""
    remarks, seen, count = Remarks(), dict[str, Seen](), 0
    rows = _rows(file, remarks)
    while chunk := list(itertools.islice(rows, SAMPLE_ROWS)):
        count += len(chunk)
        for line, row in chunk:
            if MALFORMED in row:
                remarks.add("malformed", example=f"line {line}: {row[MALFORMED]}", place=(line,))
        json_rows.look([row for _, row in chunk], seen)
        _schema(seen, file)
    for name, column in seen.items():
        if column.kinds - {str} and column.type() == pa.large_string():
            remarks.add(f"column(s) of values of different kinds, kept as JSON text: {name}", 1)
        elif column.kinds == {str, list}:
            remarks.add(f"column(s) of text and lists of text, kept as lists: {name}", 1)
    return Scan(count, _schema(seen, file), remarks)


def read(
    file: str, start: int = 0, batch_rows: int = 10_000, types: pa.Schema | None = None
) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on; empty lines are no rows. types: as `scan` says, where that is known."""
    columns = scan(file).schema if types is None else types
    rows = itertools.islice((row for _, row in _rows(file, Remarks())), start, None)
    while chunk := list(itertools.islice(rows, batch_rows)):
        yield json_rows.batch(chunk, columns)
