"""Images that a table holds or names: `{bytes, path}` as Hugging Face keeps them, bytes in a column, paths of files."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import fsspec
import pyarrow as pa

from curate.errors import unknown
from curate.pictures import image_kind
from curate.read.tar_samples import facts
from curate.store.image_columns import IMAGE, IMAGE_FIELDS, READ_FIELDS

#: Names of columns that hold the bytes of an image: the ones that img2dataset's parquet output has, and the usual ones.
BYTES_NAMES = ("jpg", "jpeg", "png", "webp", "image", "img", "image_bytes")
#: Names of columns that hold {bytes, path} of something else.
OTHER_MEDIA = ("audio", "video", "pdf", "mesh")
#: Column of a Hugging Face image folder's metadata file that names the image.
FILE_NAME = "file_name"
FIELDS = {name: kind for name, kind in (IMAGE_FIELDS | READ_FIELDS).items() if name != "members"}
#: Columns by which img2dataset's own tables are known.
_IMG2DATASET = {"key", "status", "error_message", "original_width"}
_TOLD = ("status", "error_message", "original_width", "original_height", "sha256")
#: Rows of a batch: a row may weigh megabytes.
BATCH_ROWS = 256


def column(schema: pa.Schema, file: str, columns: Mapping[str, str | None]) -> str | None:
    """The column with the images: `columns: {image: ...}`, or one that can hold nothing else.

    Raises:
        CurateError: when the column that is named is not there.
    """
    if "image" in columns:
        named = columns["image"]
        if named is not None and named not in schema.names:
            raise unknown("column", named, schema.names, f"'{file}'")
        return named
    structs = [f.name for f in schema if pa.types.is_struct(f.type) and {"bytes", "path"} <= {c.name for c in f.type}]
    structs = [name for name in structs if name not in OTHER_MEDIA]
    if structs:
        return next((name for name in BYTES_NAMES if name in structs), structs[0])
    held = {f.name for f in schema if _is_bytes(f.type)}
    holding = [name for name in BYTES_NAMES if name in held]
    if not holding and posixpath.basename(file).lower().startswith("metadata."):
        holding = [f.name for f in schema if f.name == FILE_NAME]
    return holding[0] if holding else None


def with_images(schema: pa.Schema, file: str, columns: Mapping[str, str | None]) -> pa.Schema:
    """The schema with what describes the images in the place of the column that holds them; a path stays."""
    name = column(schema, file, columns)
    if name is None:
        kept = list(schema) if _beside(schema, file) else []
    else:
        kept = [field for field in schema if field.name != name]
        path = _path_name(schema, name)
        kept += [pa.field(path, pa.large_string())] if path else []
    return pa.schema([*kept, *((IMAGE + n, kind) for n, kind in FIELDS.items())]) if kept or name else schema


def names_files(schema: pa.Schema, file: str, columns: Mapping[str, str | None]) -> bool:
    """Whether rows name files as their images: by a path in a column, or by the key in img2dataset's `files` output."""
    name = column(schema, file, columns)
    return bool(_beside(schema, file)) if name is None else not _is_bytes(schema.field(name).type)


def _beside(schema: pa.Schema, file: str) -> dict[str, str]:
    """Paths of images by key, of img2dataset's `files` output: a parquet, and a folder of its name with the files."""
    return _listing(file.rpartition(".")[0]) if set(schema.names) >= _IMG2DATASET else {}


@lru_cache(4)
def _listing(folder: str) -> dict[str, str]:
    fs, path = fsspec.core.url_to_fs(folder)
    try:
        names = [entry.rpartition("/")[2] for entry in fs.ls(path, detail=False)]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    parts = [(name, name.partition(".")) for name in sorted(names)]
    base = folder.rpartition("/")[2]
    return {key: f"{base}/{name}" for name, (key, _, ending) in parts if ending.lower() in image_kind.EXTENSIONS}


def _path_name(schema: pa.Schema, name: str) -> str:
    """The name under which the path of an image stays a column; "" where there is none."""
    kind = schema.field(name).type
    if pa.types.is_struct(kind):
        path = f"{name}_path"
        while path in schema.names:
            path += "_input"
        return path
    return "" if _is_bytes(kind) else name


def _is_bytes(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_binary(plain) or pa.types.is_large_binary(plain) or pa.types.is_binary_view(plain))


def taken(batch: pa.RecordBatch, file: str, columns: Mapping[str, str | None]) -> pa.RecordBatch:
    """A batch with the schema of `with_images`."""
    name = column(batch.schema, file, columns)
    beside = _beside(batch.schema, file) if name is None else {}
    if name is None and not beside:
        return batch
    values = batch[name].to_pylist() if name else [beside.get(key) for key in batch["key"].to_pylist()]
    fields = [dict[str, Any]()] * len(values)
    if set(batch.schema.names) >= _IMG2DATASET:
        fields = batch.select([n for n in _TOLD if n in batch.schema.names]).to_pylist()
    images, paths = [], []
    folder = file.rpartition("/")[0]
    for row, value in enumerate(values):
        body, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else _parts(value)
        paths.append(path)
        image = (
            _held(body, path, fields[row])
            if body is not None
            else _named(path, folder, "image" in columns, fields[row])
        )
        if image["status"] == "no_image" and fields[row].get("status") not in (None, "success"):
            # A download that failed keeps its own status and reason.
            image |= {name: fields[row][name] for name in ("status", "error_message")}
        images.append(image)
    rest = {f.name: batch[f.name] for f in batch.schema if f.name != name}
    kept = _path_name(batch.schema, name) if name else ""
    if kept:
        rest[kept] = pa.array(paths, pa.large_string())
    return pa.record_batch(rest | {IMAGE + n: pa.array([i.get(n) for i in images], k) for n, k in FIELDS.items()})


def _parts(value: Any) -> tuple[bytes | None, str | None]:
    return (value, None) if isinstance(value, bytes) else (None, None if value is None else str(value))


def _held(body: bytes, path: str | None, fields: dict[str, Any]) -> dict[str, Any]:
    image: dict[str, Any] = {"status": "success", "size": len(body)} | facts(body, fields)
    image["extension"] = image_kind.extension(path or "", body[: image_kind.HEAD]) or "img"
    image["sample"] = path or image["sha256"]
    if image["status"] == "success":
        image["bytes"] = body
    return image


def _named(path: str | None, folder: str, explicit: bool, fields: dict[str, Any]) -> dict[str, Any]:
    """An image that is a file: it stays where it is."""
    if not path:
        return {"status": "no_image"}
    try:
        place = _place(path, folder, explicit)
    except ValueError as error:
        return {"status": "no_image", "error_message": str(error)[:200], "sample": path}
    return of_file(place, path, fields)


def of_file(place: str, path: str, fields: dict[str, Any]) -> dict[str, Any]:
    """What describes an image that is a file.

    path: what the input calls it. fields: as `facts` has them.
    """
    try:
        fs, plain = fsspec.core.url_to_fs(place)
        body = fs.cat_file(plain)
    except Exception as error:  # noqa: BLE001 - whatever keeps a file from being read is the status of its row
        return {"status": "no_image", "error_message": f"{type(error).__name__}: {path}"[:200], "sample": path}
    image: dict[str, Any] = {"status": "success", "tar": place, "offset": 0, "size": len(body), "sample": path}
    return image | {"extension": image_kind.extension(path, body[: image_kind.HEAD])} | facts(body, fields)


def _place(path: str, folder: str, explicit: bool) -> str:
    """Where a named file is. What an input names by itself has to lie in its own folder.

    >>> _place("a/b.jpg", "/data", False), _place("file:///tmp/b.jpg", "/data", True)
    ('/data/a/b.jpg', '/tmp/b.jpg')

    Raises:
        ValueError: when that is not allowed.
    """
    if path.startswith(("http://", "https://")):
        raise ValueError("a url, no file: name its column `url` and download")
    if not explicit:
        joined = posixpath.normpath(posixpath.join("/", path.replace("\\", "/")))
        if "://" in path or path.startswith("/") or ".." in path.split("/"):
            raise ValueError("outside of the input's folder: name the column, columns: {image: ...}, to allow it")
        return folder + joined
    path = path.removeprefix("file://")
    return path if "://" in path or path.startswith("/") else posixpath.join(folder, path)


def without(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of a file without images, in an input whose other files have some."""
    status = {"status": pa.array(["no_image"] * batch.num_rows, pa.string())}
    images = {IMAGE + n: status.get(n, pa.nulls(batch.num_rows, kind)) for n, kind in FIELDS.items()}
    return pa.record_batch({name: batch[name] for name in batch.schema.names} | images)
