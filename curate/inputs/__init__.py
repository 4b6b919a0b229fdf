"""Input formats, one file each.

A module has
    EXTENSIONS          endings of its files' names
    SEEKABLE            whether a start inside a file costs little: then several tasks share one file
    DECLARED            whether each file states all its columns: then one without urls or captions is a mistake, no gap
    schema(file)        columns and types, without reading the file whole
    count(file)         number of rows, as `read` gives them
    read(file, start, batch_rows)   record batches of at most `batch_rows`, from row `start` on, with `schema`'s columns
and, where a file says too little of itself,
    scan(file)          rows, columns and remarks (malformed rows, guesses) of a file that is read whole for it
"""

from __future__ import annotations

import contextlib
import importlib
import io
import lzma
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import BinaryIO, cast

import fsspec
import pyarrow as pa

from curate.errors import CurateError, unknown
from curate.image_columns import is_image_column
from curate.remarks import Remarks

#: Column that holds what of a line or sample is damaged or fits no column. Such a row is read like any other: what
#: is whole of it is in its columns, the rest is null.
MALFORMED = "malformed"

#: Endings of compressed files, to Arrow's names; Arrow has no xz, Python has.
CODECS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz"}

#: More columns than this are a mistake: a wrong separator, or data in the place of names.
MOST_COLUMNS = 2_000


@dataclass(frozen=True)
class Scan:
    """What a whole file holds. `schema` has the types of all its values; the count of malformed rows is a remark."""

    rows: int
    schema: pa.Schema
    remarks: Remarks = field(default_factory=Remarks)


def endings(*names: str) -> tuple[str, ...]:
    """File name endings of a text format, plain and compressed."""
    return tuple(name + codec for name in names for codec in ("", *CODECS))


def formats() -> dict[str, ModuleType]:
    """Format name to its module."""
    return {m.name: importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)}


def format_of(file: str, known: dict[str, ModuleType]) -> str | None:
    """The format whose extension ends a file's name, longest extension first."""
    matches = [(len(e), name) for name, module in known.items() for e in module.EXTENSIONS if file.lower().endswith(e)]
    return max(matches)[1] if matches else None


@contextlib.contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed as its name says; frames or members in a row are one stream.

    Raises:
        OSError, LZMAError, EOFError: while reading, when a compressed file is damaged or cut off. (Python's zstandard
            ends without an error at both a cut and the first frame's end.)
    """
    codec = next((codec for ending, codec in CODECS.items() if file.lower().endswith(ending)), None)
    with fsspec.open(file, "rb") as handle:
        if codec is None:
            yield handle
        elif codec == "xz":
            with lzma.open(handle) as plain_text:
                yield cast(BinaryIO, plain_text)
        else:
            plain = pa.CompressedInputStream(pa.PythonFile(handle, "r"), codec)
            with io.BufferedReader(plain, 1 << 20) as buffered:
                yield cast(BinaryIO, buffered)


def distinct(names: Iterable[str]) -> list[str]:
    """Column names as given, changed where a name came before, or is one of our own.

    >>> distinct(["url", "text", "text"])
    ['url', 'text', 'text_3']
    >>> distinct(["image:status", "image:colour", "malformed"])
    ['image:status_1', 'image:colour', 'malformed_input']
    """
    unique: dict[str, None] = {}
    for place, given in enumerate(names, 1):
        name = f"{MALFORMED}_input" if given == MALFORMED else given
        while name in unique or is_image_column(name):
            name += f"_{place}"
        unique[name] = None
    return list(unique)


def find(source: str, format_name: str = "auto") -> tuple[str, list[str]]:
    """The format and the files, sorted by name, of a file, folder or glob on any fsspec file system.

    A folder of img2dataset's is read by its tars, each with the parquet beside it. Names that begin with `.` or `_`
    are left out; `.json` files are, too, where there is data of another kind: they describe it.

    Raises:
        CurateError: when nothing is there, the format is unknown, or a folder mixes formats.
    """
    known = formats()
    if format_name != "auto" and format_name not in known:
        raise unknown("input format", format_name, known)
    try:
        found = _files(source)
    except Exception as error:
        # Object stores have error classes of their own.
        raise CurateError(f"cannot open input '{source}': {type(error).__name__}: {error}") from error
    if not found:
        raise CurateError(f"no input at '{source}'")
    kinds: dict[str, list[str]] = {}
    for file in found:
        kind = format_of(file, known)
        if kind:
            kinds.setdefault(kind, []).append(file)
    if format_name != "auto":
        return format_name, found if len(found) == 1 else kinds.get(format_name, found)
    data = [file for file in kinds.get("jsonl", []) if not file.lower().endswith(".json")]
    if "jsonl" in kinds and (len(kinds) > 1 or data):
        kinds["jsonl"] = data
    if "webdataset" in kinds:
        tars = {file[: -len(".tar")] for file in kinds["webdataset"]}
        kinds["parquet"] = [f for f in kinds.get("parquet", []) if f[: -len(".parquet")] not in tars]
    kinds = {kind: files for kind, files in kinds.items() if files}
    if len(kinds) != 1:
        extensions = ", ".join(e for module in known.values() for e in module.EXTENSIONS)
        what = f"a mix of {', '.join(kinds)}" if kinds else "no file of a known kind"
        raise CurateError(f"input '{source}' holds {what}; known: {extensions}. Name one format, or a glob")
    return next(iter(kinds.items()))


def _files(source: str) -> list[str]:
    fs, path = fsspec.core.url_to_fs(source)
    path = path.rstrip("/")
    fs.invalidate_cache()
    try:
        # Not isdir(): over HTTP, that is whether there are links in the file.
        found = [path] if fs.info(path)["type"] == "file" else _under(fs, path)
    except FileNotFoundError:
        entries = fs.glob(path, detail=True).items() if any(c in path for c in "*?[") else ()
        found = [f for p, about in entries for f in (_under(fs, p) if about["type"] == "directory" else [p])]
    return [fs.unstrip_protocol(f) if "://" in source else f for f in sorted(set(found))]


def _under(fs: fsspec.AbstractFileSystem, folder: str) -> list[str]:
    inner = {file: file[len(folder) :].strip("/").split("/") for file in fs.find(folder)}
    return [file for file, parts in inner.items() if not any(p.startswith((".", "_")) for p in parts)]
