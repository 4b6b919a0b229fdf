"""JSON: lines, arrays, and objects that hold a table, plain or compressed; nested values keep their type."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator

import pyarrow as pa

from curate.arrays.arrow_columns import flat
from curate.errors import CurateError
from curate.messages.remarks import Remarks
from curate.read import json_documents, json_lines, json_rows, text_lines
from curate.read.inputs import MOST_COLUMNS, Scan, endings
from curate.read.json_documents import Row
from curate.read.json_types import Seen
from curate.record import MALFORMED

EXTENSIONS = endings(".jsonl", ".ndjson", ".json")

SEEKABLE = False

DECLARED = False

#: Rows looked at for the columns of `schema`; `scan` looks at all.
SAMPLE_ROWS = 10_000

#: Lines at the beginning of a file that show whether it has a value on each.
SAMPLE_LINES = 20


def _parts(file: str, remarks: Remarks, columns: Callable[[], pa.Schema]) -> Iterator[pa.Table | list[Row]]:
    """The rows of a file, in order: many as a table of `columns`, or (line, row) of each; {MALFORMED: text} of what is
    none."""
    blocks = text_lines.blocks(file, remarks)
    first = next(blocks, (1, b""))
    form = _form(first[1])
    if form == "lines":
        yield from json_lines.parts(itertools.chain([first], blocks), remarks, columns)
        return
    if form == "document":
        rows = _document(file, first, blocks, remarks)
    else:
        rows = json_documents.values(itertools.chain([first], blocks), remarks)
    while chunk := list(itertools.islice(rows, SAMPLE_ROWS)):
        yield chunk


def _look(part: pa.Table | list[Row], seen: dict[str, Seen]) -> None:
    """Add what rows hold to what was seen of their columns."""
    if isinstance(part, list):
        json_rows.look([row for _, row in part], seen)
        return
    for name in part.column_names:
        if name != MALFORMED:
            seen[name].add_column(flat(part[name]))


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
    seen, rest = dict[str, Seen](), SAMPLE_ROWS
    for part in _parts(file, Remarks(), lambda: _schema(seen, file)):
        _look(part[:rest], seen)
        rest -= len(part)
        if rest <= 0:
            break
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
    return scan(file).rows


def scan(file: str) -> Scan:
    """Columns and types of all rows, with the malformed ones counted."""
    remarks, seen, count = Remarks(), dict[str, Seen](), 0
    for part in _parts(file, remarks, lambda: _schema(seen, file)):
        count += len(part)
        for line, row in part if isinstance(part, list) else ():
            if MALFORMED in row:
                remarks.add("malformed", example=f"line {line}: {row[MALFORMED]}", place=(line,))
        _look(part, seen)
    schema = _schema(seen, file)
    for name, column in seen.items():
        if column.kinds - {str} and column.type() == pa.large_string():
            remarks.add(f"column(s) of values of different kinds, kept as JSON text: {name}", 1)
        elif column.kinds == {str, list}:
            remarks.add(f"column(s) of text and lists of text, kept as lists: {name}", 1)
    return Scan(count, schema, remarks)


def read(
    file: str, start: int = 0, batch_rows: int = 10_000, types: pa.Schema | None = None
) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on; empty lines are no rows. types: as `scan` says, where that is known."""
    columns = scan(file).schema if types is None else types
    waiting, rows, skip = list[pa.RecordBatch](), 0, start
    for part in _parts(file, Remarks(), lambda: columns):
        for batch in _batches(part, columns):
            waiting.append(batch.slice(skip))
            skip = max(0, skip - batch.num_rows)
            rows += waiting[-1].num_rows
        if rows >= batch_rows:
            table = pa.Table.from_batches(waiting, columns)
            whole = rows - rows % batch_rows
            for first in range(0, whole, batch_rows):
                yield from table.slice(first, batch_rows).combine_chunks().to_batches()
            waiting, rows = table.slice(whole).to_batches(), rows - whole
    if rows:
        yield from pa.Table.from_batches(waiting, columns).combine_chunks().to_batches()


def _batches(part: pa.Table | list[Row], columns: pa.Schema) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = (
        [json_rows.batch([row for _, row in part], columns)] if isinstance(part, list) else part.to_batches()
    )
    return batches
