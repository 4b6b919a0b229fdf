"""Parquet files: DataComp and LAION metadata, Hugging Face style folders; streamed by row group."""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

EXTENSIONS = (".parquet",)

#: A start inside the file costs nothing: row groups before it are not read.
SEEKABLE = True


def schema(file: str) -> pa.Schema:
    with fsspec.open(file, "rb") as handle:
        return pq.ParquetFile(handle).schema_arrow


def count(file: str) -> int:
    with fsspec.open(file, "rb") as handle:
        return int(pq.ParquetFile(handle).metadata.num_rows)


def read(file: str, start: int = 0, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on; image bytes and other nested columns stay as they are."""
    with fsspec.open(file, "rb") as handle:
        parquet = pq.ParquetFile(handle)
        groups, skip = [], start
        for number in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(number).num_rows
            if not groups and skip >= rows:
                skip -= rows
            else:
                groups.append(number)
        if not groups:
            return
        for batch in parquet.iter_batches(batch_size=batch_rows, row_groups=groups):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            yield batch.slice(skip)
            skip = 0
