"""Blocks of delimited text in which every line is a row by the rules of CSV: counted and read as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from curate.read.csv_dialect import Dialect
from curate.read.text_lines import BOM

#: What Arrow takes for the separator of a file with one column.
NO_SEPARATOR = "\x1f"

_PIECE = 128 << 10

_LINE_END, _RETURN, _QUOTE = b'\n\r"'


@dataclass(frozen=True)
class Plain:
    """A block as `csv_rows.Block` is one, of plain lines only: none goes on beyond it and none needs a remark."""

    data: bytes
    separator: str
    rows: int

    @property
    def cut(self) -> int:
        return len(self.data)

    def count(self) -> int:
        return self.rows

    def table(self, names: list[str], malformed: str) -> pa.Table:
        table = lawful_rows(self.data, names, self.separator, '"' if b'"' in self.data else False)
        return table.append_column(malformed, pa.nulls(self.rows, pa.large_string()))


def plain(data: bytes, dialect: Dialect) -> Plain | None:
    """A block, where a look at its quotes, separators and line ends alone shows that all its lines are lawful and that
    no quote is a letter; None where `csv_rows.Block` has to look closer."""
    quoted, returns, alone = b'"' in data, b"\r" in data, dialect.width == 1
    if not data or not dialect.separator.isascii() or (quoted and (dialect.bare or alone)):
        return None
    if (returns and not dialect.returns) or (alone and (NO_SEPARATOR.encode() in data or _empty_line(data))):
        return None
    raw, separator = np.frombuffer(data, np.uint8), ord(dialect.separator)
    needed = ((_LINE_END, True), (separator, not alone), (_QUOTE, quoted), (_RETURN, returns))
    marks = _places(raw, [letter for letter, need in needed if need])
    if quoted:
        quotes = raw[marks] == _QUOTE
        inside = np.cumsum(quotes) % 2 == 1
        if not _enclosing(raw, marks[quotes], separator) or (raw[marks[inside & ~quotes]] != separator).any():
            return None
        marks = marks[~inside & ~quotes]
    if returns:
        lone = raw[marks] == _RETURN
        after = marks[lone] + 1
        if (after == len(raw)).any() or (raw[after] != _LINE_END).any():
            return None
        marks = marks[~lone]
    rows = _rows(raw[marks], separator, dialect.width, data.endswith(b"\n"))
    return Plain(data, dialect.separator, rows) if rows else None


def _places(raw: np.ndarray, letters: list[int]) -> np.ndarray:
    """Where any of these letters is, in order; looked for in pieces that stay in the processor's cache."""
    places = list[np.ndarray]()
    for first in range(0, len(raw), _PIECE):
        piece = raw[first : first + _PIECE]
        mask = piece == letters[0]
        for letter in letters[1:]:
            mask |= piece == letter
        places.append(np.flatnonzero(mask) + first)
    return np.concatenate(places)


def _empty_line(data: bytes) -> bool:
    return data.startswith((b"\n", b"\r\n")) or b"\n\n" in data or b"\n\r\n" in data


def _enclosing(raw: np.ndarray, quotes: np.ndarray, separator: int) -> bool:
    """Whether each quote that opens stands at the beginning of a field, each that closes at its end, save that two
    quotes in a row are a letter."""
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    before, after = raw[opening[opening > 0] - 1], raw[closing[closing + 1 < len(raw)] + 1]
    begins = (before == separator) | (before == _LINE_END) | (before == _QUOTE)
    ends = (after == separator) | (after == _LINE_END) | (after == _RETURN) | (after == _QUOTE)
    return bool(begins.all() and ends.all())


def _rows(marks: np.ndarray, separator: int, width: int, ended: bool) -> int:
    """Rows whose separators and line ends are these letters, 0 where a line has fewer or more fields than `width`."""
    marks = marks if ended else np.append(marks, np.uint8(_LINE_END))
    rows, rest = divmod(len(marks), width)
    if rest:
        return 0
    fields = marks.reshape(rows, width)
    return rows if (fields[:, -1] == _LINE_END).all() and (fields[:, :-1] == separator).all() else 0


def lawful_rows(data: bytes, names: list[str], separator: str, quote: str | bool) -> pa.Table:
    """Lines that are a row each by the rules of CSV, as columns of text; an empty field is null."""
    if data.startswith(BOM):
        # Arrow takes the first letter of a caption for the mark of the encoding.
        data = BOM + data
    schema = pa.schema([(name, pa.large_string()) for name in names])
    return arrow_csv.read_csv(
        pa.BufferReader(data),
        arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
        # One column without quotes has no separator either: no letter of a text can be taken for one.
        arrow_csv.ParseOptions(
            delimiter=separator if len(names) > 1 or quote else NO_SEPARATOR,
            quote_char=quote,
            double_quote=bool(quote),
        ),
        arrow_csv.ConvertOptions(column_types=schema, null_values=[""], strings_can_be_null=True, check_utf8=False),
    )
