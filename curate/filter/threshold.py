"""The score at a given rank over all shards, exactly, in a few passes and a few MB, however many rows there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl

from curate.errors import CurateError

_BIN = 1 << 16

#: Keys and uids that are sorted in memory; of more, only those that begin as the one sought does.
IN_MEMORY = 1 << 20

#: A re-readable stream, per shard in the order of the input, of (finite scores, None) or, when asked, of (finite
#: scores, (uids, the shard's number, rows in it)). All have one dtype: int64, uint64, float32 or float64.
Where = tuple["pl.Series | list[str]", int, "np.ndarray | list[int]"]
Scores = Callable[[bool], Iterable[tuple[np.ndarray, "Where | None"]]]


@dataclass(frozen=True)
class Threshold:
    """Where `top` cuts: scores above `score` are kept; of equal ones those up to and including `uid` (None: all).

    place: (shard, row) of the last row that is kept among those of that score and uid, where several share both.
    """

    score: float | int | None
    uid: str | None = None
    rows: int = 0
    place: tuple[int, int] | None = None

    def keeps(self, by: str, shard: int = 0) -> pl.Expr:
        """Which rows of a shard are kept; null where there is no score, false where it is infinite."""
        if self.score is None:
            return pl.repeat(False, pl.len(), dtype=pl.Boolean)
        if isinstance(self.score, int):
            # No two types of whole numbers share one of 64 bits.
            value, cut = pl.col(by).cast(pl.Int128), pl.lit(self.score, pl.Int128)
            above = value > cut
        else:
            value, cut = pl.col(by).cast(pl.Float64).fill_nan(None), pl.lit(self.score, pl.Float64)
            above = (value > cut) & value.is_finite()
        if self.uid is None:
            return above | (value == cut)
        if self.place is None:
            return above | ((value == cut) & (pl.col("uid") <= self.uid))
        last_shard, last_row = self.place
        rows = pl.int_range(pl.len()) <= last_row if shard == last_shard else pl.lit(shard < last_shard)
        first = (pl.col("uid") < self.uid) | ((pl.col("uid") == self.uid) & rows)
        return above | ((value == cut) & first)


def sortable(scores: np.ndarray) -> np.ndarray:
    """Numbers as uint64 in the same order (-0.0 as 0.0); those of a float32 have 32 zero bits at their end.

    >>> bool((np.diff(sortable(np.float32([-2, -0.5, 0, 1e-9, 3])) >> 32).view(np.int64) > 0).all())
    True
    """
    if scores.dtype == np.uint64:
        return scores
    if scores.dtype == np.int64:
        return cast(np.ndarray, scores.view(np.uint64) ^ np.uint64(1 << 63))
    if scores.dtype == np.float32:
        bits = (scores + np.float32(0)).view(np.uint32).astype(np.uint64) << np.uint64(32)
        negative = np.uint64(0xFFFFFFFF00000000)
    else:
        bits = (scores.astype(np.float64) + 0.0).view(np.uint64)
        negative = np.uint64(0xFFFFFFFFFFFFFFFF)
    sign = np.uint64(1 << 63)
    return cast(np.ndarray, np.where(bits & sign, bits ^ negative, bits | sign))


def _value(key: int, dtype: np.dtype) -> float | int:
    """The score that `sortable` made a key of."""
    if dtype.kind == "u":
        return key
    if dtype.kind == "i":
        return key - (1 << 63)
    width = 32 if dtype == np.float32 else 64
    bits, sign = key >> (64 - width), 1 << (width - 1)
    bits = bits ^ sign if bits & sign else bits ^ ((1 << width) - 1)
    return float(np.array([bits], f"u{width // 8}").view(dtype)[0])


def _bin_holding(counts: np.ndarray, rank: int) -> tuple[int, int]:
    """The bin, from above, in which the `rank`-th best (0-based) lies, and how many lie above that bin."""
    from_above = np.cumsum(counts[::-1])
    steps = int(np.searchsorted(from_above, rank, side="right"))
    above = int(from_above[steps - 1]) if steps else 0
    return len(counts) - 1 - steps, above


def find_threshold(scores: Scores, count_of: Callable[[int], int], ties: str) -> Threshold:
    """Where to cut so that `count_of(N)` of N scored rows stay, scores compared in their own precision.

    ties: `exact` stops inside equal scores by ascending uid, and inside equal uids by their place in the input;
    `datacomp` cuts at the element of index count_of(N) of the descending order and keeps all that reach it (so one row
    more, and ties).
    """
    counts, dtype = _counted(scores)
    total = int(counts.sum())
    count = count_of(total)
    if total == 0 or (count == 0 and ties == "exact"):
        return Threshold(None)
    rank = min(count, total - 1) if ties == "datacomp" else count - 1
    key, above, equal = _key_at(scores, counts, rank, dtype)
    value = _value(key, dtype)
    if ties == "datacomp" or above + equal == count:
        return Threshold(value, None, above + equal)
    uid, before, same = _uid_at(scores, key, count - above, equal)
    short = count - above - before
    if same == short:
        return Threshold(value, uid, count)
    return Threshold(value, uid, count, _place_at(scores, key, uid, short))


def _counted(scores: Scores) -> tuple[np.ndarray, np.dtype]:
    """How many keys begin with each 16 bits, and the scores' dtype."""
    counts, dtypes = np.zeros(_BIN, np.int64), set()
    for values, _ in scores(False):
        counts += np.bincount((sortable(values) >> np.uint64(48)).astype(np.int64), minlength=_BIN)
        dtypes |= {values.dtype} if len(values) else set()
    if len(dtypes) > 1:
        raise CurateError(f"top ranks numbers of one type, and its column holds {', '.join(sorted(map(str, dtypes)))}")
    return counts, dtypes.pop() if dtypes else np.dtype(np.float64)


def _key_at(scores: Scores, counts: np.ndarray, rank: int, dtype: np.dtype) -> tuple[int, int, int]:
    """The `rank`-th best key, how many are above it, and how many equal it."""
    prefix, above = _bin_holding(counts, rank)
    among, shift = int(counts[prefix]), 48
    last = 32 if dtype == np.float32 else 0
    while shift > last and among > IN_MEMORY:
        shift -= 16
        counts = np.zeros(_BIN, np.int64)
        for values, _ in scores(False):
            keys = sortable(values) >> np.uint64(shift)
            inside = keys[keys >> np.uint64(16) == prefix]
            counts += np.bincount((inside & np.uint64(_BIN - 1)).astype(np.int64), minlength=_BIN)
        low, more = _bin_holding(counts, rank - above)
        prefix, above, among = prefix << 16 | low, above + more, int(counts[low])
    if shift == last:
        return prefix << shift, above, among
    keys = np.concatenate([_beginning(sortable(values), prefix, shift) for values, _ in scores(False)])
    keys.sort()
    key = keys[len(keys) - 1 - (rank - above)]
    first, end = np.searchsorted(keys, key, side="left"), np.searchsorted(keys, key, side="right")
    return int(key), above + len(keys) - int(end), int(end - first)


def _beginning(keys: np.ndarray, prefix: int, shift: int) -> np.ndarray:
    return cast(np.ndarray, keys[keys >> np.uint64(shift) == np.uint64(prefix)])


def _uid_at(scores: Scores, key: int, number: int, among: int) -> tuple[str, int, int]:
    """The `number`-th smallest uid (1-based) of the `among` rows whose key is `key`, how many rows have a smaller one,
    and how many have it."""

    def tied() -> Iterable[pl.Series]:
        for values, where in scores(True):
            assert where is not None
            equal = pl.Series(where[0], dtype=pl.String).filter(pl.Series(sortable(values) == key, dtype=pl.Boolean))
            yield equal.filter(equal.str.starts_with(prefix))

    prefix, below = "", 0
    # Character by character would be a pass each; four hexadecimal ones leave one row in 65,536.
    while among > IN_MEMORY:
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
            return head, below, counts[head]
        prefix, among = head, counts[head]
    ordered = np.sort(pl.concat(list(tied())).to_numpy())
    uid = ordered[number - below - 1]
    first, end = int(np.searchsorted(ordered, uid, side="left")), int(np.searchsorted(ordered, uid, side="right"))
    return str(uid), below + first, end - first


def _place_at(scores: Scores, key: int, uid: str, number: int) -> tuple[int, int]:
    """(shard, row) of the `number`-th row (1-based), in the order of the input, that has this key and this uid."""
    for values, where in scores(True):
        assert where is not None
        uids, shard, rows = where
        same = (sortable(values) == key) & (pl.Series(uids, dtype=pl.String) == uid).to_numpy()
        places = np.asarray(rows)[same]
        if number <= len(places):
            return shard, int(places[number - 1])
        number -= len(places)
    raise AssertionError("fewer rows than were counted")
