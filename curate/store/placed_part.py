"""A part that knows its place in the store, so that one under another name is not read for it."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

from curate.store import part_file

#: Columns of values that hardly repeat: with a dictionary they take a third longer to write and three times to read.
_DISTINCT = {"uid", "url", "text", "sha256", "key"}
_WRITE: dict[str, Any] = {"compression": "zstd", "write_statistics": True, "store_schema": True}


def _place(name: str) -> str:
    """A file's name below the store without identities, of which the bytes of a part are to say nothing."""
    return re.sub(r"-[0-9a-f]{12}(?=/)", "", name)


def in_place(part: part_file.Part, name: str) -> part_file.Part:
    """The part, which is to be the one that was written under this name.

    Raises:
        Damaged: when it is another.
    """
    place = (part.schema.metadata or {}).get(part_file.PLACE, b"").decode()
    if place != _place(name):
        raise part_file.Damaged(f"it is '{place}', under another name, and")
    return part


def bytes_of(rows: pa.Table, name: str, **options: Any) -> bytes:
    """A checked parquet file that knows its name below the store."""
    ours = {key: value for key, value in (rows.schema.metadata or {}).items() if key.startswith(b"curate.")}
    rows = rows.replace_schema_metadata({**ours, part_file.PLACE: _place(name).encode()})
    repeated = [column for column in rows.column_names if column not in _DISTINCT]
    return part_file.written(rows, use_dictionary=repeated, **{**_WRITE, **options})
