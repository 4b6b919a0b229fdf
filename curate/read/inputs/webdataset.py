"""WebDataset tars, and img2dataset's output folders with the parquet beside each tar; images stay where they are."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import CurateError
from curate.read import json_rows, tar_samples
from curate.read.inputs import CODECS, distinct
from curate.store.image_columns import IMAGE, IMAGE_FIELDS, READ_FIELDS, is_image_column

EXTENSIONS = (".tar", *(f".tar{codec}" for codec in CODECS), ".tgz")

SEEKABLE = False

DECLARED = False

#: Samples looked at to learn the columns of the json members.
SAMPLE = 1000

#: Bytes of images without a place of their own in one batch.
MOST_BYTES = 1 << 26

FIELDS = IMAGE_FIELDS | READ_FIELDS


def _beside(file: str) -> str | None:
    """img2dataset's parquet of a tar: it also lists the rows whose download failed."""
    parquet = re.sub(r"\.(tar(\.\w+)?|tgz)\Z", ".parquet", file)
    fs, path = fsspec.core.url_to_fs(parquet)
    if not fs.exists(path):
        return None
    with fs.open(path, "rb") as handle:
        return parquet if "key" in pq.read_schema(handle).names else None


def schema(file: str) -> pa.Schema:
    images = [(IMAGE + name, kind) for name, kind in FIELDS.items()]
    beside = _beside(file)
    if beside:
        with fsspec.open(beside, "rb") as handle:
            known = pq.read_schema(handle)
        return pa.schema([*zip(distinct(known.names), known.types, strict=True), *images])
    rows = [row for row, _ in itertools.islice(tar_samples.samples(file, fields_only=True), SAMPLE)]
    return pa.schema(json_rows.fields(rows) + images)


def count(file: str) -> int:
    beside = _beside(file)
    if beside:
        with fsspec.open(beside, "rb") as handle:
            return int(pq.ParquetFile(handle).metadata.num_rows)
    return tar_samples.count(file)


def read(file: str, start: int = 0, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on: rows of the parquet beside the tar, or else one row per sample.

    Raises:
        CurateError: when the parquet does not list a sample of the tar.
    """
    fields = schema(file)
    beside = _beside(file)
    if beside:
        yield from _listed(file, beside, fields, start, batch_rows)
        return
    known = pa.schema([field for field in fields if not is_image_column(field.name)])
    samples = tar_samples.samples(file, start)
    while chunk := list(_batch(samples, batch_rows)):
        batch = json_rows.batch([row for row, _ in chunk], known)
        yield _with_images(batch, [image for _, image in chunk])


def _batch(samples: Iterator[tuple[dict[str, Any], dict[str, Any]]], rows: int) -> Iterator[Any]:
    """Samples up to a number of rows, or of bytes that have no place yet."""
    weight = 0
    for sample in itertools.islice(samples, rows):
        yield sample
        weight += len(sample[1].get("bytes") or b"")
        if weight > MOST_BYTES:
            return


def _with_images(batch: pa.RecordBatch, images: list[dict[str, Any]]) -> pa.RecordBatch:
    columns = {IMAGE + n: pa.array([i.get(n) for i in images], kind) for n, kind in FIELDS.items()}
    return pa.record_batch([*batch.columns, *columns.values()], names=[*batch.schema.names, *columns])


def _listed(file: str, beside: str, fields: pa.Schema, start: int, batch_rows: int) -> Iterator[pa.RecordBatch]:
    images = {row["key"]: image for row, image in tar_samples.samples(file) if row["key"]}
    with fsspec.open(beside, "rb") as handle:
        table = pq.read_table(handle, partitioning=None, page_checksum_verification=True)
    table = table.rename_columns(distinct(table.column_names))
    unlisted = images.keys() - set(table["key"].to_pylist())
    if unlisted:
        raise CurateError(
            f"'{file}' holds {len(unlisted)} samples that '{beside}' does not list, such as '{min(unlisted)}': "
            "remove that parquet to read the tar by itself"
        )
    for batch in table.slice(start).combine_chunks().to_batches(max_chunksize=batch_rows):
        # A download that failed keeps its own status and reason.
        statuses = {n: batch[n].to_pylist() for n in ("status", "error_message") if n in batch.schema.names}
        listed = []
        for i, key in enumerate(batch["key"].to_pylist()):
            failed = {name: values[i] for name, values in statuses.items()}
            if failed.get("status") in (None, "success"):
                failed = {"status": "no_image", "error_message": "not in the tar"}
            listed.append(images.get(key, failed))
        yield _with_images(batch, listed)
