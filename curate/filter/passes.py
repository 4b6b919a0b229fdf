"""Passes of `top` over all scores: each looks at some rows, and what it says of several adds up in any order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, cast

import numpy as np
import polars as pl

from curate.errors import CurateError

_BINS = 1 << 16

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Ranked:
    """Rows that `top` ranks.

    scores: (rows,) finite numbers of one dtype: int64, uint64, float32 or float64.
    uids, shard, rows: where the pass asks for places, all of one shard; rows: their numbers in it.
    groups: where rows are ranked within groups, the name of each row's, null for that of no name.
    """

    scores: np.ndarray
    uids: pl.Series | None = None
    shard: int = 0
    rows: np.ndarray | None = None
    groups: pl.Series | None = None

    def tied(self, key: int) -> np.ndarray:
        """(rows,) bool: which have this key."""
        equal: np.ndarray = sortable(self.scores) == np.uint64(key)
        return equal

    def uids_tied(self, key: int, prefix: str) -> pl.Series:
        """uids of the rows that have this key, those that begin with a prefix."""
        assert self.uids is not None
        uids = self.uids.filter(pl.Series(self.tied(key), dtype=pl.Boolean))
        begun: pl.Series = uids.filter(uids.str.starts_with(prefix))
        return begun

    def same(self, key: int, uid: str) -> np.ndarray:
        """(rows,) bool: which have this key and this uid."""
        assert self.uids is not None
        same: np.ndarray = self.tied(key) & (self.uids == uid).to_numpy()
        return same


class Pass(Protocol[T_co]):
    """What is asked of rows; it travels to workers. places: whether it needs uids and places."""

    @property
    def places(self) -> bool: ...

    def of(self, ranked: Ranked) -> T_co: ...


class Passes(Protocol):
    """Does a pass over all rows; returns `zero` with what it says of all of them added."""

    def __call__(self, one: Pass[T], zero: T) -> T: ...


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


@dataclass(frozen=True)
class Histogram:
    """How many keys fall into each of 65,536 bins, and the names of their dtypes. Bins without a key are not held: a
    filter within groups has a histogram for each.

    bins: (n,) the bins that have keys, in order. numbers: (n,) how many.
    """

    bins: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    numbers: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    dtypes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, keys: np.ndarray, dtypes: frozenset[str]) -> Histogram:
        """keys: the bin of each."""
        if len(keys) < _BINS // 16:
            return cls(*np.unique(keys, return_counts=True), dtypes)
        counts = np.bincount(keys, minlength=_BINS)
        bins = np.flatnonzero(counts)
        return cls(bins, counts[bins], dtypes)

    @property
    def counts(self) -> np.ndarray:
        """(65,536,) int64: keys of each bin."""
        counts = np.zeros(_BINS, np.int64)
        counts[self.bins] = self.numbers
        return counts

    def __add__(self, other: Histogram) -> Histogram:
        dtypes = self.dtypes | other.dtypes
        if not len(self.bins) or not len(other.bins):
            some = self if len(self.bins) else other
            return Histogram(some.bins, some.numbers, dtypes)
        bins, places = np.unique(np.concatenate([self.bins, other.bins]), return_inverse=True)
        numbers = np.zeros(len(bins), np.int64)
        np.add.at(numbers, places, np.concatenate([self.numbers, other.numbers]))
        return Histogram(bins, numbers, dtypes)

    def dtype(self) -> np.dtype:
        """
        Raises:
            CurateError: when there are several.
        """
        if len(self.dtypes) > 1:
            raise CurateError(f"top ranks numbers of one type, and its column holds {', '.join(sorted(self.dtypes))}")
        return np.dtype(next(iter(self.dtypes), "float64"))


@dataclass(frozen=True)
class CountKeys:
    """Of the keys that begin with `prefix`, how many go on with each 16 bits; `shift` bits lie behind those."""

    prefix: int = 0
    shift: int = 48
    places: bool = False

    def of(self, ranked: Ranked) -> Histogram:
        keys = sortable(ranked.scores) >> np.uint64(self.shift)
        inside = keys[keys >> np.uint64(16) == np.uint64(self.prefix)] & np.uint64(_BINS - 1)
        dtypes = frozenset({str(ranked.scores.dtype)} if len(ranked.scores) else ())
        return Histogram.of(inside.astype(np.int64), dtypes)


@dataclass(frozen=True)
class KeysFrom:
    """The keys that begin with `prefix`; `shift` bits lie behind it."""

    prefix: int
    shift: int
    places: bool = False

    def of(self, ranked: Ranked) -> list[np.ndarray]:
        keys = sortable(ranked.scores)
        return [keys[keys >> np.uint64(self.shift) == np.uint64(self.prefix)]]


@dataclass(frozen=True)
class CountUids:
    """Of the rows that have this key, how many uids begin with each `longest` characters, those of `prefix`."""

    key: int
    prefix: str
    longest: int
    places: bool = True

    def of(self, ranked: Ranked) -> Counter[str]:
        heads = ranked.uids_tied(self.key, self.prefix).str.slice(0, self.longest)
        return Counter(dict(heads.value_counts().iter_rows()))


@dataclass(frozen=True)
class UidsFrom:
    """The uids of the rows that have this key, those that begin with `prefix`."""

    key: int
    prefix: str
    places: bool = True

    def of(self, ranked: Ranked) -> list[pl.Series]:
        return [ranked.uids_tied(self.key, self.prefix)]


@dataclass(frozen=True)
class CountPlaces:
    """How many rows of each shard have this key and this uid."""

    key: int
    uid: str
    places: bool = True

    def of(self, ranked: Ranked) -> Counter[int]:
        same = int(ranked.same(self.key, self.uid).sum())
        return Counter({ranked.shard: same} if same else {})


@dataclass(frozen=True)
class RowsOf:
    """The numbers of the rows of one shard that have this key and this uid."""

    key: int
    uid: str
    shard: int
    places: bool = True

    def of(self, ranked: Ranked) -> list[np.ndarray]:
        if ranked.shard != self.shard or ranked.rows is None:
            return []
        return [ranked.rows[ranked.same(self.key, self.uid)]]
