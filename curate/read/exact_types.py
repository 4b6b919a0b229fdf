"""One type for a column whose files differ in it: it holds every value of all of them exactly, or there is an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from curate.errors import CurateError

#: Significant digits of a decimal number that a double gives back.
DOUBLE_DIGITS = 15

#: Digits of the largest decimal that polars and Spark read.
MOST_DIGITS = 38


def stored(kind: pa.DataType) -> pa.DataType:
    """The type that the store keeps for a column's: text of any kind is one type, so that files can differ in it."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return stored(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary(kind) or pa.types.is_binary_view(kind) else kind


def settled(name: str, kinds: Mapping[pa.DataType, Sequence[str]], fits: Callable[[str, pa.DataType], bool]) -> Any:
    """The type of a column.

    kinds: the types that it has, with the files that have each.
    fits: whether a file's values can be had as another type without a change; asked only where types leave it open.

    Raises:
        CurateError: when there is no such type.
    """
    open_ = [kind for kind in kinds if not pa.types.is_null(kind)]
    choices = [open_[0]] if open_ else [pa.null()]
    for kind in open_[1:]:
        choices = list(dict.fromkeys(both for choice in choices for both in common(choice, kind)))
    for choice in choices:
        if all(holds(choice, kind) or all(fits(file, choice) for file in files) for kind, files in kinds.items()):
            return choice
    listing = ", ".join(f"{kind} in '{files[0]}'" for kind, files in list(kinds.items())[:4])
    raise CurateError(
        f"column '{name}' is {listing}, and no type holds the values of both exactly. "
        f"As text they are exact: read: {{as_text: [{name}]}}"
    )


def common(one: pa.DataType, other: pa.DataType) -> list[pa.DataType]:
    """Types that may hold the values of both, the best first."""
    if one == other or pa.types.is_null(other):
        return [one]
    if pa.types.is_null(one):
        return [other]
    if pa.uint64() in (one, other) and any(map(pa.types.is_signed_integer, (one, other))):
        return [pa.int64(), pa.uint64(), pa.decimal128(20)]
    if _are_timestamps(one, other):
        zone = one.tz if one.tz == other.tz else "UTC"
        return [pa.timestamp(unit, zone) for unit in sorted((one.unit, other.unit), key=_UNITS.index)]
    return _promoted(one, other)


_UNITS = ["ns", "us", "ms", "s"]


def _are_timestamps(one: pa.DataType, other: pa.DataType) -> bool:
    if not (pa.types.is_timestamp(one) and pa.types.is_timestamp(other)):
        return False
    return one.tz == other.tz or None not in (one.tz, other.tz)


def _promoted(one: pa.DataType, other: pa.DataType) -> list[pa.DataType]:
    try:
        schemas = [pa.schema([("", kind)]) for kind in (one, other)]
        both = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return [] if pa.types.is_nested(one) or pa.types.is_nested(other) else [pa.large_string()]
    if pa.types.is_floating(both) and any(map(pa.types.is_integer, (one, other))):
        # pandas makes doubles of whole numbers where one is missing.
        return [pa.float64(), one if pa.types.is_integer(one) else other]
    if pa.types.is_decimal(both) and both.precision > MOST_DIGITS:
        return []
    return [both, *(kind for kind in (one, other) if pa.types.is_temporal(kind) and kind != both)]


def holds(kind: pa.DataType, other: pa.DataType) -> bool:
    """Whether a type holds every value of another exactly, whatever these are."""
    if kind == other or pa.types.is_null(other):
        return True
    if kind in (pa.large_string(), pa.large_binary()):
        return not pa.types.is_nested(other) if kind == pa.large_string() else _is_bytes(other)
    if pa.types.is_integer(other):
        return _holds_whole(kind, other)
    if pa.types.is_decimal(other):
        if kind == pa.float64():
            return bool(other.precision <= DOUBLE_DIGITS)
        wide = pa.types.is_decimal(kind) and kind.scale >= other.scale
        return bool(wide and kind.precision - kind.scale >= other.precision - other.scale)
    return bool(pa.types.is_floating(kind) and pa.types.is_floating(other) and kind.bit_width >= other.bit_width)


def _holds_whole(kind: pa.DataType, other: pa.DataType) -> bool:
    """Whether a type holds whole numbers of another."""
    if pa.types.is_integer(kind):
        signed = pa.types.is_signed_integer(kind)
        same = signed == pa.types.is_signed_integer(other)
        return bool(kind.bit_width >= other.bit_width if same else signed and kind.bit_width > other.bit_width)
    if pa.types.is_decimal(kind):
        return bool(kind.precision - kind.scale >= (20 if other.bit_width == 64 else 10))
    return bool(kind == pa.float64() and other.bit_width <= 32)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_binary(kind) or stored(kind) in (pa.large_binary(), pa.large_string()))


def plain(values: pa.Array) -> pa.Array:
    """Values without an encoding."""
    if isinstance(values, pa.ChunkedArray):
        return pa.chunked_array([plain(chunk) for chunk in values.chunks]) if values.num_chunks else values
    if pa.types.is_run_end_encoded(values.type):
        return pa.compute.run_end_decode(values)
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values as the store keeps them: text is valid UTF-8, nested values in a text column are JSON, no number changes.

    Raises:
        pa.ArrowException: when a value is none of that type.

    >>> cast(pa.array([b"caf\\xe9", None]), pa.large_string()).to_pylist()
    ['caf\\ufffd', None]
    >>> cast(pa.array([{"en": "a dog"}]), pa.large_string()).to_pylist()
    ['{"en": "a dog"}']
    """
    values = plain(values)
    if values.type == kind and kind != pa.large_string():
        return values
    if stored(kind) != pa.large_string():
        return values.cast(kind)
    if pa.types.is_nested(values.type):
        texts = [None if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in values.to_pylist()]
        return pa.array(texts, kind)
    if stored(values.type) == pa.large_string():
        # Parquet's strings are not checked when they are read; from bytes they are.
        values = values.cast(pa.large_binary())
    try:
        return values.cast(kind)
    except pa.ArrowException:
        return pa.array([_as_text(value) for value in values.to_pylist()], kind)


def _as_text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None if value is None else str(value)
