"""Parquet files: DataComp and LAION metadata, Hugging Face style folders; streamed by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import CurateError
from curate.read import npz_columns
from curate.read.inputs import distinct

EXTENSIONS = (".parquet",)

#: Row groups before a start are not read.
SEEKABLE = True

DECLARED = True

#: `schema` and `read` take names of arrays in the .npz beside a file.
HAS_NPZ = True


def schema(file: str, npz: Sequence[str] = ()) -> pa.Schema:
    with fsspec.open(file, "rb") as handle:
        parquet = pq.ParquetFile(handle)
        own, rows = parquet.schema_arrow, parquet.metadata.num_rows
    fields = list(zip(distinct(own.names), own.types, strict=True))
    if taken := set(npz) & {name for name, _ in fields}:
        raise CurateError(f"'{file}' has a column '{min(taken)}', and `npz` asks for an array of that name")
    vectors = npz_columns.arrays(file, npz, rows) if npz else []
    return pa.schema([*fields, *((array.name, array.arrow) for array in vectors)])


def count(file: str) -> int:
    with fsspec.open(file, "rb") as handle:
        return int(pq.ParquetFile(handle).metadata.num_rows)


def column(file: str, name: str) -> Iterator[pa.Array]:
    """Values of one column; nothing else is read."""
    with fsspec.open(file, "rb") as handle:
        parquet = pq.ParquetFile(handle, page_checksum_verification=True)
        names = parquet.schema_arrow.names
        if name not in names or names.count(name) > 1:
            yield from (batch[name] for batch in read(file))
            return
        for batch in parquet.iter_batches(columns=[name]):
            yield batch[name]


def read(file: str, start: int = 0, batch_rows: int = 10_000, npz: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on; image bytes and other nested columns stay as they are."""
    own = _read(file, start, batch_rows)
    yield from _with_vectors(file, own, npz, start) if npz else own


def _with_vectors(file: str, own: Iterator[pa.RecordBatch], npz: Sequence[str], start: int) -> Iterator[pa.RecordBatch]:
    if start >= count(file):
        return
    vectors = npz_columns.batches(file, npz_columns.arrays(file, npz, count(file)), start)
    next(vectors)
    for batch in own:
        beside = vectors.send(batch.num_rows)
        yield pa.record_batch([*batch.columns, *beside.columns], names=[*batch.schema.names, *beside.schema.names])
    vectors.close()


def _read(file: str, start: int, batch_rows: int) -> Iterator[pa.RecordBatch]:
    skip = start
    with fsspec.open(file, "rb") as handle:
        parquet = pq.ParquetFile(handle, page_checksum_verification=True)
        names = distinct(parquet.schema_arrow.names)
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if skip >= rows:
                skip -= rows
                continue
            # One group per call: an iterator over several holds the bytes of all of them until its end.
            for batch in parquet.iter_batches(batch_size=batch_rows, row_groups=[group]):
                if skip < batch.num_rows:
                    yield batch.slice(skip).rename_columns(names)
                skip = max(0, skip - batch.num_rows)
