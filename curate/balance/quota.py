"""A quota of rows for each source: mixing by shares, so that a source is easy to weigh and to take away."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from curate.arrays.string_hash import hash_pairs, hash_strings
from curate.errors import CurateError, unknown
from curate.library.names import in_sql
from curate.messages.counted import counted
from curate.messages.remarks import Remarks
from curate.op import Fitted, Rows, Summed

#: How far shares may be from 1 together: what decimals of a file leave.
ROUNDING = Fraction(1, 10**6)

#: Bits of a draw that the first pass counts by.
BITS = 12

#: Values of `by` that a pool has at most: each takes a count for every such beginning.
MOST_SOURCES = 10_000


class Quota(Fitted):
    """Column `<name>_keep`: whether a row is within the quota of its source; null for a row without a source.

    by: the column of the source. rows: how many rows are to stay in all.
    shares: {web: 0.7, books: 0.3}, which add up to 1; or `sqrt`, in proportion to the square root of the sources' sizes
        (100, 400, 900 rows: .1667, .3333, .5), or `equal`, of all sources of the pool.
    fill: where a source has too few rows, the others fill up by their shares; without it, the lack is only said.

    A quota is rows * share, rounded down; what is lacking to `rows` goes to the largest fractions, of equal ones to
    the first name. In a source rows with the lowest hash of (seed, uid) stay, so a larger quota only adds rows; rows of
    one uid stay or go together. Rows of sources that `shares` does not name go.

    Quality Not Quantity found that a mixture is less robust than its best source: compare with each source alone.
    """

    cite: ClassVar[str] = "after Nguyen et al., Quality Not Quantity, 2022; the rule is ours"
    columns_by_name: ClassVar[bool] = True
    by: str = "source"
    shares: dict[str, float] | Literal["sqrt", "equal"]
    rows: int = Field(ge=1)
    fill: bool = False
    seed: int = 0

    @field_validator("shares")
    @classmethod
    def _add_up(cls, shares: Any) -> Any:
        if isinstance(shares, str):
            return shares
        if odd := [name for name, share in shares.items() if not 0 <= share <= 1]:
            raise ValueError(f"the share of '{odd[0]}' is {shares[odd[0]]}: expected 0 to 1")
        total = sum(Fraction(str(share)) for share in shares.values())
        if not 1 - ROUNDING <= total <= 1 + ROUNDING:
            raise ValueError(f"shares add up to {float(total):g}, expected 1")
        return shares

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, "uid")))

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def makes(self) -> dict[str, pa.DataType]:
        return {f"{self.table()}_keep": pa.bool_()}

    def decision(self) -> dict[str, Any]:
        return {"keep": [{"if": in_sql(f"{self.table()}_keep"), "else": f"over the quota of its {self.by}"}]}

    # ---- learning ----

    def fit(self, summed: Summed) -> Quotas:
        counts = summed(self._bins)
        sizes = {name: int(bins.sum()) for name, bins in sorted(counts.bins.items())} if counts else {}
        if not sizes:
            raise CurateError(f"balance.quota: no row has a value in '{self.by}'")
        if (total := sum(sizes.values())) < self.rows:
            raise CurateError(
                f"balance.quota: {counted(self.rows, 'row')} asked for, the pool has {total:,} with a source"
            )
        shares = self._shares(sizes)
        quotas = filled(shares, sizes, self.rows) if self.fill else short(quotas_of(shares, self.rows), sizes)
        places = {name: place_of(counts.bins[name], quota) for name, quota in quotas.items() if quota}
        edges = summed(partial(self._draws_in, {name: bin_ for name, (bin_, _) in places.items()}))
        last = {name: int(np.sort(edges.draws[name])[rest - 1]) for name, (_, rest) in places.items()}
        return Quotas(sizes, quotas_of(shares, self.rows), quotas, last)

    def _shares(self, sizes: Mapping[str, int]) -> dict[str, Fraction]:
        if isinstance(self.shares, str):
            weights = {n: Fraction(math.sqrt(size) if self.shares == "sqrt" else 1.0) for n, size in sizes.items()}
            return {name: weight / sum(weights.values()) for name, weight in weights.items()}
        if odd := [name for name, share in self.shares.items() if name not in sizes and share]:
            raise unknown(self.by, odd[0], sizes, "balance.quota, the pool")
        shares = {name: Fraction(str(self.shares.get(name, 0))) for name in sizes}
        return {name: share / sum(shares.values()) for name, share in shares.items()}

    def _bins(self, rows: Rows) -> Bins:
        names, draws = self._draws(rows)
        return Bins(
            {
                name: np.bincount(some >> np.uint64(64 - BITS), minlength=1 << BITS)
                for name, some in _by_source(names, draws)
            }
        )

    def _draws_in(self, bins: Mapping[str, int], rows: Rows) -> Draws:
        """Of each source the draws that lie in one bin."""
        names, draws = self._draws(rows)
        sources = ((name, some) for name, some in _by_source(names, draws) if name in bins)
        return Draws({name: some[some >> np.uint64(64 - BITS) == bins[name]] for name, some in sources})

    def _draws(self, rows: Rows) -> tuple[pa.DictionaryArray, np.ndarray]:
        hashes = hash_strings(rows["uid"])
        return _sources(rows[self.by]), hash_pairs(hashes, np.zeros_like(hashes), self.seed)

    # ---- judging ----

    def batch(self, rows: Rows, fitted: Any) -> Mapping[str, Any]:
        names, draws = self._draws(rows)
        last = [fitted.last.get(name, -1) for name in names.dictionary.to_pylist()]
        limits = np.array([max(0, value) for value in last], np.uint64)[names.indices.to_numpy()]
        some = np.array([value >= 0 for value in last], bool)[names.indices.to_numpy()]
        return {f"{self.table()}_keep": pa.array(some & (draws <= limits))}

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        remarks = Remarks()
        for name, asked in fitted.asked.items():
            lack = asked - fitted.sizes[name]
            remarks.add(f"rows fewer in a {self.by} than its quota", max(0, lack), f"{name} has {fitted.sizes[name]:,}")
        unnamed = sum(size for name, size in fitted.sizes.items() if not fitted.asked[name])
        remarks.add(f"of a {self.by} without a share", unnamed)
        kept = sum(fitted.quotas.values())
        remarks.add("rows fewer than asked for in all", self.rows - kept)
        lines = [
            {self.by: name, "rows": size, "quota": fitted.asked[name], "kept": fitted.quotas[name]}
            for name, size in fitted.sizes.items()
        ]
        return {"rows": self.rows, "kept": kept, "sources": lines, "remarks": remarks.to_json()}


# ---- the arithmetic ----


def quotas_of(shares: Mapping[str, Fraction], rows: int) -> dict[str, int]:
    """Whole numbers that add up to `rows`: rounded down, the rest to the largest fractions, of equal ones by name.

    >>> quotas_of({"a": Fraction(7, 10), "b": Fraction(3, 10)}, 5)
    {'a': 4, 'b': 1}
    """
    exact = {name: rows * share for name, share in shares.items()}
    quotas = {name: math.floor(value) for name, value in exact.items()}
    order = sorted(exact, key=lambda name: (quotas[name] - exact[name], name))
    for name in order[: rows - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def short(quotas: Mapping[str, int], sizes: Mapping[str, int]) -> dict[str, int]:
    """Quotas no larger than the sources."""
    return {name: min(quota, sizes[name]) for name, quota in quotas.items()}


def filled(shares: Mapping[str, Fraction], sizes: Mapping[str, int], rows: int) -> dict[str, int]:
    """Quotas no larger than the sources; what these lack is spread over the others by their shares.

    >>> filled({"a": Fraction(1, 2), "b": Fraction(1, 4), "c": Fraction(1, 4)}, {"a": 2, "b": 9, "c": 9}, 12)
    {'a': 2, 'b': 5, 'c': 5}
    """
    full: dict[str, int] = {}
    while True:
        open_shares = {name: share for name, share in shares.items() if name not in full and share}
        total = sum(open_shares.values(), Fraction(0))
        parts = {name: share / total for name, share in open_shares.items()}
        quotas = quotas_of(parts, rows - sum(full.values())) if parts else {}
        over = {name: sizes[name] for name, quota in quotas.items() if quota > sizes[name]}
        if not over:
            return {name: full.get(name, quotas.get(name, 0)) for name in shares}
        full |= over


def place_of(bins: np.ndarray, quota: int) -> tuple[int, int]:
    """(bin, place in it from 1) of the `quota`-th draw of a source."""
    ends = np.cumsum(bins)
    bin_ = int(np.searchsorted(ends, quota))
    return bin_, quota - int(ends[bin_] - bins[bin_])


# ---- sums over the pool ----


@dataclass(frozen=True)
class Bins:
    """Of each source, how many draws begin with each of the numbers of BITS bits. Adds up in any order."""

    bins: dict[str, np.ndarray]

    def __add__(self, other: Bins) -> Bins:
        both = {name: self.bins[name] + other.bins[name] for name in self.bins.keys() & other.bins.keys()}
        if len(total := self.bins | other.bins | both) > MOST_SOURCES:
            raise CurateError(f"balance.quota: over {MOST_SOURCES:,} sources: the column tells no sources apart")
        return Bins(total)


@dataclass(frozen=True)
class Draws:
    """Of each source some draws. Adds up; the order does not matter to who sorts them."""

    draws: dict[str, np.ndarray]

    def __add__(self, other: Draws) -> Draws:
        names = self.draws.keys() & other.draws.keys()
        both = {name: np.concatenate([self.draws[name], other.draws[name]]) for name in names}
        return Draws(self.draws | other.draws | both)


@dataclass(frozen=True)
class Quotas:
    """Of each source: rows of the pool, the quota asked for, rows that stay, and the last draw that does."""

    sizes: dict[str, int]
    asked: dict[str, int]
    quotas: dict[str, int]
    last: dict[str, int]


def _sources(column: pa.Array) -> pa.DictionaryArray:
    return column.cast(pa.string()).dictionary_encode()


def _by_source(names: pa.DictionaryArray, draws: np.ndarray) -> list[tuple[str, np.ndarray]]:
    numbers = names.indices.to_numpy()
    return [(name, draws[numbers == number]) for number, name in enumerate(names.dictionary.to_pylist())]
