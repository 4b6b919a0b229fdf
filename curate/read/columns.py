"""Columns of an input: which of them hold url, caption and uid, and what the others are called in the store."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from curate import record
from curate.errors import CurateError
from curate.record import MALFORMED
from curate.store.image_columns import is_image_column

CANDIDATES = {"url": record.URL_NAMES, "text": record.TEXT_NAMES, "uid": record.UID_NAMES}

#: Names that are ours in every store: a user's column of such a name gets another one.
OURS = ("uid", "url", "text", MALFORMED)

#: Words in the name of a column that may hold captions, though it has none of the usual names.
_LIKE_CAPTIONS = re.compile(r"caption|text|title|alt|descri|sentence|label_?name|\Acolumn_\d+\Z", re.IGNORECASE)


def mapping(names: Iterable[str], columns: Mapping[str, str | None]) -> dict[str, str]:
    """Our name to the input's: as given (None for no column), else by the usual names.

    A given name may go on into a struct: `text.en`. `image` is no column of the records.
    """
    columns = {ours: theirs for ours, theirs in columns.items() if ours != "image"}
    usable = [name for name in names if not is_image_column(name) and name != MALFORMED]
    guessed = {ours: record.find(ours, usable, usual) for ours, usual in CANDIDATES.items() if ours not in columns}
    chosen = {ours: theirs for ours, theirs in (guessed | {**columns}).items() if theirs}
    return {ours: theirs for ours, theirs in chosen.items() if theirs in usable or theirs.split(".")[0] in usable}


def renamed(names: list[str], columns: Mapping[str, str | None], reserved: Iterable[str] = ()) -> dict[str, str]:
    """Every column's name in the store to its name in the input.

    >>> renamed(["URL", "text", "alt"], {"text": "alt"})
    {'url': 'URL', 'text': 'alt', 'text_input': 'text'}
    >>> renamed(["uid", "uid_input"], {"uid": None})
    {'uid_input_2': 'uid', 'uid_input': 'uid_input'}
    """
    ours = mapping(names, columns)
    taken = set(ours.values())
    others = [name for name in names if name not in taken and name != MALFORMED]
    # `texts` is ours where captions come as lists, which a file alone does not tell: see `reserved`.
    free = {name for name in others if name not in (*OURS, *ours, *reserved)}
    result = dict(ours)
    for name in others:
        new = name if name in free else f"{name}_input"
        number = 2
        while name not in free and (new in free or new in result):
            new, number = f"{name}_input_{number}", number + 1
        result[new] = name
    return result | ({MALFORMED: MALFORMED} if MALFORMED in names else {})


def like_captions(schema: pa.Schema, columns: Mapping[str, str | None]) -> list[str]:
    """Columns of text that may be captions by their names."""
    taken = set(mapping(schema.names, columns).values())
    free = [field for field in schema if field.name not in taken and field.name != MALFORMED]
    texts = [field.name for field in free if pa.types.is_large_string(field.type) or pa.types.is_string(field.type)]
    return [name for name in texts if not is_image_column(name) and _LIKE_CAPTIONS.search(name)]


def kind_of(schema: pa.Schema, name: str) -> pa.DataType:
    """Type of a column, or of a field inside a struct (`text.en`)."""
    if name in schema.names:
        return schema.field(name).type
    head, _, field = name.partition(".")
    kind = schema.field(head).type
    if not pa.types.is_struct(kind) or kind.get_field_index(field) < 0:
        fields = f"; there are: {', '.join(f.name for f in kind)}" if pa.types.is_struct(kind) else ""
        raise CurateError(f"column '{head}' has no field '{field}'{fields}")
    return kind.field(field).type


def values_of(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Values of a column, or of a field inside a struct (`text.en`)."""
    if name in batch.schema.names:
        return batch[name]
    head, _, field = name.partition(".")
    return pc.struct_field(batch[head], field)


def is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
