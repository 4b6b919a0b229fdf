"""An evaluation set to keep apart from: embeddings or hashes in a file or in stores, or a folder of its images, and
their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from PIL import Image

from curate.alike.against_old import OldStore
from curate.alike.hash_columns import BYTES, hash_words, narrow_hashes
from curate.arrays.arrow_columns import as_array
from curate.arrays.vectors import lengths, normalised, read_vectors, unit_rows
from curate.errors import CurateError, unknown
from curate.op import Score
from curate.pictures.attempt import attempt
from curate.pictures.image_kind import EXTENSIONS

#: Endings of the files of a folder that are images.
IMAGES = tuple(f".{ending}" for ending in EXTENSIONS if ending != "img")
#: Images of a folder that are decoded at a time.
AT_ONCE = 256


class Set(NamedTuple):
    """values: float32[n, d] of length 1, uint64[n] or uint64[n, 4]. names: one for each.

    stores: the store of each, where they come from stores.
    """

    values: np.ndarray
    names: list[str]
    stores: Sequence[str] = ()


def opened(path: str) -> Any:
    try:
        return fsspec.open(path, "rb").open()
    except OSError as error:
        raise CurateError(f"dedupe.decontaminate: cannot open '{path}': {error}") from error


def numbers(column: pa.Array | pa.ChunkedArray, name: str, vectors: bool, dim: int | None = None) -> np.ndarray:
    """What of a column is compared: unit vectors, 64-bit hashes or 256-bit ones, by its type."""
    if vectors:
        return unit_rows(column, name, dim)
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return narrow_hashes(whole, name) if pa.types.is_integer(whole.type) else hash_words(whole, name)


def from_npy(path: str, vectors: bool) -> Set:
    """float[n, d], uint64[n], or uint8[n, 32]; each is named by its number."""
    with opened(path) as file:
        values = np.load(file, allow_pickle=False)
    layout = (values.dtype.kind if vectors else values.dtype.name, values.ndim)
    wide = layout == ("uint8", 2) and values.shape[1] == BYTES
    if layout not in ((("f", 2),) if vectors else (("uint64", 1),)) and not (wide and not vectors):
        expected = "float[n, d] for `threshold`" if vectors else "uint64[n] or uint8[n, 32] for `radius`"
        raise CurateError(
            f"dedupe.decontaminate: '{path}' holds {values.dtype}{list(values.shape)}, expected {expected}"
        )
    rows = normalised(values.astype(np.float32), path) if vectors else values
    return Set(np.ascontiguousarray(rows).view(np.uint64) if wide else rows, [str(i) for i in range(len(values))])


def from_parquet(path: str, vectors: bool, column: str, names: str) -> Set:
    """A column, and the names that another has or the rows' numbers. Rows of null are left out."""
    with opened(path) as file:
        columns = pq.read_schema(file).names
        for name in filter(None, (column, names)):
            if name not in columns:
                raise unknown("column", name, columns, path)
        file.seek(0)
        table = pq.read_table(file, columns=list(filter(None, (column, names))), page_checksum_verification=True)
    table = table.filter(table[column].is_valid())
    labels = table[names].to_pylist() if names else range(len(table))
    return Set(numbers(table[column], column, vectors), [str(name) for name in labels])


def from_stores(stores: Sequence[OldStore], vectors: bool, column: str, names: str) -> Set:
    """A column of the rows that are in, and the values that another has for them. Rows without a value that can be
    compared are left out."""
    arrays: list[np.ndarray] = []
    labels, of = list[str](), list[str]()
    for old in stores:
        for shard in old.manifest.shard_rows():
            table = old.view.read(shard, list(dict.fromkeys((column, names))))
            kept = old.view.kept(shard)
            table = table if kept is None else table.filter(pa.array(kept))
            table = table.filter(table[column].is_valid())
            if vectors:
                sizes = lengths(table[column], column)
                read = read_vectors(table[column], column, int(sizes.max(initial=0)), another_model=False)
                table, values = table.filter(pa.array(read.good)), read.unit[read.good]
            else:
                values = numbers(table[column], column, False)
            if len(table):
                arrays.append(values)
                labels += [str(name) for name in table[names].to_pylist()]
                of += [old.name] * len(table)
    shapes = {values.shape[1:] for values in arrays}
    if len(shapes) > 1:
        wide = " and ".join(str(shape[0] if shape else 1) for shape in sorted(shapes))
        raise CurateError(f"dedupe.decontaminate: column '{column}' of old stores has values of {wide} numbers")
    return Set(np.concatenate(arrays) if arrays else np.empty(0, np.uint64), labels, of)


def files_of(folder: str) -> list[str]:
    """The images below a folder, in order of their names."""
    filesystem, path = fsspec.core.url_to_fs(folder)
    try:
        below = filesystem.find(path)
    except OSError as error:
        raise CurateError(f"dedupe.decontaminate: cannot list '{folder}': {error}") from error
    files = sorted(filesystem.unstrip_protocol(name) for name in below if name.lower().endswith(IMAGES))
    if not files:
        raise CurateError(
            f"dedupe.decontaminate: '{folder}' is neither a .npy nor a .parquet file, no store, and no folder with "
            "images in it"
        )
    return files


def root_of(folder: str) -> str:
    filesystem, path = fsspec.core.url_to_fs(folder)
    return str(filesystem.unstrip_protocol(path)).rstrip("/") + "/"


def digest(path: str) -> str:
    """Of the content of a file, or of all images below a folder and their names."""
    total = xxhash.xxh3_128()
    single = path.endswith((".npy", ".parquet"))
    for name in [path] if single else files_of(path):
        if not single:
            total.update(name.removeprefix(root_of(path)).encode())
        with opened(name) as file:
            total.update(file.read())
    return total.hexdigest()


def from_folder(folder: str, vectors: bool, column: str, op: Score) -> Set:
    """What `op` makes of each image, as `column`; images that it has nothing for are left out.

    Raises:
        CurateError: for a file that is no image: a set that is checked in part is not checked.
    """
    op.check()
    op.setup()
    chunks, names = [], []
    files, root = files_of(folder), root_of(folder)
    for start in range(0, len(files), AT_ONCE):
        some = files[start : start + AT_ONCE]
        columns = {"text": pa.array([""] * len(some))} if "text" in op.reads() else {}
        values = as_array(op.apply(columns, [_image(name) for name in some])[column], op.makes()[column])
        valid = values.is_valid().to_pylist()
        names += [name.removeprefix(root) for name, usable in zip(some, valid, strict=True) if usable]
        chunks.append(values.filter(values.is_valid()))
    return Set(numbers(pa.chunked_array(chunks, op.makes()[column]), column, vectors), names)


def _image(path: str) -> Image.Image:
    """As the pool's images are decoded."""
    with opened(path) as file:
        image, status = attempt(file.read())
    if image is None:
        raise CurateError(f"dedupe.decontaminate: '{path}' is no image that can be read: {status}")
    return image.image
