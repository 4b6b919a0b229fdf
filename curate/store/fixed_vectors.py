"""Vectors as a part file keeps them: a column of equally long bytes, which is written six times as fast as lists are.

Parquet cuts a list of float16 into single numbers, each with its place in the list. A column of `list<float16>` whose
lists are all of one length is therefore kept as their bytes, little-endian; its field says so, and it is read as the
same lists again. What else holds lists (of several lengths, or with null in one) stays as it is; so do older files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

#: In the metadata of a column that holds vectors: the type of their numbers.
NUMBERS = b"curate.vectors"

_LISTS = pa.list_(pa.float16())
_HALF = np.dtype("<f2")


def fixed(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """A table with its vectors as bytes, and the names of those columns."""
    changed = []
    for place, field in enumerate(table.schema):
        if field.type != _LISTS:
            continue
        column = _fixed_column(table.column(place))
        if column is not None:
            named = pa.field(field.name, column.type, metadata={NUMBERS: b"float16"})
            table = table.set_column(place, named, column)
            changed.append(field.name)
    return table, changed


def as_lists(table: pa.Table) -> pa.Table:
    """The same table with its vectors as lists again."""
    for place, field in enumerate(table.schema):
        if _holds_vectors(field):
            chunks = [_lists(chunk) for chunk in table.column(place).chunks]
            table = table.set_column(place, pa.field(field.name, _LISTS), pa.chunked_array(chunks, _LISTS))
    return table


def lists_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of a file as its readers get it."""
    fields = [pa.field(field.name, _LISTS) if _holds_vectors(field) else field for field in schema]
    return pa.schema(fields, schema.metadata)


def _holds_vectors(field: pa.Field) -> bool:
    return NUMBERS in (field.metadata or {})


def _fixed_column(column: pa.ChunkedArray) -> pa.Array | None:
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], _LISTS)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    sizes = array.value_lengths().drop_null().unique().to_pylist()
    numbers = array.flatten()
    if len(sizes) != 1 or sizes[0] == 0 or numbers.null_count:
        return None
    rows = numbers.to_numpy(zero_copy_only=False).astype(_HALF, copy=False).reshape(-1, sizes[0])
    validity = None
    if not valid.all():
        whole = np.zeros((len(array), sizes[0]), _HALF)
        whole[valid] = rows
        rows, validity = whole, pa.py_buffer(np.packbits(valid, bitorder="little"))
    kind = pa.binary(sizes[0] * _HALF.itemsize)
    return pa.Array.from_buffers(kind, len(array), [validity, pa.py_buffer(np.ascontiguousarray(rows))])


def _lists(chunk: Any) -> pa.Array:
    size = chunk.type.byte_width // _HALF.itemsize
    rows = np.frombuffer(chunk.buffers()[1] or b"", _HALF)[: (chunk.offset + len(chunk)) * size].reshape(-1, size)
    rows = rows[chunk.offset :]
    null = chunk.is_null().to_numpy(zero_copy_only=False)
    ends = np.cumsum(np.where(null, 0, size), dtype=np.int32)
    values = pa.array((rows[~null] if null.any() else rows).ravel())
    mask = pa.array(null) if null.any() else None
    return pa.ListArray.from_arrays(pa.array(np.append(np.int32(0), ends)), values, mask=mask)
