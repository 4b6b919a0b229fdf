"""The k rows with the greatest cosines to each of many queries, exactly, in tiles: which they are depends on no cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

#: Rows and queries of a tile of cosines: 4 MB of float32.
TILE = 1024
#: A cosine of float32 is as near to the exact one as half of this, up to some 800 numbers of a vector at the worst.
MARGIN = 1e-4
#: Pairs whose cosines are computed exactly at a time.
PAIRS = 4096


@dataclass(frozen=True)
class BestRows:
    """The best rows of each query, the best first; of equal cosines the smaller uid. Adds up in any order.

    k: rows of a query at most. queries: uint32[m], in ascending order. cosines: float64[m]. uids: m texts.
    """

    k: int
    queries: np.ndarray
    cosines: np.ndarray
    uids: pa.Array

    @classmethod
    def none(cls, k: int) -> BestRows:
        return cls(k, np.zeros(0, np.uint32), np.zeros(0), pa.array([], pa.large_string()))

    def __add__(self, other: BestRows) -> BestRows:
        queries, cosines = (np.concatenate([getattr(self, n), getattr(other, n)]) for n in ("queries", "cosines"))
        return best_of(self.k, queries, cosines, pa.concat_arrays([self.uids, other.uids]))

    def ranks(self) -> np.ndarray:
        """uint32[m], from 1 within each query."""
        firsts = np.searchsorted(self.queries, self.queries)
        return (np.arange(len(self.queries)) - firsts + 1).astype(np.uint32)


def best_of(k: int, queries: np.ndarray, cosines: np.ndarray, uids: pa.Array) -> BestRows:
    """Of pairs of a query and a row the k best of each query."""
    order = np.lexsort((places_by_uid(uids), -cosines, queries))
    ordered = queries[order]
    kept = order[np.arange(len(order)) - np.searchsorted(ordered, ordered) < k]
    return BestRows(k, queries[kept], cosines[kept], uids.take(pa.array(kept)))


def places_by_uid(uids: pa.Array) -> np.ndarray:
    """int64[n]: the place of each row in the order of uids, rows with one uid in their own."""
    import pyarrow.compute as pc

    order = pc.sort_indices(uids).to_numpy()
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def best_rows(unit: np.ndarray, uids: pa.Array, queries: np.ndarray, first: int, k: int) -> BestRows:
    """The k best rows of each query. unit: float32[n, d], rows of length 1, with their uids. queries: float32[m, d] of
    length 1, the first of which has the number `first`.

    Cosines of float32 find which pairs may be among the best; those are computed again in float64, pair by pair, so
    that neither a tile's shape nor the processor decides between near ones, and copies of an image are equal.
    """
    by_uid = places_by_uid(uids)
    parts = [_of_queries(unit, by_uid, queries[at : at + TILE], k) for at in range(0, len(queries), TILE)]
    numbers = [part[0] + first + at for part, at in zip(parts, range(0, len(queries), TILE), strict=True)]
    rows = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0, np.int64)
    cosines = np.concatenate([part[2] for part in parts]) if parts else np.zeros(0)
    query = np.concatenate(numbers).astype(np.uint32) if parts else np.zeros(0, np.uint32)
    return BestRows(k, query, cosines, uids.take(pa.array(rows)).cast(pa.large_string()))


def _of_queries(
    unit: np.ndarray, by_uid: np.ndarray, queries: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(query, row, cosine) of the k best rows of each query, sorted by query and rank."""
    query, row, cosine = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    least = np.full(len(queries), -np.inf)
    for start in range(0, len(unit), TILE):
        about = queries @ unit[start : start + TILE].T
        bound = least
        if about.shape[1] >= k:
            bound = np.maximum(bound, np.partition(about, -k, axis=1)[:, -k])
        near, where = np.nonzero(about >= bound[:, None] - MARGIN)
        exact = _exact(queries, near, unit, where + start)
        query, row, cosine = (np.concatenate(both) for both in ((query, near), (row, where + start), (cosine, exact)))
        order = np.lexsort((by_uid[row], -cosine, query))
        ordered = query[order]
        place = np.arange(len(order)) - np.searchsorted(ordered, ordered)
        kept = order[place < k]
        least[ordered[place == k - 1]] = cosine[order[place == k - 1]]
        query, row, cosine = query[kept], row[kept], cosine[kept]
    return query, row, cosine


def _exact(queries: np.ndarray, query: np.ndarray, unit: np.ndarray, row: np.ndarray) -> np.ndarray:
    """float64[m]: the cosine of each pair."""
    cosines = np.empty(len(query))
    for start in range(0, len(query), PAIRS):
        some = slice(start, start + PAIRS)
        one, other = queries[query[some]].astype(np.float64), unit[row[some]].astype(np.float64)
        cosines[some] = np.einsum("nd,nd->n", one, other)
    return cosines
