"""Arrow files: what `save_to_disk` of Hugging Face's datasets writes, which are streams, and Feather."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import fsspec
import pyarrow as pa

from curate.errors import CurateError
from curate.read.inputs import distinct

EXTENSIONS = (".arrow", ".feather")

#: A stream has to be read to find a row.
SEEKABLE = False

DECLARED = True

_FILE_MAGIC = b"ARROW1"
#: How a stream ends; without it, it was cut off, maybe between two batches.
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def schema(file: str) -> pa.Schema:
    with _opened(file) as (schema, _):
        return pa.schema(list(zip(distinct(schema.names), schema.types, strict=True)))


def count(file: str) -> int:
    with _opened(file) as (_, batches):
        return sum(batch.num_rows for batch in batches)


def read(file: str, start: int = 0, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on; image bytes and other nested columns stay as they are."""
    skip = start
    with _opened(file) as (schema, batches):
        names = distinct(schema.names)
        for batch in batches:
            for first in range(skip, batch.num_rows, batch_rows):
                yield batch.slice(first, batch_rows).rename_columns(names)
            skip = max(0, skip - batch.num_rows)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """
    Raises:
        CurateError: for a stream that was cut off.
    """
    with fsspec.open(file, "rb") as opened:
        handle = cast(BinaryIO, opened)
        head = handle.read(len(_FILE_MAGIC))
        if head != _FILE_MAGIC:
            handle.seek(-len(_END), 2)
            if handle.read() != _END:
                raise CurateError(f"'{file}' is cut off, or no Arrow file: a stream of Arrow has a mark at its end")
        handle.seek(0)
        reader: Any = pa.ipc.open_file(handle) if head == _FILE_MAGIC else pa.ipc.open_stream(handle)
        with reader:
            yield reader.schema, _batches(reader)


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    if hasattr(reader, "num_record_batches"):
        yield from map(reader.get_batch, range(reader.num_record_batches))
    else:
        yield from reader
