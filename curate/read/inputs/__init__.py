"""Input formats, one file each.

A module has
    EXTENSIONS          endings of its files' names
    SEEKABLE            whether a start inside a file costs little: then several tasks share one file
    DECLARED            whether each file states all its columns: then one without urls or captions is a mistake, no gap
    schema(file)        columns and types, without reading the file whole
    count(file)         number of rows, as `read` gives them
    read(file, start, batch_rows)   record batches of at most `batch_rows`, from row `start` on, with `schema`'s columns
and, where a file says too little of itself,
    scan(file)          rows, columns and remarks (malformed rows, guesses) of a file that is read whole for it; where
                        files do not declare their columns, `read` takes these as `types`
and, where a file is a folder,
    about(file)         size and mark of it, as a file system has them of a file
    content(file)       a hash of what it holds
and, where it holds web pages,
    HAS_LINKS           True: `count`, `scan` and `read` take `links`, the rules by which image links become rows
and, where files of arrays may lie beside its files,
    HAS_NPZ             True: `schema` and `read` take `npz`, the names of arrays that become columns
and, where it costs little,
    column(file, name)  values of one column, for a look whether they fit another type
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

from curate.messages.remarks import Remarks
from curate.record import MALFORMED
from curate.store.image_columns import is_image_column

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
    for place, original in enumerate(names, 1):
        name = f"{MALFORMED}_input" if original == MALFORMED else original
        while name in unique or is_image_column(name):
            name += f"_{place}"
        unique[name] = None
    return list(unique)
