"""Columns of training shards: which go out, under which names, and as what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from curate.arrays.arrow_columns import is_bytes
from curate.errors import unknown
from curate.messages.remarks import Remarks
from curate.record import MALFORMED
from curate.store.image_columns import FETCHES
from curate.store.view import View

#: Columns of the images table that speak of the store, not of the sample.
_OF_THE_STORE = {"key", "status", "error_message", "tar", "offset", "size", "checksum", "extension", "members"}
FIRST = ("uid", "url", "text")
#: Added to the name of an input's column where curate has one of that name.
SUFFIX = "_input"

POINTERS = "columns left out: they speak of other rows of the store"
TIMES = "columns left out: they differ from one download to the next"
NPZ = "columns left out: arrays of the input's npz"
VECTORS = "columns left out: lists that curate made"
RENAMED = "columns of the input are called <name>_input, since curate has one of that name"
LEFT_OUT = "columns left out by name"
EQUAL = "columns of the input left out: equal to curate's of that name in every row"


@dataclass(frozen=True)
class Column:
    """A column of the shards. `form`: "" for values as they are, "hex" for hashes, "text" for numbers beyond 64 bits
    with a sign, which few readers of JSON take.

    shadowed: curate's column that took the name of this one of the input; empty when none did.
    """

    name: str
    folder: str
    source: str
    kind: pa.DataType
    form: str = ""
    shadowed: str = ""

    @property
    def of_input(self) -> bool:
        return self.folder == "records"


def columns_to_write(
    view: View, columns: tuple[str, ...] | None, leave_out: tuple[str, ...], remarks: Remarks
) -> list[Column]:
    """Columns of the json and parquet, in an order that does not depend on when they were made.

    columns: names; None takes all that the input brought, and what curate made of them, except lists and what speaks of
        other rows.

    Raises:
        CurateError: for a name that is not there.
    """
    own, brought = _curates_own(view), _brought(view)
    everything = own | _free(brought, {*own, "key"})
    for name in (*(columns or ()), *leave_out):
        if name not in everything and name != "key":
            raise unknown("column", name, everything, view.store.url)
    names = list(columns) if columns is not None else _by_default(view, everything, remarks)
    # Every sample has a key of its own, which one that came with the input must not replace.
    names = [n for n in dict.fromkeys((*FIRST, *names)) if n not in ("key", *leave_out) or n in FIRST]
    if leave_out:
        remarks.add(LEFT_OUT, len(leave_out), ", ".join(leave_out))
    return [everything[name] for name in names]


def _brought(view: View) -> dict[str, Column]:
    """The input's columns by their names in the store."""
    return {field.name: Column(field.name, "records", field.name, field.type) for field in _schema(view, "records")}


def _schema(view: View, folder: str) -> pa.Schema:
    with view.store.opened(view.store.part(folder, min(view.store.shard_rows()))) as part:
        return part.schema


def _curates_own(view: View) -> dict[str, Column]:
    """Columns that curate made, and uid, url and text, by name."""
    own: dict[str, Column] = {}
    for folder in sorted(set(view.columns.values())):
        for field in _schema(view, folder):
            name = field.name
            if view.columns.get(name) == folder and (folder != "records" or name in FIRST):
                hashed = folder != "records" and (pa.types.is_uint64(field.type) or is_bytes(field.type))
                own[name] = Column(name, folder, name, field.type, "hex" if hashed else "")
    return own


def _free(brought: dict[str, Column], taken: set[str]) -> dict[str, Column]:
    """The input's columns under names that are free.

    >>> brought = {name: Column(name, "records", name, pa.int64()) for name in ("width", "width_input")}
    >>> [column.name for column in _free(brought, {"width"}).values()]
    ['width_input_input', 'width_input']
    """
    names = {*taken, *brought}
    free: dict[str, Column] = {}
    for name, column in brought.items():
        if name in FIRST or (name == MALFORMED and name in taken):
            continue
        new = name
        if name in taken and name not in _OF_THE_STORE - {"key"}:
            while new in names:
                new += SUFFIX
            names.add(new)
        free[new] = column if new == name else replace(column, name=new, shadowed=name)
    return free


def _by_default(view: View, everything: dict[str, Column], remarks: Remarks) -> list[str]:
    manifest = view.store.manifest()
    chosen, left_out = [], dict[str, list[str]]()
    npz = {name for group in manifest.inputs for name in (group.choices or {}).get("npz", ())}
    for name, column in sorted(everything.items()):
        if column.of_input and name in npz:
            left_out.setdefault(NPZ, []).append(name)
        elif column.of_input:
            chosen.append(name)
        elif name in _OF_THE_STORE or name.endswith("_status"):
            continue
        elif column.folder.startswith(f"{FETCHES}-"):
            left_out.setdefault(TIMES, []).append(name)
        elif manifest.op_of(column.folder).startswith("dedupe."):
            left_out.setdefault(POINTERS, []).append(name)
        elif pa.types.is_nested(column.kind):
            left_out.setdefault(VECTORS, []).append(name)
        elif not is_bytes(column.kind):
            chosen.append(name)
    for kind, names in left_out.items():
        remarks.add(kind, len(names), ", ".join(names))
    return chosen


def read(view: View, shard: int, columns: Iterable[Column]) -> pa.Table:
    """Columns of one shard of the store, as they go out."""
    by_folder: dict[str, list[Column]] = {}
    for column in columns:
        by_folder.setdefault(column.folder, []).append(column)
    arrays: dict[str, pa.ChunkedArray] = {}
    for folder, several in by_folder.items():
        part = view.store.read_part(folder, shard, list(dict.fromkeys(column.source for column in several)))
        arrays |= {column.name: _formed(part[column.source], column.form) for column in several}
    return pa.table({column.name: arrays[column.name] for column in columns})


def _formed(values: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    if form == "text":
        return values.cast(pa.string())
    if form != "hex":
        return values
    if pa.types.is_uint64(values.type):
        digits = [None if v is None else f"{v:016x}" for v in values.to_pylist()]
    else:
        digits = [None if v is None else v.hex() for v in values.to_pylist()]
    return pa.chunked_array([pa.array(digits, pa.string())])


def shown(values: pa.ChunkedArray) -> pa.Array:
    """Where a value is more than null to a reader of JSON that guesses types: no NaN, no empty list."""
    has_value = pc.is_valid(values)
    if pa.types.is_floating(values.type):
        has_value = pc.and_(has_value, pc.fill_null(pc.is_finite(values.cast(pa.float64())), False))
    elif pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        has_value = pc.and_(has_value, pc.fill_null(pc.greater(pc.list_value_length(values), 0), False))
    return has_value.combine_chunks() if isinstance(has_value, pa.ChunkedArray) else has_value
