"""How the fields of a delimited line are written: by the rules of CSV, and where a line breaks them."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cached_property

# The module's own limit of 128 KB ends a file at the first long caption.
csv.field_size_limit(1 << 30)


@dataclass(frozen=True)
class Dialect:
    """How the rows of a file are written.

    urls: columns that hold URLs: a line with one there is the beginning of a row.
    bare: a quoted field without a separator, line end or doubled quote in it was written with its quotes.
    returns: lines end in CR and LF; else a CR before the LF is a letter.
    """

    separator: str
    width: int
    urls: frozenset[int] = frozenset()
    bare: bool = False
    returns: bool = True

    def strict(self, lines: list[str]) -> list[list[str]]:
        """
        Raises:
            csv.Error: when a line breaks the rules of CSV.
        """
        return list(csv.reader(lines, delimiter=self.separator, strict=True))

    @cached_property
    def _field(self) -> re.Pattern[str]:
        separator = re.escape(self.separator)
        return re.compile(rf'"((?:[^"]|"")*)"(?={separator}|\Z)|([^{separator}]*)')

    def lenient(self, line: str) -> list[str]:
        """Fields of a line that breaks the rules: quotes that do not enclose a whole field are letters."""
        fields, at = list[str](), 0
        while True:
            match = self._field.match(line, at)
            assert match
            quoted, bare = match.groups()
            rest = line[at:]
            if quoted is None and len(fields) == self.width - 1 and rest.startswith('"'):
                # The last field's quote is never closed: what follows is all its own.
                return [*fields, rest]
            fields.append(bare if quoted is None else quoted.replace('""', '"'))
            at = match.end() + 1
            if at > len(line):
                return fields

    def fitted(self, fields: list[str]) -> list[str] | None:
        """The fields where there are as many as columns, or more that are all empty."""
        if len(fields) == self.width:
            return fields
        return fields[: self.width] if len(fields) > self.width and not any(fields[self.width :]) else None

    def like_a_row(self, line: str) -> bool:
        fields = self.fitted(self.lenient(line))
        return fields is not None and (not self.urls or any("://" in fields[column] for column in self.urls))


def open_fields(line: str, dialect: Dialect) -> int:
    """Fields of a line whose last one is quoted and not closed; 0 for any other line."""
    fields, at = 0, 0
    while True:
        fields += 1
        if line.startswith('"', at):
            end = _quoted_end(line, at + 1)
            if end < 0:
                return fields
            if end < len(line) and line[end] != dialect.separator:
                return 0
            at = end
        else:
            at = line.find(dialect.separator, at)
        if not 0 <= at < len(line):
            return 0
        at += 1


def closing(line: str, dialect: Dialect) -> tuple[int, str]:
    """Further fields of a row in a line that begins inside a quoted one, and whether it is open, closed or broken."""
    end = _quoted_end(line, 0)
    if end < 0:
        return 0, "open"
    if end == len(line):
        return 0, "closed"
    if line[end] != dialect.separator:
        return 0, "broken"
    rest = line[end + 1 :]
    fields = open_fields(rest, dialect)
    if fields:
        return fields, "open"
    try:
        (cells,) = dialect.strict([rest]) if rest else ([""],)
    except (csv.Error, ValueError):
        return 0, "broken"
    return len(cells), "closed"


def _quoted_end(line: str, at: int) -> int:
    """The place after the quote that closes a field whose text begins at `at`; -1 when none does."""
    while (at := line.find('"', at)) >= 0:
        if not line.startswith('""', at):
            return at + 1
        at += 2
    return -1
