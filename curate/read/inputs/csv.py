"""CSV, TSV and lists of urls, plain or compressed; every value stays the text it was."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from curate.errors import CurateError
from curate.messages.remarks import Remarks
from curate.read import text_lines
from curate.read.csv_dialect import Dialect
from curate.read.csv_plain import Plain, plain
from curate.read.csv_rows import Block
from curate.read.inputs import MOST_COLUMNS, Scan, distinct, endings
from curate.record import MALFORMED

EXTENSIONS = endings(".csv", ".tsv", ".txt")

SEEKABLE = False

DECLARED = True

#: Separators, besides the one that the file's name promises, in the order in which they are tried.
SEPARATORS = (",", "\t", ";", "|")

#: Rows that show what separates the columns, and which of them hold URLs.
SAMPLE_ROWS = 200

_TSV = re.compile(r"\.(tsv|txt)(\.\w+)?$", re.IGNORECASE)

_TXT = re.compile(r"\.txt(\.\w+)?$", re.IGNORECASE)


@dataclass(frozen=True)
class _Layout:
    """names: of the columns; header: bytes and lines at the beginning of the file that are no rows."""

    names: list[str]
    dialect: Dialect
    header: tuple[int, int]


def _layout(file: str, data: bytes, remarks: Remarks) -> _Layout | None:
    """The layout that the first block of a file shows; None when it holds no line."""
    begin = data.lstrip(b"\r\n").split(b"\n", 1)[0]
    returns = 2 * data.count(b"\r\n") > data.count(b"\n") or begin.endswith(b"\r")
    lines = [line.removesuffix("\r" if returns else "") for line in _first_lines(data)]
    first = next((place for place, line in enumerate(lines) if line), None)
    if first is None:
        return None
    # What Excel writes above the header.
    separator_line = re.fullmatch(r"sep=(.)", lines[first]) if lines[first + 1 :] else None
    if separator_line and (not separator_line[1].isascii() or separator_line[1] == "\0"):
        raise CurateError(
            f"'{file}' says {lines[first]!r}, and columns are read that one ASCII character separates: write the file "
            "anew with ',' or a tab between them, and without that line"
        )
    first += bool(separator_line)
    sample = [line for line in lines[first + 1 :] if line][:SAMPLE_ROWS]
    usual = "\t" if _TSV.search(file) else ","
    # A list of urls: a comma is a letter of one.
    separator = (
        usual if _TXT.search(file) else separator_line[1] if separator_line else _separator(usual, lines[first], sample)
    )
    header = _fields(lines[first], separator)
    if len(header) > MOST_COLUMNS:
        raise CurateError(
            f"'{file}' has {len(header):,} columns, more than {MOST_COLUMNS:,}: is the separator {separator!r} right?"
        )
    dialect = Dialect(separator, len(header), bare=separator == "\t" and '"' not in lines[first], returns=returns)
    if separator != usual:
        remarks.add(f"file(s) with {separator!r} between the columns", 1)
    urls = any("://" in value for value in header)
    rows = [
        fields
        for line in ([lines[first]] if urls else []) + sample
        if (fields := dialect.fitted(dialect.lenient(line)))
    ]
    columns = range(dialect.width)
    dialect = replace(
        dialect, urls=frozenset(c for c in columns if sum("://" in row[c] for row in rows) > len(rows) / 4)
    )
    if urls:
        if not _TXT.search(file):
            place = (first + 1,)
            remarks.add("file(s) without a header line", 1, example=f"line {first + 1}: {lines[first]}", place=place)
        return _Layout(_unnamed(dialect), dialect, (0, 0))
    if _TXT.search(file) and dialect.width == 1:
        raise CurateError(f"'{file}' is no list of urls: its first line is {lines[first][:80]!r}")
    above = b"\n".join(data.split(b"\n", first + 1)[: first + 1])
    names = [name.strip() or f"column_{place}" for place, name in enumerate(header, 1)]
    return _Layout(distinct(names), dialect, (len(above) + 1, first + 1))


def _first_lines(data: bytes) -> list[str]:
    """The lines of a block that show how it is written; what follows them is one more where they are few."""
    *lines, rest = data.split(b"\n", 20 * SAMPLE_ROWS)
    enough = sum(1 for line in lines if line.strip(b"\r")) > 2 * SAMPLE_ROWS
    return [line.decode() for line in (lines if enough else [*lines, rest])]


def _unnamed(dialect: Dialect) -> list[str]:
    """Names of columns where the file has none: the urls are told by their look, and of two columns so is the text."""
    url = min(dialect.urls, default=-1)
    other = "text" if dialect.width == 2 else "column_{}"
    return ["url" if column == url else other.format(column + 1) for column in range(dialect.width)]


def _separator(usual: str, header: str, sample: list[str]) -> str:
    """What separates the columns: as the file's name says, unless only another one gives more than one column."""
    best, most = usual, (-1.0, False)
    for separator in dict.fromkeys((usual, *SEPARATORS)):
        width = len(_fields(header, separator))
        if width < 2 or (separator == "|" and "://" in header):
            continue
        dialect = Dialect(separator, width)
        share = sum(dialect.fitted(dialect.lenient(line)) is not None for line in sample) / max(1, len(sample))
        if separator == usual and (share >= 0.5 or not sample):
            return usual
        if (share, separator == usual) > most:
            best, most = separator, (share, separator == usual)
    return best


def _fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return line.split(separator)


def _blocks(file: str, remarks: Remarks) -> Iterator[tuple[list[str], Plain | Block | None]]:
    """The names of the columns with every block of rows, the first time without one."""
    layout: _Layout | None = None
    # One block is held back: the last one has to know that it is.
    waiting: tuple[int, bytes] | None = None
    for number, data in text_lines.blocks(file, remarks):
        if layout is None:
            layout = _layout(file, data, remarks)
            if layout is None:
                continue
            yield layout.names, None
            skipped, lines = layout.header
            waiting = (number + lines, data[skipped:])
            continue
        assert waiting is not None
        block = _block(waiting[1], layout.dialect, waiting[0], False, remarks)
        yield layout.names, block
        rest = waiting[1][block.cut :]
        waiting = (number - rest.count(b"\n"), rest + data)
    if layout and waiting:
        yield layout.names, _block(waiting[1], layout.dialect, waiting[0], True, remarks)


def _block(data: bytes, dialect: Dialect, number: int, last: bool, remarks: Remarks) -> Plain | Block:
    return plain(data, dialect) or Block(data, dialect, number, last, remarks)


def schema(file: str) -> pa.Schema:
    names = next((names for names, _ in _blocks(file, Remarks())), [])
    return pa.schema([(name, pa.large_string()) for name in dict.fromkeys([*names, MALFORMED])])


def count(file: str) -> int:
    return scan(file).rows


def scan(file: str) -> Scan:
    remarks, rows, columns = Remarks(), 0, [MALFORMED]
    for names, block in _blocks(file, remarks):
        rows += block.count() if block else 0
        columns = [*names, MALFORMED]
    return Scan(rows, pa.schema([(name, pa.large_string()) for name in dict.fromkeys(columns)]), remarks)


def read(file: str, start: int = 0, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on, all columns as text, an empty field as null."""
    skip = start
    for names, block in _blocks(file, Remarks()):
        if block is None:
            continue
        table = block.table(names, MALFORMED).slice(skip)
        skip = max(0, skip - block.count())
        yield from table.combine_chunks().to_batches(max_chunksize=batch_rows)
