"""The score at a given rank over all shards, exactly, in a few passes and a few MB, however many rows there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import cast

import numpy as np
import polars as pl

from curate.filter import Threshold

_HALF = 1 << 16

#: Equal scores whose uids are sorted in memory; of more, only those that share the first characters of the one sought.
TIES_IN_MEMORY = 1 << 20

#: A re-readable stream of (finite float32 scores, uids) per shard; uids may be None until ties are resolved.
Scores = Callable[[bool], Iterable[tuple[np.ndarray, pl.Series | list[str] | None]]]


def sortable(scores: np.ndarray) -> np.ndarray:
    """float32 as uint32 in the same order (-0.0 as 0.0).

    >>> bool((np.diff(sortable(np.float32([-2, -0.5, 0, 1e-9, 3])).astype(np.int64)) > 0).all())
    True
    """
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.uint32)
    return cast(np.ndarray, np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)))


def _value(key: int) -> float:
    bits = np.array([key ^ (1 << 31) if key >> 31 else ~key & 0xFFFFFFFF], np.uint32)
    return float(bits.view(np.float32)[0])


def _bin_holding(counts: np.ndarray, rank: int) -> tuple[int, int]:
    """The bin, from above, in which the `rank`-th best (0-based) lies, and how many lie above that bin."""
    from_above = np.cumsum(counts[::-1])
    steps = int(np.searchsorted(from_above, rank, side="right"))
    above = int(from_above[steps - 1]) if steps else 0
    return len(counts) - 1 - steps, above


def find_threshold(scores: Scores, wanted: Callable[[int], int], ties: str) -> Threshold:
    """Where to cut so that `wanted(N)` of N scored rows stay (scores compared as float32).

    ties: `exact` stops inside equal scores by ascending uid; `datacomp` cuts at the element of index wanted(N) of
    the descending order and keeps all that reach it (so wanted + 1 rows and ties).
    """
    high = np.zeros(_HALF, np.int64)
    for values, _ in scores(False):
        high += np.bincount(sortable(values) >> 16, minlength=_HALF)
    total = int(high.sum())
    count = wanted(total)
    if total == 0 or (count == 0 and ties == "exact"):
        return Threshold(None)
    rank = min(count, total - 1) if ties == "datacomp" else count - 1
    top, above = _bin_holding(high, rank)
    low = np.zeros(_HALF, np.int64)
    for values, _ in scores(False):
        keys = sortable(values)
        low += np.bincount(keys[keys >> 16 == top] & 0xFFFF, minlength=_HALF)
    bottom, above_low = _bin_holding(low, rank - above)
    key = (top << 16) | bottom
    above += above_low
    equal = int(low[bottom])
    if ties == "datacomp" or above + equal == count:
        return Threshold(_value(key), None, above + equal)
    uid, tied = _uid_at(scores, key, count - above, equal)
    return Threshold(_value(key), uid, above + tied)


def _uid_at(scores: Scores, key: int, number: int, among: int) -> tuple[str, int]:
    """The `number`-th smallest uid (1-based) of the `among` rows whose score is `key`, and how many rows are up to it
    (more than `number` when rows share that uid)."""

    def tied() -> Iterable[pl.Series]:
        for values, uids in scores(True):
            assert uids is not None
            equal = pl.Series(uids, dtype=pl.String).filter(pl.Series(sortable(values) == key, dtype=pl.Boolean))
            yield equal.filter(equal.str.starts_with(prefix))

    prefix, below = "", 0
    # Character by character would be a pass each; four hexadecimal ones leave one row in 65,536.
    while among > TIES_IN_MEMORY:
        counts: Counter[str] = Counter()
        longest = len(prefix) + 4
        for uids in tied():
            counts.update(dict(uids.str.slice(0, longest).value_counts().iter_rows()))
        for head in sorted(counts):
            if below + counts[head] >= number:
                break
            below += counts[head]
        if len(head) < longest:
            # The uid itself, shorter than what was looked at, in more rows than fit in memory.
            return head, below + counts[head]
        prefix, among = head, counts[head]
    found = np.sort(pl.concat(list(tied())).to_numpy())
    uid = found[number - below - 1]
    return str(uid), below + int(np.searchsorted(found, uid, side="right"))
