"""Image files without a table: a folder of them is a file of this format, as Hugging Face's imagefolder has classes.

Where a `metadata.csv`, `.jsonl` or `.parquet` names the images, that table is the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import fsspec
import pyarrow as pa

from curate.read import image_files, images_in_columns
from curate.read.image_files import CAPTION, about, content, without_ending
from curate.read.tar_samples import NOT_UTF8
from curate.store.image_columns import IMAGE

__all__ = ["about", "content"]

#: No file's name tells it: `look` takes folders of images for it.
EXTENSIONS = ()

SEEKABLE = True

DECLARED = False

#: file_name: below the folder. label: the folder's own name, a class where folders are classes. text: of the file
#: beside the image that has its name and ends with `.txt`.
FIELDS = pa.schema([("file_name", pa.large_string()), ("label", pa.large_string())])
TEXT = pa.field("text", pa.large_string())

_BOM = b"\xef\xbb\xbf"


def schema(folder: str) -> pa.Schema:
    return _schema(image_files.images(folder))


def _schema(images: Sequence[tuple[str, bool]]) -> pa.Schema:
    own = [*FIELDS, TEXT] if any(captioned for _, captioned in images) else FIELDS
    return pa.schema([*own, *((IMAGE + name, kind) for name, kind in images_in_columns.FIELDS.items())])


def count(folder: str) -> int:
    return len(image_files.images(folder))


def read(folder: str, start: int = 0, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Rows of a folder's images by name, from number `start` on; the images stay where they are."""
    images = image_files.images(folder)
    fields = _schema(images)
    rows = (_row(folder, name, captioned) for name, captioned in images[start:])
    while chunk := list(islice(rows, min(batch_rows, images_in_columns.BATCH_ROWS))):
        columns = [pa.array([row.get(field.name) for row in chunk], field.type) for field in fields]
        yield pa.record_batch(columns, schema=fields)


def _row(folder: str, name: str, captioned: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"file_name": name, "label": folder.rstrip("/").rpartition("/")[2]}
    image = images_in_columns.of_file(f"{folder}/{name}", name, {})
    if captioned:
        raw = _bytes(f"{folder}/{without_ending(name)}{CAPTION}")
        row["text"] = None if raw is None else raw.removeprefix(_BOM).decode("utf-8", "replace").rstrip("\r\n")
        if raw is not None and "\ufffd" in row["text"] and "\ufffd".encode() not in raw:
            image["remark"] = [NOT_UTF8]
    return row | {IMAGE + field: value for field, value in image.items()}


def _bytes(file: str) -> bytes | None:
    try:
        fs, path = fsspec.core.url_to_fs(file)
        return bytes(fs.cat_file(path))
    except FileNotFoundError:
        return None
