"""Stored embeddings as matrices, and similarities between many of them in tiles, so that no square matrix is held."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.errors import CurateError

OK = "ok"

#: So many vectors that all have another length are no bad rows: another model made them.
ALL_OTHER = 8


class Vectors(NamedTuple):
    """unit: float32[n, d], each row of length 1: float16 moved the lengths, so they are normalised again.

    status: a word per row; where it is not `ok` the row of `unit` is zeros: `empty_vector`, `vector_of_512` for another
    length than the others', `not_finite_vector` for null, NaN or infinity in it, `zero_vector` for one that points
    nowhere, `no_vector` for null.
    """

    unit: np.ndarray
    status: np.ndarray

    @property
    def good(self) -> np.ndarray:
        """bool[n]: rows that have a vector."""
        return np.asarray(self.status == OK)


class Stored(NamedTuple):
    """values: float32[n, d], each row as it is stored, of whatever length. status: as Vectors."""

    values: np.ndarray
    status: np.ndarray

    @property
    def good(self) -> np.ndarray:
        """bool[n]: rows that have a vector."""
        return np.asarray(self.status == OK)


def lengths(column: pa.Array | pa.ChunkedArray, name: str) -> np.ndarray:
    """int64[n]: how many numbers the vector of each row has; -1 for null.

    Raises:
        CurateError: when the column does not hold lists of numbers.
    """
    return _lengths(_lists(column, name))


def read_vectors(column: pa.Array | pa.ChunkedArray, name: str, dim: int, *, another_model: bool = True) -> Vectors:
    """The vectors of a column that have `dim` numbers; one that cannot be used costs no other row its own.

    another_model: whether ALL_OTHER or more vectors that all have another length are refused as another model's.

    >>> found = read_vectors(pa.array([[3.0, 4.0], [1.0], [0.0, float("nan")], [], [0.0, 0.0]]), "clip_img", 2)
    >>> found.unit[0].tolist(), found.status.tolist()
    ([0.6000000238418579, 0.800000011920929], ['ok', 'vector_of_1', 'not_finite_vector', 'empty_vector', 'zero_vector'])

    Raises:
        CurateError: when the column does not hold lists of numbers; for vectors of another model.
    """
    numbers, fits, status = _numbers(column, name, dim, another_model)
    unit = np.zeros((len(status), dim), np.float32)
    unit[fits], finite = _unit(numbers)
    status[fits[~unit[fits].any(axis=1)]] = "zero_vector"
    status[fits[~finite]] = "not_finite_vector"
    return Vectors(unit, status)


def stored_vectors(column: pa.Array | pa.ChunkedArray, name: str, dim: int, *, another_model: bool = True) -> Stored:
    """As read_vectors, of vectors whose length counts: they are not made unit vectors.

    >>> stored = stored_vectors(pa.array([[3.0, 4.0], None, [0.0, 0.0]]), "clip_img", 2)
    >>> stored.values[0].tolist(), stored.status.tolist()
    ([3.0, 4.0], ['ok', 'no_vector', 'zero_vector'])

    Raises:
        CurateError: as read_vectors.
    """
    numbers, fits, status = _numbers(column, name, dim, another_model)
    values = np.zeros((len(status), dim), np.float32)
    with np.errstate(over="ignore"):
        rows = numbers.astype(np.float32)
    finite = np.isfinite(rows).all(axis=1)
    rows[~finite] = 0
    values[fits] = rows
    status[fits[~rows.any(axis=1)]] = "zero_vector"
    status[fits[~finite]] = "not_finite_vector"
    return Stored(values, status)


def _numbers(
    column: pa.Array | pa.ChunkedArray, name: str, dim: int, another_model: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(the numbers of the vectors that have `dim` of them, which rows those are, a word per row of the others)."""
    array = _lists(column, name)
    sizes = _lengths(array)
    if another_model and len(sizes) >= ALL_OTHER:
        _refuse_another(sizes, name, dim)
    status = np.full(len(array), OK, object)
    other = (sizes != dim) | (sizes == 0)
    status[other] = [_other(length) for length in sizes[other].tolist()]
    fits = np.flatnonzero(~other)
    numbers = array.take(pa.array(fits)).flatten().to_numpy(zero_copy_only=False)
    return numbers.reshape(len(fits), dim), fits, status


def unit_rows(column: pa.Array | pa.ChunkedArray, name: str, dim: int | None = None) -> np.ndarray:
    """float32[n, d], each row of length 1, of a column in which every row must have a vector; zeros stay zeros.

    Raises:
        CurateError: as read_vectors, and naming the first row whose vector cannot be used.
    """
    sizes = lengths(column, name)
    if dim is None:
        dim = int(sizes.max(initial=0))
    _refuse_another(sizes, name, dim)
    vectors = read_vectors(column, name, dim)
    bad = np.flatnonzero((vectors.status != OK) & (vectors.status != "zero_vector"))
    if len(bad):
        word, expected = vectors.status[bad[0]], vectors.unit.shape[1]
        raise CurateError(f"column '{name}', row {bad[0]}: {word}, expected {expected} finite numbers in every row")
    return vectors.unit


def _refuse_another(sizes: np.ndarray, name: str, dim: int) -> None:
    if len(sizes) and ((sizes > 0) & (sizes != dim)).all():
        raise CurateError(f"column '{name}' has vectors of {sizes[0]} numbers, expected {dim}: another model made them")


def _lists(column: pa.Array | pa.ChunkedArray, name: str) -> Any:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = array.type
    if pa.types.is_null(kind):
        return array.cast(pa.list_(pa.float32()))
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not pa.types.is_floating(kind.value_type):
        raise CurateError(f"column '{name}' is {kind}, expected embeddings: a list of float16 or float32 per row")
    return array


def _lengths(array: Any) -> np.ndarray:
    sizes: np.ndarray = array.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return sizes


def _other(length: int) -> str:
    return "no_vector" if length < 0 else f"vector_of_{length}" if length else "empty_vector"


def normalised(rows: np.ndarray, name: str) -> np.ndarray:
    """Rows of length 1; a row of zeros stays as it is.

    Raises:
        CurateError: for a number that is not finite.
    """
    unit, finite = _unit(rows)
    if not finite.all():
        raise CurateError(f"'{name}', row {np.flatnonzero(~finite)[0]}: not all numbers are finite")
    return unit


def _unit(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32[n, d] of length 1 or 0, and which rows are finite; the others are zeros.

    A square may be too large or too small for 32 bits though its number is not: such rows are scaled first.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        unit = rows.astype(np.float32)
        size = np.linalg.norm(unit, axis=1, keepdims=True)
        unit /= size
    odd = np.flatnonzero((size[:, 0] == 0) | ~np.isfinite(size[:, 0]))
    finite = np.ones(len(rows), bool)
    if len(odd):
        wide = rows[odd].astype(np.float64)
        finite[odd] = np.isfinite(wide).all(axis=1)
        wide[~finite[odd]] = 0
        most = np.abs(wide).max(axis=1, keepdims=True, initial=0)
        wide /= np.where(most == 0, 1, most)
        size = np.linalg.norm(wide, axis=1, keepdims=True)
        unit[odd] = wide / np.where(size == 0, 1, size)
    return unit, finite


def vectors_array(rows: np.ndarray, null: np.ndarray) -> pa.ListArray:
    """Rows as a list column of their own number type, null where `null`; unit_rows reads it.

    >>> vectors_array(np.array([[1, 2], [3, 4]], np.float16), np.array([False, True])).to_pylist()
    [[1.0, 2.0], None]
    """
    ends = np.cumsum(np.where(null, 0, rows.shape[1]), dtype=np.int32)
    values = pa.array(np.ascontiguousarray(rows[~null]).ravel())
    return pa.ListArray.from_arrays(pa.array(np.append(np.int32(0), ends)), values, mask=pa.array(null))
