"""Counts, keep probabilities and thresholds of MetaCLIP balancing, on lists of matched entry ids.

With count[e] = captions that hold entry e, over the whole pool, and a threshold t, an entry keeps each of its captions
with probability p[e] = t / max(count[e], t), independently; a caption stays when one of its entries keeps it
(Xu et al. 2023, arXiv:2309.16671, algorithm 1). Published thresholds: 20,000 for 1.6 B pairs (400 M kept), 170,000 for
10.7 B (2.5 B kept). Below t counts is the tail, kept whole; above it the head, thinned to about t captions an entry.

`matched` is what `Matcher.match` gives: list<uint32>, sorted sets, null where the caption is null.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import CurateError


def entry_counts(matched: pa.ListArray | pa.ChunkedArray, n_entries: int) -> np.ndarray:
    """uint64[n_entries]: in how many captions each entry stands. Partial counts of a pool's shards simply add up."""
    from curate.metaclip import balance_kernels as kernels

    if isinstance(matched, pa.ChunkedArray):
        return sum((entry_counts(chunk, n_entries) for chunk in matched.chunks), np.zeros(n_entries, np.uint64))
    ids, bounds, valid = id_lists(matched, n_entries)
    counts = np.zeros(n_entries, np.uint64)
    kernels.add_counts(ids, bounds, valid, counts)
    return counts


def keep_probability(matched: pa.ListArray | pa.ChunkedArray, counts: np.ndarray, t: float) -> pa.DoubleArray:
    """P = 1 - prod(1 - p[e]) of each caption, as double: 0 where nothing matched, null where `matched` is null.

    A loader that draws anew each epoch with P trains as well as one on a fixed draw (section 3.4 of the paper).

    >>> matched = pa.array([[0, 1], [0], [], None], pa.list_(pa.uint32()))
    >>> keep_probability(matched, np.array([40_000, 100_000]), 20_000).to_pylist()
    [0.6, 0.5, 0.0, None]
    """
    from curate.metaclip import balance_kernels as kernels

    ids, bounds, valid = id_lists(matched, len(counts))
    result = np.zeros(len(valid))
    kernels.probabilities(ids, bounds, valid, entry_probability(counts, t), result)
    return pa.array(result, pa.float64(), mask=~valid)


def entry_probability(counts: np.ndarray, t: float) -> np.ndarray:
    """float64 p[e] = t / max(count[e], t): 1 for the tail, t / count for the head."""
    if not t > 0:
        raise CurateError(f"threshold t is {t}, expected a number above 0")
    return t / np.maximum(counts.astype(np.float64), t)


def tail_share(counts: np.ndarray, t: float) -> float:
    """Share of all matches that belong to entries below t; 0.06 at the published t = 20,000 and 170,000.

    >>> tail_share(np.array([1, 2, 3, 4, 10]), 4)
    0.3
    """
    return float(counts[counts < t].sum()) / _total(counts)


def threshold_for_tail_share(counts: np.ndarray, share: float) -> int:
    """The t that gives another pool or language the same tail share (MetaCLIP 2, arXiv:2507.22062).

    Counts in ascending order, t = the count at which their cumulative share comes nearest to `share`; the first of
    equally near ones; at least 1, for a pool where most entries never match.

    >>> threshold_for_tail_share(np.array([10, 1, 2, 3, 4]), 0.3)
    3
    """
    return thresholds_for_tail_shares(counts, [share])[0]


def thresholds_for_tail_shares(counts: np.ndarray, shares: Sequence[float]) -> list[int]:
    """`threshold_for_tail_share` for several shares; the counts are sorted once."""
    for share in shares:
        if not 0 <= share <= 1:
            raise CurateError(f"tail share is {share}, expected 0 to 1 (0.06 is the published one)")
    ordered = np.sort(counts)
    cumulative = np.cumsum(ordered.astype(np.float64)) / _total(counts)
    above = np.minimum(np.searchsorted(cumulative, shares), len(ordered) - 1)
    below = np.maximum(above - 1, 0)
    nearest = np.where(np.abs(cumulative[below] - shares) <= np.abs(cumulative[above] - shares), below, above)
    return [max(1, int(count)) for count in ordered[nearest]]


def expected_rows(
    matched: Iterable[pa.ListArray | pa.ChunkedArray], counts: np.ndarray, thresholds: Iterable[float]
) -> np.ndarray:
    """float64: the expected number of kept captions for each of several thresholds, in one pass."""
    from curate.metaclip import balance_kernels as kernels

    limits = np.array(list(thresholds), np.float64)
    sums: np.ndarray = np.zeros(len(limits))
    for batch in matched:
        ids, bounds, valid = id_lists(batch, len(counts))
        more = np.zeros(len(limits))
        kernels.expected(ids, bounds, valid, counts.astype(np.float64), limits, np.empty(len(limits)), more)
        sums += more
    return sums


def expected_matches(matched: pa.ListArray | pa.ChunkedArray, counts: np.ndarray, t: float) -> np.ndarray:
    """float64[n_entries]: how many of each entry's captions stay in expectation, the sum of their P.

    More than min(count, t), what the entry keeps by itself: other entries of its captions keep some of them too.

    >>> matched = pa.array([[0, 1], [0], []], pa.list_(pa.uint32()))
    >>> expected_matches(matched, np.array([2, 1]), 1).tolist()
    [1.5, 1.0]
    """
    from curate.metaclip import balance_kernels as kernels

    ids, bounds, valid = id_lists(matched, len(counts))
    sums, kept = np.zeros(len(counts)), np.zeros(len(valid))
    kernels.probabilities(ids, bounds, valid, entry_probability(counts, t), kept)
    kernels.add_probabilities(ids, bounds, kept, sums)
    return sums


def id_lists(matched: Any, n_entries: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(uint32 ids, int64 bounds[n+1], bool valid[n]) of lists of ids; slices are fine. Checks ids against n_entries."""
    if isinstance(matched, pa.ChunkedArray):
        matched = matched.combine_chunks()
    if not (pa.types.is_list(matched.type) or pa.types.is_large_list(matched.type)):
        raise CurateError(f"matched entries have type {matched.type}, expected list<uint32> as Matcher.match gives it")
    bounds = matched.offsets.to_numpy().astype(np.int64)
    values = matched.values.slice(bounds[0], bounds[-1] - bounds[0])
    ids = values.cast(pa.uint32()).to_numpy()
    if len(ids) and int(ids.max()) >= n_entries:
        raise CurateError(f"entry id {ids.max()} with {n_entries} entries: these matches come from another entry list")
    return ids, bounds - bounds[0], matched.is_valid().to_numpy(zero_copy_only=False)


def _total(counts: np.ndarray) -> float:
    total = float(counts.sum())
    if total == 0:
        raise CurateError("all entry counts are 0: nothing matched (wrong column, or entries of another language?)")
    return total
