"""Arrays of an .npz beside a parquet as columns: DataComp keeps CLIP's vectors so, row by row with its metadata."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import fsspec
import pyarrow as pa

from curate.arrays.npy_rows import Array, exactly, head
from curate.errors import CurateError, unknown
from curate.read.input_files import about_file, mark
from curate.read.input_files import content as of_file

#: Those of DataComp: vectors of images and texts by OpenAI's ViT-B/32 and ViT-L/14, float16, not of unit length.
DATACOMP = ("b32_img", "b32_txt", "l14_img", "l14_txt")


def beside(file: str) -> str:
    """
    >>> beside("metadata/0a1b.parquet")
    'metadata/0a1b.npz'
    """
    return file.removesuffix(".parquet") + ".npz"


def about(file: str) -> dict[str, Any]:
    """What a file system says of the parquet, with a mark that changes with either file."""
    own, other = about_file(file), about_file(beside(file))
    return {"size": own.get("size"), "ETag": f"{mark(own)} {mark(other)} {other.get('size')}"}


def content(of_parquet: Callable[[str], str], file: str) -> str:
    """A hash of both files."""
    return f"{of_parquet(file)} {of_file(beside(file))}"


def arrays(file: str, names: Sequence[str], rows: int) -> list[Array]:
    """The arrays of these names beside a parquet of so many rows; of each only the head is read.

    Raises:
        CurateError: when a name is not there, an array holds something else than a number or a vector for each row, or
            the file cannot be read.
    """
    with _opened(file) as archive:
        known = [name.removesuffix(".npy") for name in archive.namelist()]
        chosen = []
        for name in names:
            if name not in known:
                raise unknown("array", name, known, f"'{beside(file)}'")
            with archive.open(f"{name}.npy") as member:
                array = head(name, member, beside(file))
            if array.shape[0] != rows:
                raise CurateError(f"'{beside(file)}' has {array.shape[0]} rows of {name}, and '{file}' has {rows}")
            chosen.append(array)
        return chosen


def batches(file: str, chosen: Sequence[Array], start: int) -> Generator[pa.RecordBatch, int, None]:
    """Send it a number of rows, and it gives as many rows of the arrays, from row `start` on; begin it by `next`."""
    with _opened(file) as archive, contextlib.ExitStack() as stack:
        members = [stack.enter_context(archive.open(f"{array.name}.npy")) for array in chosen]
        for array, member in zip(chosen, members, strict=True):
            head(array.name, member, beside(file))
            member.seek(start * array.row_bytes, 1)
        rows = yield pa.record_batch({})
        while True:
            columns = {
                array.name: array.values(exactly(member, rows * array.row_bytes))
                for array, member in zip(chosen, members, strict=True)
            }
            rows = yield pa.record_batch(columns)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[zipfile.ZipFile]:
    """
    Raises:
        CurateError: when the file is not there, or damaged; the message names it.
    """
    try:
        with fsspec.open(beside(file), "rb") as handle, zipfile.ZipFile(handle) as archive:
            yield archive
    except FileNotFoundError as error:
        raise CurateError(f"there is no '{beside(file)}', which `npz` asks for beside '{file}'") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise CurateError(f"cannot read '{beside(file)}': {type(error).__name__}: {error}") from error
