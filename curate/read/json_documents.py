"""JSON that is no lines: arrays, values one after the other, and objects that hold a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from curate import record
from curate.errors import CurateError
from curate.messages.remarks import Remarks
from curate.read.json_rows import clean, named
from curate.record import MALFORMED

#: Characters of one value that are looked at before it is taken for damaged.
MOST_CHARACTERS = 64 << 20

#: Bytes of an object that holds a whole table: it is taken into memory.
MOST_BYTES = 2 << 30

_BETWEEN = re.compile(r"[\s,]*")
_OBJECT_ON_A_LINE = re.compile(r"\n\s*\{")

Row = tuple[int, dict[str, Any]]


def values(blocks: Iterable[tuple[int, bytes]], remarks: Remarks) -> Iterator[tuple[int, Any]]:
    """(line, value) of every value of an array, or of values one after the other; {MALFORMED: text} of what is none.

    After a damaged value reading goes on at the next line that begins an object.
    """
    decoder = json.JSONDecoder(strict=False)
    source = iter(blocks)
    number, data = next(source, (1, b""))
    text, at = data.decode(), 0
    array = text.lstrip().startswith("[")
    if array:
        at = text.index("[") + 1
    counted = 0
    while True:
        at = _between(text, at)
        number, counted = number + text.count("\n", counted, at), at
        if at >= len(text) or (array and text[at] == "]"):
            more = next(source, None)
            if more is None:
                break
            rest = text[at:].strip()
            text, at, counted = rest + more[1].decode(), 0, 0
            array = array and not rest
            continue
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            more = next(source, None) if len(text) - at < MOST_CHARACTERS else None
            if more is not None:
                text, at, counted = text[at:] + more[1].decode(), 0, 0
                continue
            following = _OBJECT_ON_A_LINE.search(text, at + 1)
            end = following.start() if following else len(text)
            value = {MALFORMED: text[at:end].rstrip().removesuffix(",")}
        else:
            value = clean(value, text[at:end], remarks)
            value = named(value) if isinstance(value, dict) else {MALFORMED: text[at:end]}
        yield number, value
        at = end
    if array and not text[at:].startswith("]"):
        remarks.add("file(s) with an array that does not end", 1)


def _between(text: str, at: int) -> int:
    match = _BETWEEN.match(text, at)
    assert match
    return match.end()


def rows_of(document: dict[str, Any], file: str, remarks: Remarks) -> list[dict[str, Any]]:
    """Rows of an object that is a table: a list of objects in it, or columns; else the object is a row itself.

    Raises:
        CurateError: when it holds several lists of objects.
    """
    usual = {*record.URL_NAMES, *record.TEXT_NAMES}
    if any(isinstance(document.get(name), str) for name in usual):
        return [document]
    tables = [name for name, value in document.items() if _is_table(value)]
    if len(tables) > 1:
        raise CurateError(
            f"'{file}' holds {len(tables)} tables ({', '.join(tables)}) and a store has one: write the pairs of image "
            "and caption as JSON lines"
        )
    if tables:
        left_out = [name for name in document if name not in tables]
        if left_out:
            remarks.add(f"file(s) read from '{tables[0]}', without {', '.join(left_out)}", 1)
        rows: list[dict[str, Any]] = document[tables[0]]
        return rows
    return _by_columns(document, usual) or [document]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value[:100])


def _by_columns(document: dict[str, Any], usual: set[str]) -> list[dict[str, Any]] | None:
    """Rows of an object of columns, in the forms that pandas writes."""
    names, data = document.get("columns"), document.get("data")
    if isinstance(names, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        return [dict(zip(map(str, names), row, strict=False)) for row in data]
    columns = list(document.values())
    if all(isinstance(column, list) for column in columns) and len({len(column) for column in columns}) == 1:
        return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]
    if columns and all(isinstance(column, dict) for column in columns):
        if usual & document.keys():
            places = dict.fromkeys(place for column in columns for place in column)
            return [{name: column.get(place) for name, column in document.items()} for place in places]
        if all(usual & column.keys() for column in columns):
            return columns
    return None
