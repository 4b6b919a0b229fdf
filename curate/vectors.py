"""Stored embeddings as matrices, and similarities between many of them in tiles, so that no square matrix is held."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import CurateError

#: Rows and columns of a tile of similarities: 4 MB of float32.
TILE = 1024


def unit_rows(column: pa.Array | pa.ChunkedArray, name: str, dim: int | None = None) -> np.ndarray:
    """float32[n, d], each row of length 1: float16 moved the lengths, so they are normalised again. Zeros stay zeros.

    Raises:
        CurateError: when the column does not hold lists of numbers of one length, `dim` where that is given, or has
            null or a number that is not finite in it.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = array.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not pa.types.is_floating(kind.value_type):
        raise CurateError(f"column '{name}' is {kind}, expected embeddings: a list of float16 or float32 per row")
    lengths = np.unique(array.value_lengths().to_numpy(zero_copy_only=False)) if len(array) else np.array([dim or 0])
    if array.null_count or len(lengths) != 1:
        raise CurateError(f"column '{name}' has null in it, or vectors of several lengths: {lengths[:5].tolist()}")
    found = int(lengths[0])
    if dim is not None and found != dim:
        raise CurateError(f"column '{name}' has vectors of {found} numbers, expected {dim}: another model made them")
    rows: np.ndarray = array.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(array), found)
    return normalised(rows, name)


def normalised(rows: np.ndarray, name: str) -> np.ndarray:
    """Rows of length 1; a row of zeros stays as it is."""
    if not np.isfinite(rows).all():
        raise CurateError(f"'{name}' has numbers that are not finite")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: np.ndarray = rows / np.where(length == 0, 1, length)
    return unit.astype(np.float32)


def vectors_array(rows: np.ndarray, null: np.ndarray) -> pa.ListArray:
    """Rows as a list column of their own number type, null where `null`; unit_rows reads it.

    >>> vectors_array(np.array([[1, 2], [3, 4]], np.float16), np.array([False, True])).to_pylist()
    [[1.0, 2.0], None]
    """
    ends = np.cumsum(np.where(null, 0, rows.shape[1]), dtype=np.int32)
    values = pa.array(np.ascontiguousarray(rows[~null]).ravel())
    return pa.ListArray.from_arrays(pa.array(np.append(np.int32(0), ends)), values, mask=pa.array(null))


def earlier_max(unit: np.ndarray, tile: int = TILE) -> tuple[np.ndarray, np.ndarray]:
    """(m, i): the greatest cosine of each row with any row before it, and the first row that has it; 0 and -1 where
    there is none before. Memory is two tiles.

    >>> a, b, c = (np.exp(1j * np.radians(d)) for d in (0, 14, 28))
    >>> m, i = earlier_max(np.array([[z.real, z.imag] for z in (a, b, c)], np.float32))
    >>> [f"{value:.4f}" for value in m], i.tolist()
    (['0.0000', '0.9703', '0.9703'], [-1, 0, 1])
    """
    rows = len(unit)
    best, place = np.full(rows, -np.inf, np.float32), np.full(rows, -1, np.int64)
    for left in range(0, rows, tile):
        for right in range(left, rows, tile):
            tile_cos = unit[left : left + tile] @ unit[right : right + tile].T
            if left == right:
                tile_cos[np.tril_indices_from(tile_cos)] = -np.inf
            first = tile_cos.argmax(axis=0)
            most = np.take_along_axis(tile_cos, first[None], axis=0)[0]
            span = slice(right, right + tile)
            better = most > best[span]
            best[span] = np.where(better, most, best[span])
            place[span] = np.where(better, left + first, place[span])
    return np.where(place < 0, np.float32(0), best), place


def close_pairs(unit: np.ndarray, over: float, tile: int = TILE) -> tuple[np.ndarray, np.ndarray]:
    """Places (a, b), a < b, of rows with a cosine over `over`: a spanning forest of them, so never more than rows."""
    from curate.near.forest import spanning_forest

    found: list[Any] = [np.empty((2, 0), np.int64)]
    for left in range(0, len(unit), tile):
        row = []
        for right in range(left, len(unit), tile):
            a, b = np.nonzero(unit[left : left + tile] @ unit[right : right + tile].T > over)
            pairs = np.stack([a + left, b + right])
            row.append(pairs[:, pairs[0] < pairs[1]])
        links = np.concatenate([*found, *row], axis=1)
        found = [links[:, spanning_forest(links[0], links[1], np.ones(links.shape[1]))]]
    return found[0][0], found[0][1]


def nearest(unit: np.ndarray, others: np.ndarray, tile: int = TILE) -> tuple[np.ndarray, np.ndarray]:
    """(greatest cosine, which of `others` has it) of each row; the first where several do."""
    best, place = np.full(len(unit), -np.inf, np.float32), np.zeros(len(unit), np.int64)
    for left in range(0, len(unit), tile):
        mine = slice(left, left + tile)
        for right in range(0, len(others), tile):
            tile_cos = unit[mine] @ others[right : right + tile].T
            first = tile_cos.argmax(axis=1)
            most = np.take_along_axis(tile_cos, first[:, None], axis=1)[:, 0]
            better = most > best[mine]
            best[mine] = np.where(better, most, best[mine])
            place[mine] = np.where(better, right + first, place[mine])
    return best, place
