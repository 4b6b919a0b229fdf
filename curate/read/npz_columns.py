"""Arrays of an .npz beside a parquet as columns: DataComp keeps CLIP's vectors so, row by row with its metadata."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import fsspec
import numpy as np
import pyarrow as pa

from curate.errors import CurateError, unknown
from curate.read.input_files import about_file, mark
from curate.read.input_files import content as of_file

#: Those of DataComp: vectors of images and texts by OpenAI's ViT-B/32 and ViT-L/14, float16, not of unit length.
DATACOMP = ("b32_img", "b32_txt", "l14_img", "l14_txt")


@dataclass(frozen=True)
class Array:
    """An array in a file. shape: (rows,) or (rows, numbers of a vector)."""

    name: str
    shape: tuple[int, ...]
    kind: np.dtype[Any]

    @property
    def arrow(self) -> pa.DataType:
        number = pa.from_numpy_dtype(self.kind)
        return pa.list_(number) if len(self.shape) == 2 else number

    def values(self, data: bytes) -> pa.Array:
        """The rows that their bytes are."""
        numbers = np.frombuffer(data, self.kind)
        plain = pa.array(numbers.astype(self.kind.newbyteorder("="), copy=False))
        if len(self.shape) == 1:
            return plain
        ends = np.arange(0, len(numbers) + 1, self.shape[1], dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), plain)

    @property
    def row_bytes(self) -> int:
        return self.kind.itemsize * (self.shape[1] if len(self.shape) == 2 else 1)


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
                array = _head(name, member, file)
            if array.shape[0] != rows:
                raise CurateError(f"'{beside(file)}' has {array.shape[0]} rows of {name}, and '{file}' has {rows}")
            chosen.append(array)
        return chosen


def batches(file: str, chosen: Sequence[Array], start: int) -> Generator[pa.RecordBatch, int, None]:
    """Send it a number of rows, and it gives as many rows of the arrays, from row `start` on; begin it by `next`."""
    with _opened(file) as archive, contextlib.ExitStack() as stack:
        members = [stack.enter_context(archive.open(f"{array.name}.npy")) for array in chosen]
        for array, member in zip(chosen, members, strict=True):
            _head(array.name, member, file)
            member.seek(start * array.row_bytes, 1)
        rows = yield pa.record_batch({})
        while True:
            columns = {
                array.name: array.values(_exactly(member, rows * array.row_bytes))
                for array, member in zip(chosen, members, strict=True)
            }
            rows = yield pa.record_batch(columns)


def _exactly(member: IO[bytes], size: int) -> bytes:
    data = member.read(size)
    if len(data) < size:
        raise EOFError("an array ends early")
    return data


def _head(name: str, member: IO[bytes], file: str) -> Array:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, kind = read(member)
    vector = len(shape) == 2 and kind.kind == "f" and shape[1] > 0 and not by_columns
    number = len(shape) == 1 and kind.kind in "fiu"
    if not (vector or number) or kind.itemsize > 8:
        raise CurateError(
            f"array '{name}' of '{beside(file)}' is {kind} of shape {shape}: a vector of floats or a number for each "
            "row was expected"
        )
    return Array(name, shape, kind)


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
