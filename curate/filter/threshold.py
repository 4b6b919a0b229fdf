"""The score at a given rank over all shards, exactly, in a few passes and a few MB, however many rows there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import polars as pl

from curate.filter.passes import (
    CountKeys,
    CountPlaces,
    CountUids,
    Histogram,
    KeysFrom,
    Pass,
    Passes,
    RowsOf,
    UidsFrom,
)

T = TypeVar("T")

#: Keys and uids that are sorted in memory; of more, only those that begin as the one sought does.
IN_MEMORY = 1 << 20


@dataclass(frozen=True)
class Threshold:
    """Where `top` cuts: scores above `score` are kept; of equal ones those up to and including `uid` (None: all).

    place: (shard, row) of the last row that is kept among those of that score and uid, where several share both.
    """

    score: float | int | None
    uid: str | None = None
    rows: int = 0
    place: tuple[int, int] | None = None

    @property
    def by_uid(self) -> bool:
        """Whether uids decide between equal scores."""
        return self.uid is not None

    @property
    def by_place(self) -> bool:
        """Whether places decide between equal scores and uids: it has to know which shard it looks at."""
        return self.place is not None

    def as_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return asdict(self)

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


#: Asks for passes one after the other, each with its zero, is sent what they say of all rows, and returns the cut.
Search: TypeAlias = Generator[tuple[Pass[Any], Any], Any, Threshold]


def find_threshold(summed: Passes, count_of: Callable[[int], int], ties: str) -> Threshold:
    """As `search` finds it. summed: does a pass over all scores, which are of one dtype."""
    searching = search(count_of, ties, IN_MEMORY)
    try:
        one, zero = next(searching)
        while True:
            one, zero = searching.send(summed(one, zero))
    except StopIteration as end:
        cut: Threshold = end.value
        return cut


def search(count_of: Callable[[int], int], ties: str, in_memory: int) -> Search:
    """Where to cut so that `count_of(N)` of N scored rows stay, scores compared in their own precision.

    in_memory: keys and uids that are sorted in memory; of more, only those that begin as the one sought does.
    ties: `exact` stops inside equal scores by ascending uid, and inside equal uids by their place in the input;
    `datacomp` cuts at the element of index count_of(N) of the descending order and keeps all that reach it (so one row
    more, and ties).
    """
    counted = yield CountKeys(), Histogram()
    dtype = counted.dtype()
    total = int(counted.counts.sum())
    count = count_of(total)
    if total == 0 or (count == 0 and ties == "exact"):
        return Threshold(None)
    rank = min(count, total - 1) if ties == "datacomp" else count - 1
    key, above, equal = yield from _key_at(counted.counts, rank, dtype, in_memory)
    value = _value(key, dtype)
    if ties == "datacomp" or above + equal == count:
        return Threshold(value, None, above + equal)
    uid, before, same = yield from _uid_at(key, count - above, equal, in_memory)
    short = count - above - before
    if same == short:
        return Threshold(value, uid, count)
    return Threshold(value, uid, count, (yield from _place_at(key, uid, short)))


#: As Search, of a part of it.
_Asking: TypeAlias = Generator[tuple[Pass[Any], Any], Any, T]


def _key_at(counts: np.ndarray, rank: int, dtype: np.dtype, in_memory: int) -> _Asking[tuple[int, int, int]]:
    """The `rank`-th best key, how many are above it, and how many equal it."""
    prefix, above = _bin_holding(counts, rank)
    among, shift = int(counts[prefix]), 48
    last = 32 if dtype == np.float32 else 0
    while shift > last and among > in_memory:
        shift -= 16
        counts = (yield CountKeys(prefix, shift), Histogram()).counts
        low, more = _bin_holding(counts, rank - above)
        prefix, above, among = prefix << 16 | low, above + more, int(counts[low])
    if shift == last:
        return prefix << shift, above, among
    keys = np.concatenate((yield KeysFrom(prefix, shift), []))
    keys.sort()
    key = keys[len(keys) - 1 - (rank - above)]
    first, end = np.searchsorted(keys, key, side="left"), np.searchsorted(keys, key, side="right")
    return int(key), above + len(keys) - int(end), int(end - first)


def _uid_at(key: int, number: int, among: int, in_memory: int) -> _Asking[tuple[str, int, int]]:
    """The `number`-th smallest uid (1-based) of the `among` rows whose key is `key`, how many rows have a smaller one,
    and how many have it."""
    prefix, below = "", 0
    # Character by character would be a pass each; four hexadecimal ones leave one row in 65,536.
    while among > in_memory:
        longest = len(prefix) + 4
        counts = yield CountUids(key, prefix, longest), Counter()
        for head in sorted(counts):
            if below + counts[head] >= number:
                break
            below += counts[head]
        if len(head) < longest:
            # The uid itself, shorter than what was looked at, in more rows than fit in memory.
            return head, below, counts[head]
        prefix, among = head, counts[head]
    ordered = np.sort(pl.concat((yield UidsFrom(key, prefix), [])).to_numpy())
    uid = ordered[number - below - 1]
    first, end = int(np.searchsorted(ordered, uid, side="left")), int(np.searchsorted(ordered, uid, side="right"))
    return str(uid), below + first, end - first


def _place_at(key: int, uid: str, number: int) -> _Asking[tuple[int, int]]:
    """(shard, row) of the `number`-th row (1-based), in the order of the input, that has this key and this uid."""
    counts = yield CountPlaces(key, uid), Counter()
    for shard in sorted(counts):
        if number <= counts[shard]:
            rows = np.concatenate((yield RowsOf(key, uid, shard), []))
            return shard, int(np.sort(rows)[number - 1])
        number -= counts[shard]
    raise AssertionError("fewer rows than were counted")
