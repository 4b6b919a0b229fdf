"""Arrays of .npy and .npz files, some rows at a time: of each only its head and the rows asked for are read."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import fsspec
import numpy as np
import pyarrow as pa

from curate.errors import CurateError, unknown


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


def head(name: str, member: IO[bytes], place: str) -> Array:
    """What an open .npy says of its array; the file is then at the first row. place: of the file, for errors.

    Raises:
        CurateError: when it holds something else than a number or a vector for each row.
    """
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, kind = read(member)
    vector = len(shape) == 2 and kind.kind == "f" and shape[1] > 0 and not by_columns
    number = len(shape) == 1 and kind.kind in "fiu"
    if not (vector or number) or kind.itemsize > 8:
        raise CurateError(
            f"array '{name}' of '{place}' is {kind} of shape {shape}: a vector of floats or a number for each row was "
            "expected"
        )
    return Array(name, shape, kind)


def exactly(member: IO[bytes], size: int) -> bytes:
    """So many bytes of a file.

    Raises:
        EOFError: when it ends before.
    """
    data = member.read(size)
    if len(data) < size:
        raise EOFError("an array ends early")
    return data


def heads(path: str, names: Sequence[str] | None = None) -> list[Array]:
    """The arrays of these names in a file, or all of them; the array of a .npy has the file's name.

    Raises:
        CurateError: when one is not there, or holds something else than a number or a vector for each row.
    """
    with members(path) as opened:
        for name in names or ():
            if name not in opened:
                raise unknown("array", name, opened, f"'{path}'")
        return [_head_of(opened, name, path) for name in (opened if names is None else names)]


def _head_of(opened: Opened, name: str, path: str) -> Array:
    with opened[name]() as member:
        return head(name, member, path)


def rows_of(path: str, arrays: Sequence[Array], start: int, stop: int) -> dict[str, pa.Array]:
    """Rows of arrays, by name.

    Raises:
        CurateError: when the file is not there or damaged.
    """
    rows = {}
    with members(path) as opened:
        for array in arrays:
            with opened[array.name]() as member:
                head(array.name, member, path)
                member.seek(start * array.row_bytes, 1)
                rows[array.name] = array.values(exactly(member, (stop - start) * array.row_bytes))
    return rows


#: Arrays of a file by name, each to be opened.
Opened = dict[str, Any]


@contextlib.contextmanager
def members(path: str) -> Iterator[Opened]:
    """
    Raises:
        CurateError: when the file is not there, or damaged; the message names it.
    """
    try:
        with fsspec.open(path, "rb") as handle:
            if not path.endswith(".npz"):
                yield {path.rpartition("/")[2].removesuffix(".npy"): lambda: contextlib.nullcontext(handle)}
                return
            with zipfile.ZipFile(handle) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
                yield {name.removesuffix(".npy"): lambda name=name: archive.open(name) for name in names}
    except FileNotFoundError as error:
        raise CurateError(f"there is no file '{path}'") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise CurateError(f"cannot read '{path}': {type(error).__name__}: {error}") from error
