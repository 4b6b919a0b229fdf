"""Types of JSON values: the narrowest Arrow type that holds every value of a column exactly."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

#: An object with more different keys than this is data, not a structure: it is kept as JSON text.
MOST_KEYS = 200

#: Whole numbers up to here are exact as a double.
EXACT_DOUBLE = 1 << 53

_NONE = type(None)


@dataclass
class Seen:
    """What the values of a column are; `add` takes more of them, `type` says what holds them all.

    >>> seen = Seen()
    >>> seen.add([1, None])
    >>> seen.add([2.5])
    >>> str(seen.type())
    'double'
    """

    kinds: set[type] = field(default_factory=set)
    least: int = 0
    most: int = 0
    items: Seen | None = None
    keys: dict[str, Seen] | None = None
    too_many: bool = False

    def add(self, values: Sequence[Any]) -> None:
        kinds = set(map(type, values)) - {_NONE}
        self.kinds |= kinds
        if int in kinds:
            whole = [v for v in values if type(v) is int] if len(kinds) > 1 or _NONE in map(type, values) else values
            self.least = min(self.least, *whole, 0)
            self.most = max(self.most, *whole, 0)
        if list in kinds:
            self.items = self.items or Seen()
            self.items.add(list(itertools.chain.from_iterable(v for v in values if type(v) is list)))
        if dict in kinds and not self.too_many:
            self._add_objects([v for v in values if type(v) is dict])

    def add_column(self, values: pa.Array) -> None:
        """Add values that are of `type` already, as an Arrow array of it; no double among them is 2 ** 53 or more."""
        if pa.types.is_large_string(values.type) and values.null_count < len(values):
            # It may be the type of what fits no other.
            self.kinds.add(str)
        elif pa.types.is_integer(values.type) and values.null_count < len(values):
            ends = pc.min_max(values).as_py()
            self.least, self.most = min(self.least, ends["min"]), max(self.most, ends["max"])
        elif pa.types.is_list(values.type) and self.items:
            self.items.add_column(values.flatten())
        elif pa.types.is_struct(values.type) and self.keys:
            for field, items in zip(values.type, values.flatten(), strict=True):
                self.keys[field.name].add_column(items)

    def _add_objects(self, objects: list[dict[str, Any]]) -> None:
        columns: dict[str, list[Any]] = {}
        for value in objects:
            for key, item in value.items():
                columns.setdefault(key, []).append(item)
        self.keys = self.keys or {}
        self.too_many = len(self.keys.keys() | columns.keys()) > MOST_KEYS
        if not self.too_many:
            for key, items in columns.items():
                self.keys.setdefault(key, Seen()).add(items)

    def type(self) -> pa.DataType:
        """Null, bool, int64, uint64, float64, text, list, struct; JSON text where nothing else holds all values."""
        return self._type() or pa.large_string()

    def _type(self) -> pa.DataType | None:
        if not self.kinds:
            return pa.null()
        if self.kinds <= {int, float}:
            return self._number()
        if self.kinds == {list} and self.items:
            # Of an empty list nothing is known; text holds what other files may have.
            items = self.items._type()
            return None if items is None else pa.list_(items)
        if self.kinds == {dict} and self.keys and not self.too_many:
            fields = [(key, seen._type()) for key, seen in self.keys.items()]
            valid = all(kind is not None and _utf8(key) for key, kind in fields)
            return pa.struct(fields) if valid else None
        if self.kinds == {str, list} and self.items and self.items.kinds <= {str}:
            return pa.list_(pa.large_string())
        return {bool: pa.bool_(), str: pa.large_string()}.get(*self.kinds) if len(self.kinds) == 1 else None

    def _number(self) -> pa.DataType | None:
        if float in self.kinds:
            return pa.float64() if self.least >= -EXACT_DOUBLE and self.most <= EXACT_DOUBLE else None
        if self.least >= -(1 << 63) and self.most < 1 << 63:
            return pa.int64()
        return pa.uint64() if self.least >= 0 and self.most < 1 << 64 else None


def _utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def columns_of(rows: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Column name to the values that rows have for it, in time that grows with the values alone."""
    rows = list(rows)
    if len(set(map(tuple, rows))) == 1:
        # All rows have the same keys in the same order.
        return dict(zip(rows[0], map(list, zip(*(row.values() for row in rows), strict=True)), strict=True))
    columns: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return columns
