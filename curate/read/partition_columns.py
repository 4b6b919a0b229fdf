"""Columns that the folders of an input name: `lang=en/part-0.parquet` has a column `lang`, of text."""

from __future__ import annotations

from urllib.parse import unquote

import pyarrow as pa

_OF_FOLDERS = {b"curate": b"named by a folder"}
#: Hive's and Spark's word for null.
_NULL = "__HIVE_DEFAULT_PARTITION__"


def columns(name: str) -> dict[str, str | None]:
    """Columns by the folders of a file's path below the input.

    >>> columns("lang=en/day=2026-01-02/part-0.parquet")
    {'lang': 'en', 'day': '2026-01-02'}
    """
    pairs = (folder.partition("=") for folder in name.split("/")[:-1])
    return {unquote(key): None if value == _NULL else unquote(value) for key, equals, value in pairs if key and equals}


def with_partitions(schema: pa.Schema, name: str) -> pa.Schema:
    """A file's schema with those columns; one of its own of that name stays."""
    new = [pa.field(key, pa.large_string(), metadata=_OF_FOLDERS) for key in columns(name) if key not in schema.names]
    return pa.schema([*schema, *new])


def of_folders(field: pa.Field) -> bool:
    """Whether a field of such a schema is none of the file's own."""
    return bool(field.metadata == _OF_FOLDERS)


def added(batch: pa.RecordBatch, name: str) -> pa.RecordBatch:
    """A batch of a file, with its schema of `with_partitions`."""
    for key, value in columns(name).items():
        if key not in batch.schema.names:
            batch = batch.append_column(key, pa.array([value] * batch.num_rows, pa.large_string()))
    return batch
