"""Rows of delimited text: lawful lines in bulk, odd ones one by one; no line is lost, and none spoils another."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from curate.messages.remarks import Remarks
from curate.read import csv_dialect
from curate.read.csv_dialect import Dialect
from curate.read.csv_plain import NO_SEPARATOR, lawful_rows

#: A quoted field spans at most this many lines; a longer one is a stray quote.
MOST_LINES = 1000

LETTERS = "row(s) with quotes taken as letters"
TRAILING = "row(s) with a trailing delimiter"


@dataclass
class Rows:
    """Rows of a block in the order of its lines. Either a row has `fields`, or its line is malformed."""

    places: list[int] = field(default_factory=list)
    fields: list[list[str] | None] = field(default_factory=list)
    lines: list[str | None] = field(default_factory=list)

    def add(self, place: int, fields: list[str] | None, line: str | None = None) -> None:
        self.places.append(place)
        self.fields.append(fields)
        self.lines.append(line)


class Block:
    """Whole lines of a file. `number` is that of the first line; `last` says that the file ends here."""

    def __init__(self, data: bytes, dialect: Dialect, number: int, last: bool, remarks: Remarks):
        self.data, self.dialect, self.number, self.last, self.remarks = data, dialect, number, last, remarks
        raw = np.frombuffer(data, np.uint8)
        stops = np.flatnonzero(raw == ord("\n"))
        if data and not data.endswith(b"\n"):
            stops = np.append(stops, len(data))
        self.stops = stops
        self.starts = np.concatenate([np.zeros(min(1, len(stops)), stops.dtype), stops[:-1] + 1])
        returns = np.zeros(len(stops), bool)
        inside = (stops > self.starts) & dialect.returns
        returns[inside] = raw[stops[inside] - 1] == ord("\r")
        self.ends = stops - returns
        self.quotes = self._counts(np.flatnonzero(raw == ord('"')))
        self.separators = self._counts(np.flatnonzero(raw == ord(dialect.separator)))
        self.lone_returns = self._counts(np.flatnonzero(raw == ord("\r"))) - returns

    def _counts(self, places: np.ndarray) -> np.ndarray:
        """How many of the bytes at these places each line has."""
        return np.diff(np.searchsorted(places, self.stops), prepend=0)

    def line(self, place: int) -> str:
        return self.data[self.starts[place] : self.ends[place]].decode()

    @cached_property
    def lawful(self) -> np.ndarray:
        """Lines that are a row each by the rules of CSV: the first, third ... quote opens a field or is the second of
        two, the others close one or are the first of two; the separators outside are as many as they should be."""
        dialect, raw, stops = self.dialect, np.frombuffer(self.data, np.uint8), self.stops
        quotes = np.flatnonzero(raw == ord('"'))
        if not len(quotes):
            outside = self.separators
            wrong = np.zeros(len(stops), bool)
        else:
            lines = np.repeat(np.arange(len(stops)), self.quotes)
            before = np.cumsum(self.quotes) - self.quotes
            opens = (np.arange(len(quotes)) - before[lines]) % 2 == 0
            # The byte before and after each quote; at the ends of a line any will do.
            edge = np.where(opens, quotes == self.starts[lines], quotes + 1 == self.ends[lines])
            near = raw[np.clip(np.where(opens, quotes - 1, quotes + 1), 0, len(raw) - 1)]
            wrong = self._counts(quotes[~(edge | (near == ord(dialect.separator)) | (near == ord('"')))]) > 0
            wrong |= self.quotes % 2 == 1
            marks = np.flatnonzero(raw == ord(dialect.separator))
            depth = np.searchsorted(quotes, marks) - np.repeat(before, self.separators)
            outside = self._counts(marks[depth % 2 == 0])
        right = outside == dialect.width - 1
        if dialect.width == 1:
            # Arrow gets a separator that no line has; where it looks for quotes, the file's own, which parts all alike.
            nowhere = self._counts(np.flatnonzero(raw == ord(NO_SEPARATOR))) == 0
            right = nowhere & (outside == 0) if len(quotes) else nowhere
        lawful: np.ndarray = ~wrong & right & (self.ends > self.starts) & (self.lone_returns == 0)
        return lawful

    @cached_property
    def parsed(self) -> tuple[np.ndarray, Rows, int]:
        """Lines that are a row each, the rows of the others, and the byte where a row begins that goes on beyond."""
        lawful, rows, cut, done = self.lawful.copy(), Rows(), len(self.data), 0
        for place in np.flatnonzero(~lawful & (self.ends > self.starts)).tolist():
            if place < done:
                continue
            done = self._record(place, rows)
            if done < 0:
                lawful[place:] = False
                cut = int(self.starts[place])
                break
            lawful[place + 1 : done] = False
        bare = self._bare(np.flatnonzero(lawful))
        if len(bare):
            line = self.number + int(bare[0])
            self.remarks.add(LETTERS, len(bare), f"line {line}: {self.line(int(bare[0]))}", (line,))
        return np.flatnonzero(lawful), rows, cut

    def _bare(self, places: np.ndarray) -> np.ndarray:
        """Lines whose quotes were not needed, in a file where none is written that is not: these are letters."""
        if not self.dialect.bare:
            return places[:0]
        quotes = np.flatnonzero(np.frombuffer(self.data, np.uint8) == ord('"'))
        doubled = self._counts(quotes[:-1][np.diff(quotes) == 1])
        alone = (self.quotes > 0) & (self.separators == self.dialect.width - 1) & (doubled == 0)
        bare: np.ndarray = places[alone[places]]
        return bare

    def _record(self, place: int, rows: Rows) -> int:
        """Parse the row that begins at a line; returns the line after it, or -1 when it goes on beyond the block."""
        dialect, line = self.dialect, self.line(place)
        if dialect.width == 1 and not self.quotes[place]:
            rows.add(place, [line])
            return place + 1
        if not self.quotes[place]:
            self._add(place, dialect.fitted(line.split(dialect.separator)), line, rows)
            return place + 1
        try:
            # A NUL stops the csv module of Python 3.10.
            (fields,) = dialect.strict([line.replace("\0", "\ue000")] if "\ue000" not in line else [line])
            fields = [value.replace("\ue000", "\0") for value in fields] if "\0" in line else fields
        except csv.Error:
            after = self._end(place)
            if after < 0 or (after and self._joined(place, after, rows)):
                return after
            fields = []
        letters = line.split(dialect.separator)
        if fields and dialect.bare and len(letters) == dialect.width and not ('""' in line or "\r" in line):
            self._letters(place, letters, rows)
        elif fields and dialect.fitted(fields):
            self._add(place, dialect.fitted(fields), line, rows)
        elif fitted := dialect.fitted(dialect.lenient(line)):
            self._letters(place, fitted, rows)
        else:
            self._add(place, None, line, rows)
        return place + 1

    def _letters(self, place: int, fields: list[str], rows: Rows) -> None:
        line = self.number + place
        self.remarks.add(LETTERS, example=f"line {line}: {self.line(place)}", place=(line,))
        rows.add(place, fields)

    def _add(self, place: int, fields: list[str] | None, line: str, rows: Rows) -> None:
        number = self.number + place
        if fields is None:
            self.remarks.add("malformed", example=f"line {number}: {line}", place=(number,))
        elif self.separators[place] >= self.dialect.width and line.endswith(self.dialect.separator):
            self.remarks.add(TRAILING, example=f"line {number}: {line}", place=(number,))
        rows.add(place, fields, None if fields is not None else line)

    def _joined(self, place: int, after: int, rows: Rows) -> bool:
        """Add a row of several lines, unless what should be a URL shows that a quote is lost."""
        text = self.data[self.starts[place] : self.ends[after - 1]].decode()
        lines = text.replace("\0", "\ue000") if "\0" in text and "\ue000" not in text else text
        try:
            fields = self.dialect.strict(_kept_lines(lines))[0]
        except csv.Error:
            # A lone return outside of quotes.
            return False
        if any("\n" in fields[column] or "://" not in (fields[column] or "://") for column in self.dialect.urls):
            return False
        if lines is not text:
            fields = [value.replace("\ue000", "\0") for value in fields]
        rows.add(place, fields)
        return True

    def _end(self, place: int) -> int:
        """The line after a row that spans several; 0 when the row ends in its own line, -1 when it may go on beyond."""
        fields = csv_dialect.open_fields(self.line(place), self.dialect)
        if not fields:
            return 0
        limit = min(place + MOST_LINES, len(self.stops))
        at = place + 1
        quoted = np.flatnonzero(self.quotes[at:limit]) + at
        for at in quoted.tolist():
            count, state = csv_dialect.closing(self.line(at), self.dialect)
            fields += count
            if state == "broken" or fields > self.dialect.width:
                return 0
            if state == "closed":
                whole = fields == self.dialect.width and not self._rows_within(place, at)
                return at + 1 if whole else 0
        return 0 if self.last or limit == place + MOST_LINES else -1

    def _rows_within(self, place: int, end: int) -> bool:
        """Whether the lines of a quoted field are rows of their own: then its quote is a letter."""
        dialect = self.dialect
        if not dialect.like_a_row(self.line(place)):
            return False
        if dialect.urls:
            return any(dialect.like_a_row(self.line(at)) for at in range(place + 1, end + 1))
        within = range(place + 1, end)
        return bool(within) and all(dialect.like_a_row(self.line(at)) for at in within)

    @property
    def cut(self) -> int:
        """The byte where the next block begins: a row that goes on beyond this one is read with the next."""
        return self.parsed[2]

    def count(self) -> int:
        plain, rows, _ = self.parsed
        return len(plain) + len(rows.places)

    def table(self, names: list[str], malformed: str) -> pa.Table:
        """The rows as columns of text, an empty field as null, and a column with the lines that are malformed."""
        lawful, rows, _ = self.parsed
        groups: list[tuple[np.ndarray, str | bool]] = [(lawful, '"' if self.quotes.any() else False)]
        bare = self._bare(lawful)
        if len(bare):
            letters = (self.quotes[lawful] == 0) | np.isin(lawful, bare)
            groups = [(lawful[letters], False), (lawful[~letters], '"')]
        parts = [self._bulk(places, names, quote) for places, quote in groups if len(places)]
        parts = [part.append_column(malformed, pa.nulls(part.num_rows, pa.large_string())) for part in parts]
        places = [places for places, _ in groups if len(places)]
        if rows.places or not parts:
            columns = [
                pa.array([(f and f[i]) or None for f in rows.fields], pa.large_string()) for i in range(len(names))
            ]
            parts.append(pa.table([*columns, pa.array(rows.lines, pa.large_string())], names=[*names, malformed]))
            places.append(np.array(rows.places, np.int64))
        if len(parts) == 1:
            return parts[0]
        order = pa.array(np.argsort(np.concatenate(places), kind="stable"))
        return pa.concat_tables(parts).combine_chunks().take(order)

    def _bulk(self, places: np.ndarray, names: list[str], quote: str | bool) -> pa.Table:
        data = self.data
        if len(places) < len(self.stops):
            breaks = np.flatnonzero(np.diff(places) != 1)
            first = places[np.concatenate([[0], breaks + 1])]
            last = places[np.concatenate([breaks, [len(places) - 1]])]
            slices = zip(self.starts[first].tolist(), (self.stops[last] + 1).tolist(), strict=True)
            data = b"".join([data[a:b] for a, b in slices])
        return lawful_rows(data, names, self.dialect.separator, quote)


def _kept_lines(text: str) -> list[str]:
    """Lines with their ends; str.splitlines would also part them at other characters."""
    return [line + "\n" for line in text.split("\n")[:-1]] + [text.rpartition("\n")[2]]
