"""Parquet files: DataComp and LAION metadata, Hugging Face style folders; streamed by row group."""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from curate.inputs import distinct

EXTENSIONS = (".parquet",)

#: Row groups before a start are not read.
SEEKABLE = True

DECLARED = True


def schema(file: str) -> pa.Schema:
    with fsspec.open(file, "rb") as handle:
        found = pq.ParquetFile(handle).schema_arrow
    return pa.schema(list(zip(distinct(found.names), found.types, strict=True)))


def count(file: str) -> int:
    with fsspec.open(file, "rb") as handle:
        return int(pq.ParquetFile(handle).metadata.num_rows)


def read(file: str, start: int = 0, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on; image bytes and other nested columns stay as they are."""
    with fsspec.open(file, "rb") as handle:
        parquet = pq.ParquetFile(handle)
        first, skip = 0, start
        while first < parquet.num_row_groups and skip >= parquet.metadata.row_group(first).num_rows:
            skip -= parquet.metadata.row_group(first).num_rows
            first += 1
        groups = list(range(first, parquet.num_row_groups))
        names = distinct(parquet.schema_arrow.names)
        for batch in parquet.iter_batches(batch_size=batch_rows, row_groups=groups) if groups else ():
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            yield batch.slice(skip).rename_columns(names)
            skip = 0
