"""WebDataset tars, and img2dataset's output folders with the parquet beside each tar; images stay where they are."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from curate.inputs import jsonl

EXTENSIONS = (".tar",)

SEEKABLE = False

#: Prefix of the columns that describe a row's image; reading moves them into the images table.
IMAGE = "image:"

#: Member extensions, in the order in which the first one present is the sample's image or caption.
IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
TEXT_EXTENSIONS = ("txt", "text", "caption", "cap")

#: Samples looked at to learn the columns of the json members.
SAMPLE = 1000

IMAGE_FIELDS = {
    "status": pa.string(),
    "error_message": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "original_width": pa.int32(),
    "original_height": pa.int32(),
    "original_bytes": pa.int64(),
    "sha256": pa.string(),
    "format": pa.string(),
    "extension": pa.string(),
    "key": pa.string(),
    "tar": pa.string(),
    "offset": pa.int64(),
    "size": pa.int64(),
}


def _samples(file: str) -> Iterator[dict[str, Any]]:
    """One dict per sample: json fields, `text`, `key`, and the image's place under IMAGE-prefixed names."""
    with fsspec.open(file, "rb") as handle:
        try:
            with tarfile.open(fileobj=handle, mode="r:") as tar:
                members = (m for m in tar if m.isfile())
                for key, group in itertools.groupby(members, key=lambda m: _split(m.name)[0]):
                    yield _sample(key, [(_split(m.name)[1], m) for m in group], handle, file)
        except (tarfile.TarError, EOFError, OSError) as error:
            yield {jsonl.MALFORMED: f"tar ends early: {error}", IMAGE + "status": "no_image"}


def _split(name: str) -> tuple[str, str]:
    """webdataset's rule: the key ends at the first dot of the file name."""
    folder, _, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), extension.lower()


def _sample(key: str, members: list[tuple[str, tarfile.TarInfo]], handle: Any, file: str) -> dict[str, Any]:
    by_extension = dict(members)
    row: dict[str, Any] = {}

    def read(member: tarfile.TarInfo) -> bytes:
        handle.seek(member.offset_data)
        data: bytes = handle.read(member.size)
        return data

    if "json" in by_extension:
        row |= jsonl._row(read(by_extension["json"]))
    text = next((e for e in TEXT_EXTENSIONS if e in by_extension), None)
    if text:
        row["text"] = read(by_extension[text]).decode("utf-8", "replace")
    row["key"] = key
    image = next((e for e in IMAGE_EXTENSIONS if e in by_extension), None)
    if image is None:
        return row | {IMAGE + "status": "no_image"}
    return row | _image(read(by_extension[image]), by_extension[image], image, key, file, row)


def _image(
    data: bytes, member: tarfile.TarInfo, extension: str, key: str, file: str, row: dict[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {"status": "success", "error_message": None, "key": key, "tar": file, "extension": extension}
    if len(data) < member.size:
        found["status"] = "truncated"
    else:
        try:
            with Image.open(io.BytesIO(data)) as opened:
                found["width"], found["height"] = opened.size
                found["format"] = (opened.format or "").lower()
        except Exception as error:  # noqa: BLE001 - any damage is a status of this row
            found |= {"status": "not_an_image", "error_message": str(error)[:200]}
    found |= {"offset": member.offset_data, "size": member.size, "original_bytes": member.size}
    # The size before img2dataset's resize, when its json tells; size rules are about the original.
    for name in ("original_width", "original_height"):
        known = row.get(name)
        found[name] = known if isinstance(known, int) else found.get(name.removeprefix("original_"))
    known_hash = row.get("sha256")
    found["sha256"] = known_hash if isinstance(known_hash, str) else hashlib.sha256(data).hexdigest()
    return {IMAGE + name: value for name, value in found.items()}


def _beside(file: str) -> str | None:
    """img2dataset's parquet of a tar: it also lists the rows whose download failed."""
    parquet = file.removesuffix(".tar") + ".parquet"
    fs, path = fsspec.core.url_to_fs(parquet)
    return parquet if fs.exists(path) else None


def schema(file: str) -> pa.Schema:
    images = [(IMAGE + name, kind) for name, kind in IMAGE_FIELDS.items()]
    beside = _beside(file)
    if beside:
        with fsspec.open(beside, "rb") as handle:
            fields = pq.read_schema(handle)
        return pa.schema([(f.name, f.type) for f in fields] + images)
    rows = list(itertools.islice(_samples(file), SAMPLE))
    names = dict.fromkeys(n for row in rows for n in row if not n.startswith(IMAGE) and n != jsonl.MALFORMED)
    kinds = [(n, jsonl._kind([row.get(n) for row in rows])) for n in names]
    return pa.schema([*kinds, (jsonl.MALFORMED, pa.large_string()), *images])


def count(file: str) -> int:
    beside = _beside(file)
    if beside:
        with fsspec.open(beside, "rb") as handle:
            return int(pq.ParquetFile(handle).metadata.num_rows)
    with fsspec.open(file, "rb") as handle:
        try:
            with tarfile.open(fileobj=handle, mode="r:") as tar:
                keys = (_split(m.name)[0] for m in tar if m.isfile())
                return sum(1 for _ in itertools.groupby(keys))
        except (tarfile.TarError, EOFError, OSError):
            return sum(1 for _ in _samples(file))


def read(file: str, start: int = 0, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Batches from row `start` on: rows of the parquet beside the tar, or else one row per sample."""
    fields = schema(file)
    if _beside(file):
        yield from _with_parquet(file, fields, start, batch_rows)
        return
    samples = itertools.islice(_samples(file), start, None)
    while chunk := list(itertools.islice(samples, batch_rows)):
        yield _batch(chunk, fields)


def _batch(rows: list[dict[str, Any]], fields: pa.Schema) -> pa.RecordBatch:
    columns = []
    for field in fields:
        values = [row.get(field.name) for row in rows]
        if field.name.startswith(IMAGE):
            columns.append(pa.array(values, field.type))
        else:
            columns.append(jsonl._column(values, field.type))
    return pa.record_batch(columns, schema=fields)


def _with_parquet(file: str, fields: pa.Schema, start: int, batch_rows: int) -> Iterator[pa.RecordBatch]:
    images = {row["key"]: row for row in _samples(file) if "key" in row}
    beside = _beside(file)
    assert beside
    with fsspec.open(beside, "rb") as handle:
        table = pq.read_table(handle, partitioning=None).slice(start)
    if "key" not in table.column_names:
        table = table.append_column("key", pa.nulls(table.num_rows, pa.string()))
    for batch in table.to_batches(max_chunksize=batch_rows):
        found = [images.get(key, {IMAGE + "status": "no_image"}) for key in batch["key"].to_pylist()]
        columns = [
            pa.array([row.get(f.name) for row in found], f.type)
            if f.name.startswith(IMAGE)
            else batch[f.name].cast(f.type)
            for f in fields
        ]
        yield pa.record_batch(columns, schema=fields)
