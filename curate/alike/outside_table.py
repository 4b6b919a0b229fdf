"""A table from outside whose rows are found by uid, url or file hash: parquet, arrays beside it, or arrays alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.alike.outside_keys import key_list
from curate.arrays.npy_rows import Array, heads, rows_of
from curate.errors import CurateError, unknown
from curate.record import UID_NAMES, URL_NAMES, find
from curate.store.file_hash import file_sha256

#: What rows may be found by, to the names under which tables have it.
KEYS = {"uid": UID_NAMES, "url": URL_NAMES, "sha256": ("sha256", "SHA256")}

#: Rows of arrays that are read at a time.
PIECE_ROWS = 1 << 17

#: Before the names of outside columns while rows are on their way: none is then called as what goes with them.
MARK = "outside:"


@dataclass(frozen=True)
class Column:
    """name: in the store. source: in the outside table. array: where it is one of an .npz or .npy."""

    name: str
    source: str
    kind: pa.DataType
    array: Array | None = None


@dataclass(frozen=True)
class Piece:
    """Rows that are read together. group: of a parquet's row groups; start, stop: rows of its arrays."""

    file: str
    group: int
    start: int
    stop: int


@dataclass(frozen=True)
class OutsideTable:
    """by: what rows are found by; key: the outside column that has it. key_file: the file of keys where these are not
    in `files`; its rows are those of the arrays. left_out: columns that nobody named and that are not taken."""

    files: tuple[str, ...]
    by: str
    key: str
    key_file: str
    columns: tuple[Column, ...]
    pieces: tuple[Piece, ...]
    left_out: tuple[str, ...] = ()

    @property
    def sizes(self) -> list[int]:
        """Rows of each piece."""
        return [piece.stop - piece.start for piece in self.pieces]

    @cached_property
    def schema(self) -> dict[str, pa.DataType]:
        """Of what `read` gives beside the key."""
        return {MARK + column.name: column.kind for column in self.columns}

    def read(self, number: int, names: Sequence[str]) -> pa.Table:
        """Columns of a piece: the key under the name that the store has for it, others with MARK before theirs."""
        piece = self.pieces[number]
        asked = [column for column in self.columns if MARK + column.name in names]
        plain = [column for column in asked if column.array is None]
        values: dict[str, Any] = {}
        if piece.file.endswith(".parquet"):
            sources = list(
                dict.fromkeys([*(column.source for column in plain), *([] if self.key_file else [self.key])])
            )
            with fsspec.open(piece.file, "rb") as file:
                table = pq.ParquetFile(file).read_row_group(piece.group, columns=sources)
            values = {name: table[name] for name in table.column_names}
        arrays = [column.array for column in asked if column.array]
        values |= rows_of(_arrays_of(piece.file), arrays, piece.start, piece.stop) if arrays else {}
        keys = _keys_of(self.key_file, self.key, piece) if self.key_file else values[self.key]
        columns = {self.by: pa.chunked_array([keys]) if isinstance(keys, pa.Array) else keys}
        columns |= {MARK + column.name: _plain(values[column.source]) for column in asked}
        return pa.table({name: columns[name] for name in names})

    def digest(self) -> str:
        """16 hex digits of what all files hold, in their order."""
        names = [*self.files, *([self.key_file] if self.key_file else [])]
        if any(column.array for column in self.columns):
            names += [_arrays_of(file) for file in self.files if file.endswith(".parquet")]
        sums = [file_sha256(name) for name in names]
        return hashlib.sha256(" ".join(sums).encode()).hexdigest()[:16]


def files_of(names: str | tuple[str, ...]) -> tuple[str, ...]:
    """The files that a name, a folder, a pattern or a list stands for, each list as it is, others in order of names.

    Raises:
        CurateError: when there are none, or one is of another kind.
    """
    if not isinstance(names, str):
        return tuple(file for name in names for file in files_of(name))
    files = [names]
    fs, place = fsspec.core.url_to_fs(names, use_listings_cache=False)
    if fs.isdir(place) or re.search(r"[*?\[]", place):
        pattern = f"{place.rstrip('/')}/*.parquet" if fs.isdir(place) else place
        files = sorted(fs.glob(pattern))
        files = [fs.unstrip_protocol(file) if "://" in names else file for file in files]
        if not files:
            raise CurateError(f"'{names}' holds no .parquet: name a parquet, a folder of these, an .npz or an .npy")
    for file in files:
        if not file.endswith((".parquet", ".npz", ".npy")):
            raise CurateError(f"'{file}' is no .parquet, .npz or .npy")
        if not fs.exists(fs._strip_protocol(file)):
            raise CurateError(f"there is no file '{file}'")
    return tuple(files)


@lru_cache(maxsize=32)
def open_table(
    files: tuple[str, ...], by: str, key: str, key_file: str, columns: tuple[tuple[str, str], ...], version: str
) -> OutsideTable:
    """columns: (name in the store, name outside) of those that are named; none: all but the key and what every record
    has. version: what tells the files from those of the same names before.

    Raises:
        CurateError: for columns that are not there or differ between files, and for files that cannot be read.
    """
    if key_file and len(files) > 1:
        raise CurateError(f"key_file '{key_file}' goes with one file, and there are {len(files)}")
    if not files[0].endswith(".parquet") and not key_file:
        raise CurateError(f"'{files[0]}' holds no {by}s: key_file names the file that has them, in the same order")
    first = _columns_of(files[0])
    key = key or (find(by, _schema_names(key_file or files[0]), KEYS[by]) or by)
    if not key_file and key not in first:
        raise unknown("column", key, first, f"'{files[0]}'")
    named = columns or tuple((name, name) for name in first if name not in (key, *_EVERY_ROW))
    chosen = []
    for name, source in named:
        column = first.get(source)
        if column is None and files[0].endswith(".parquet") and _has_arrays(files[0]):
            column = _array_columns(_arrays_of(files[0])).get(source)
        if column is None:
            raise unknown("column", source, {*first, *_beside(files[0])}, f"'{files[0]}'")
        chosen.append(Column(name, source, column.kind, column.array))
    _compare(files, key_file, key, chosen)
    pieces = tuple(piece for file in files for piece in _pieces(file, key_file, chosen))
    left_out = () if columns else tuple(name for name in first if name in _EVERY_ROW and name != key)
    return OutsideTable(files, by, key, key_file, tuple(chosen), pieces, left_out)


#: Names of columns that every record has.
_EVERY_ROW = ("uid", "url", "text")


def _columns_of(file: str) -> dict[str, Column]:
    if not file.endswith(".parquet"):
        return _array_columns(file)
    return {field.name: Column(field.name, field.name, _kind(field.type)) for field in _footer(file).schema_arrow}


def _array_columns(path: str) -> dict[str, Column]:
    return {array.name: Column(array.name, array.name, array.arrow, array) for array in heads(path)}


def _arrays_of(file: str) -> str:
    """Where the arrays of a file lie: beside a parquet, as DataComp has them."""
    return file.removesuffix(".parquet") + ".npz" if file.endswith(".parquet") else file


def _has_arrays(file: str) -> bool:
    fs, place = fsspec.core.url_to_fs(_arrays_of(file), use_listings_cache=False)
    return bool(fs.exists(place))


def _beside(file: str) -> list[str]:
    return list(_array_columns(_arrays_of(file))) if file.endswith(".parquet") and _has_arrays(file) else []


def _schema_names(file: str) -> list[str]:
    return list(_footer(file).schema_arrow.names) if file.endswith(".parquet") else []


def _footer(file: str) -> Any:
    """The metadata of a parquet, with its schema."""
    try:
        with fsspec.open(file, "rb") as opened:
            return pq.ParquetFile(opened)
    except FileNotFoundError as error:
        raise CurateError(f"there is no file '{file}'") from error
    except (pa.ArrowException, OSError) as error:
        raise CurateError(f"cannot read '{file}': {type(error).__name__}: {error}") from error


def _compare(files: Sequence[str], key_file: str, key: str, chosen: Sequence[Column]) -> None:
    """
    Raises:
        CurateError: for a file that has other columns than the first one.
    """
    for file in files[1:]:
        others = _columns_of(file)
        if not key_file and key not in others:
            raise unknown("column", key, others, f"'{file}'")
        if any(column.array for column in chosen):
            others |= {n: c for n, c in _array_columns(_arrays_of(file)).items() if n not in others}
        for column in chosen:
            if column.source not in others:
                raise unknown("column", column.source, others, f"'{file}'")
            if others[column.source].kind != column.kind:
                other = others[column.source].kind
                raise CurateError(f"column '{column.source}' is {column.kind} in '{files[0]}' and {other} in '{file}'")


def _pieces(file: str, key_file: str, chosen: Sequence[Column]) -> list[Piece]:
    """
    Raises:
        CurateError: when keys and arrays are not of as many rows.
    """
    source = file if file.endswith(".parquet") else key_file if key_file.endswith(".parquet") else ""
    if source:
        about = _footer(source).metadata
        ends = np.cumsum([0, *(about.row_group(n).num_rows for n in range(about.num_row_groups))]).tolist()
    else:
        rows = len(key_list(key_file))
        ends = [*range(0, rows, PIECE_ROWS), rows]
    for column in chosen:
        if column.array is None:
            continue
        (array,) = heads(_arrays_of(file), [column.source])
        if array.shape[0] != ends[-1]:
            raise CurateError(
                f"'{_arrays_of(file)}' has {array.shape[0]:,} rows of {column.source}, and '{source or key_file}' has "
                f"{ends[-1]:,}"
            )
    return [Piece(file, n, *ends[n : n + 2]) for n in range(len(ends) - 1)]


def _keys_of(key_file: str, key: str, piece: Piece) -> pa.Array | pa.ChunkedArray:
    if key_file.endswith(".parquet"):
        with fsspec.open(key_file, "rb") as file:
            return pq.ParquetFile(file).read_row_group(piece.group, columns=[key])[key]
    return pa.array(key_list(key_file)[piece.start : piece.stop], pa.string())


def _kind(kind: pa.DataType) -> pa.DataType:
    """A type without what only says how values are stored."""
    return _kind(kind.value_type) if pa.types.is_dictionary(kind) else kind


def _plain(values: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    return column.cast(_kind(column.type)) if pa.types.is_dictionary(column.type) else column


def table_name(files: str | tuple[str, ...]) -> str:
    """What the table of an outside one is called: as its first file or folder.

    >>> table_name("s3://bucket/m-flyt scores.parquet"), table_name(("metadata/", "more/"))
    ('m-flyt_scores', 'metadata')
    """
    first = files if isinstance(files, str) else files[0]
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", PurePosixPath(first.rstrip("/")).name)
    return re.sub(r"\.(parquet|npz|npy)$", "", name).strip("_.-") or "outside"


def renamed(columns: Sequence[str] | Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """(name in the store, name outside) of each."""
    return tuple(columns.items()) if isinstance(columns, Mapping) else tuple((name, name) for name in columns)
