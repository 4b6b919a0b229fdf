"""Parquet files: DataComp and LAION metadata, Hugging Face style folders; streamed by row group."""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from curate.read.inputs import distinct

EXTENSIONS = (".parquet",)

#: Row groups before a start are not read.
SEEKABLE = True

DECLARED = True


def schema(file: str) -> pa.Schema:
    with fsspec.open(file, "rb") as handle:
        arrow_schema = pq.ParquetFile(handle).schema_arrow
    return pa.schema(list(zip(distinct(arrow_schema.names), arrow_schema.types, strict=True)))


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


def read(file: str, start: int = 0, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on; image bytes and other nested columns stay as they are."""
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
