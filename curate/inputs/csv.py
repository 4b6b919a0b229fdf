"""CSV and TSV files with a header line, plain, .gz, .zst or .bz2; every value stays the text it was."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator

import pyarrow as pa

from curate.inputs import MALFORMED, distinct, opened

EXTENSIONS = tuple(name + zipped for name in (".csv", ".tsv") for zipped in ("", ".gz", ".zst", ".bz2"))

SEEKABLE = False

DECLARED = True

#: A quoted field spans at most this many lines; a longer one is a stray quote.
MOST_LINES = 1000

# The module's own limit of 128 KB ends a file at the first long caption.
csv.field_size_limit(1 << 30)

#: The fields of a line, or the line itself where it has not as many as the header.
Row = list[str] | str


class _Lines:
    """Lines of a file; those that the parser took for one row can be given back."""

    def __init__(self, source: Iterator[str]):
        self.source, self.again = source, list[str]()
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        taken, again, source = self.taken, self.again, self.source
        while len(taken) < MOST_LINES:
            line = again.pop() if again else next(source, None)
            if line is None:
                return
            taken.append(line)
            yield line


def _rows(file: str) -> Iterator[Row]:
    """The header (a list), then every row. Empty lines are none."""
    separator = "\t" if ".tsv" in file.lower() else ","
    with opened(file) as handle:
        text = io.TextIOWrapper(handle, "utf-8-sig", "replace", newline="")
        yield from _parsed(_Lines(iter(text)), separator)


def _parsed(lines: _Lines, separator: str) -> Iterator[Row]:
    """Rows by the strict rules of CSV; a line that breaks them is parsed by itself, so that it spoils no other."""
    reader, width, taken = csv.reader(iter(lines), delimiter=separator, strict=True), 0, lines.taken
    while True:
        try:
            fields = next(reader, None)
        except csv.Error:
            fields = []
        if fields is None:
            return
        if fields and len(fields) == (width or len(fields)):
            width = len(fields)
            yield fields
        elif taken and (fields or taken[0].strip()):
            lines.again += reversed(taken[1:])
            row = _alone(taken[0], separator, width)
            width = width or len(row)
            yield row
            if len(taken) > 1:
                reader = csv.reader(iter(lines), delimiter=separator, strict=True)
        taken.clear()


def _alone(line: str, separator: str, width: int) -> Row:
    """One line with quotes taken as letters, else with quotes as they come; else as it is."""
    bare = line.rstrip("\r\n")
    for quoting in (csv.QUOTE_NONE, csv.QUOTE_MINIMAL):
        try:
            fields = next(csv.reader([bare], delimiter=separator, quoting=quoting), [])
        except csv.Error:
            continue
        if len(fields) == width or not width:
            return fields
    return bare


def _names(rows: Iterator[Row]) -> list[str]:
    """The header's names, made distinct; a column without a name gets its place for one."""
    header = next(rows, [])
    given = [header] if isinstance(header, str) else [name.strip() for name in header]
    return distinct(name or f"column_{place}" for place, name in enumerate(given, 1))


def schema(file: str) -> pa.Schema:
    names = _names(_rows(file))
    return pa.schema([(name, pa.large_string()) for name in dict.fromkeys([*names, MALFORMED])])


def count(file: str) -> int:
    return max(0, sum(1 for _ in _rows(file)) - 1)


def read(file: str, start: int = 0, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on, all columns as text, an empty field as null."""
    rows = _rows(file)
    names = _names(rows)
    rest = itertools.islice(rows, start, None)
    nothing = [""] * len(names)
    while chunk := list(itertools.islice(rest, batch_rows)):
        columns = zip(*(nothing if isinstance(row, str) else row for row in chunk), strict=True)
        found = {n: pa.array([v or None for v in c], pa.large_string()) for n, c in zip(names, columns, strict=True)}
        lines = pa.array([row if isinstance(row, str) else None for row in chunk], pa.large_string())
        found[MALFORMED] = lines if MALFORMED not in found else found[MALFORMED].fill_null(lines)
        yield pa.record_batch(found)
