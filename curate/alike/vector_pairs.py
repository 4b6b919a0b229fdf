"""Pairs of unit vectors by their cosine, in tiles: the nearest, the nearest before, all that are close."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.alike.forest import spanning_forest

#: Rows and columns of a tile of similarities: 4 MB of float32.
TILE = 1024


def earlier_max(unit: np.ndarray, tile: int = TILE, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(m, i): the greatest cosine of each row with any row before it, and the first row that has it; 0 and -1 where
    there is none before. Memory is two tiles.

    first: rows before this one are compared with, and not judged: they get 0 and -1.

    >>> a, b, c = (np.exp(1j * np.radians(d)) for d in (0, 14, 28))
    >>> m, i = earlier_max(np.array([[z.real, z.imag] for z in (a, b, c)], np.float32))
    >>> [f"{value:.4f}" for value in m], i.tolist()
    (['0.0000', '0.9703', '0.9703'], [-1, 0, 1])
    """
    rows = len(unit)
    best, place = np.full(rows, -np.inf, np.float32), np.full(rows, -1, np.int64)
    for right in range(first, rows, tile):
        span = slice(right, min(right + tile, rows))
        for left in range(0, span.stop, tile):
            tile_cos = unit[left : left + tile] @ unit[span].T
            if left + len(tile_cos) > right:
                later = np.arange(left, left + len(tile_cos))[:, None] >= np.arange(span.start, span.stop)
                tile_cos[later] = -np.inf
            top = tile_cos.argmax(axis=0)
            most = np.take_along_axis(tile_cos, top[None], axis=0)[0]
            better = most > best[span]
            best[span] = np.where(better, most, best[span])
            place[span] = np.where(better, left + top, place[span])
    return np.where(place < 0, np.float32(0), best), place


def close_pairs(unit: np.ndarray, over: float, tile: int = TILE) -> tuple[np.ndarray, np.ndarray]:
    """Places (a, b), a < b, of rows with a cosine over `over`: a spanning forest of them, so never more than rows."""
    forest: list[Any] = [np.empty((2, 0), np.int64)]
    for left in range(0, len(unit), tile):
        row = []
        for right in range(left, len(unit), tile):
            a, b = np.nonzero(unit[left : left + tile] @ unit[right : right + tile].T > over)
            pairs = np.stack([a + left, b + right])
            row.append(pairs[:, pairs[0] < pairs[1]])
        links = np.concatenate([*forest, *row], axis=1)
        forest = [links[:, spanning_forest(links[0], links[1], np.ones(links.shape[1]))]]
    return forest[0][0], forest[0][1]


def nearest(unit: np.ndarray, others: np.ndarray, tile: int = TILE) -> tuple[np.ndarray, np.ndarray]:
    """(greatest cosine, which of `others` has it) of each row; the first where several do."""
    best, place = np.full(len(unit), -np.inf, np.float32), np.zeros(len(unit), np.int64)
    for left in range(0, len(unit), tile):
        block = slice(left, left + tile)
        for right in range(0, len(others), tile):
            tile_cos = unit[block] @ others[right : right + tile].T
            first = tile_cos.argmax(axis=1)
            most = np.take_along_axis(tile_cos, first[:, None], axis=1)[:, 0]
            better = most > best[block]
            best[block] = np.where(better, most, best[block])
            place[block] = np.where(better, right + first, place[block])
    return best, place


def nearest_few(unit: np.ndarray, others: np.ndarray, number: int, tile: int = TILE) -> np.ndarray:
    """int64[n, number]: which of `others` have the greatest cosines with each row, the greatest first, as `nearest` has
    it; -1 where there are not so many others."""
    places = np.full((len(unit), number), -1, np.int64)
    for left in range(0, len(unit), tile):
        block = unit[left : left + tile]
        best = np.full((len(block), number), -np.inf, np.float32)
        place = np.full((len(block), number), -1, np.int64)
        for right in range(0, len(others), tile):
            tile_cos = block @ others[right : right + tile].T
            both = np.concatenate([best, tile_cos], axis=1)
            numbers = np.concatenate([place, np.broadcast_to(right + np.arange(tile_cos.shape[1]), tile_cos.shape)], 1)
            # What is best so far stands first: of equals the first stays.
            for rank in range(number):
                top = both.argmax(axis=1)[:, None]
                best[:, rank] = np.take_along_axis(both, top, axis=1)[:, 0]
                place[:, rank] = np.take_along_axis(numbers, top, axis=1)[:, 0]
                np.put_along_axis(both, top, -np.inf, axis=1)
        places[left : left + tile] = np.where(np.isinf(best), -1, place)
    return places
