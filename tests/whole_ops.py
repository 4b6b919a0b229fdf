"""Small ops over all rows, one of each kind, with plain oracles of what they make."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.alike.keeper import keepers
from curate.op import Fitted, Grouped, Linked, Rows, Summed

NUMBERS = [3, None, 5, 3, 3, 5, 8, None, 13, 1, 8, 3, 21, 2, 5, 5, 34, 3, 1, 55, 3, 8, 2, 89, 3]

AnyRows = Sequence[Mapping[str, Any]]


def rows_of(numbers: Sequence[int | None]) -> list[dict[str, Any]]:
    """Rows whose uids do not sort as they stand."""
    return [{"n": n, "uid": f"{(i * 7919) % 1000:032x}"} for i, n in enumerate(numbers)]


class Same(Grouped):
    """Rows with the same `n`: how many, and the smallest uid among them."""

    name: str = "same"
    short_keys: bool = False
    drops: bool = False

    def reads(self) -> tuple[str, ...]:
        return ("n", "uid")

    def makes(self) -> dict[str, pa.DataType]:
        return {"same_size": pa.int32(), "same_first": pa.string()}

    def keys(self, rows: Rows) -> pa.Array:
        digests = [None if n is None else hashlib.md5(str(n).encode()).digest() for n in rows["n"].to_pylist()]
        return pa.array([d and d[: 8 if self.short_keys else 16] for d in digests], pa.binary())

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        size = pl.len().over("key").cast(pl.Int32)
        judged = rows.with_columns(same_size=size, same_first=pl.col("uid").min().over("key"))
        return judged.head(len(judged) - 1) if self.drops else judged.reverse()


def same(rows: AnyRows, inside: Sequence[bool] | None = None) -> list[tuple[int | None, str | None]]:
    """The O(n^2) way."""
    inside = inside or [True] * len(rows)
    verdicts: list[tuple[int | None, str | None]] = []
    for row, is_in in zip(rows, inside, strict=True):
        group = [o["uid"] for o, i in zip(rows, inside, strict=True) if i and o["n"] == row["n"]]
        verdicts.append((len(group), min(group)) if is_in and row["n"] is not None else (None, None))
    return verdicts


class Share(Fitted):
    """Each row's share of the sum of `n` over all rows."""

    name: str = "share"
    off: int = 0

    def reads(self) -> tuple[str, ...]:
        return ("n",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"share": pa.float64()}

    def fit(self, summed: Summed) -> np.ndarray:
        return summed(self.count)

    def count(self, rows: Rows) -> np.ndarray:
        return np.array([sum(rows["n"].to_pylist()), len(rows)])

    def batch(self, rows: Rows, fitted: Any) -> dict[str, Any]:
        n = rows["n"].to_numpy()
        return {
            "share": np.append(n / fitted[0], [0.0] * self.off),
            "status": ["even" if v % 2 == 0 else None for v in n],
        }

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {"sum": int(fitted[0]), "rows": int(fitted[1])}


def shares(rows: AnyRows, inside: Sequence[bool] | None = None) -> list[float | None]:
    inside = inside or [True] * len(rows)
    total = sum(row["n"] or 0 for row, is_in in zip(rows, inside, strict=True) if is_in)
    return [row["n"] / total if i and row["n"] is not None else None for row, i in zip(rows, inside, strict=True)]


class Close(Linked):
    """Links numbers that differ by 1 or less; closeness 1 for equal ones."""

    def reads(self) -> tuple[str, ...]:
        return ("n", "uid")

    def makes(self) -> dict[str, pa.DataType]:
        return {"close_of": pa.string(), "close_size": pa.uint32()}

    def compares(self) -> tuple[str, ...]:
        return ("n",)

    def bands(self) -> int:
        return 2

    def keys(self, rows: Rows) -> list[pa.Array]:
        numbers = np.asarray(rows["n"].fill_null(0), np.int64)
        null = rows["n"].is_null().to_numpy(zero_copy_only=False)
        return [pa.array(((numbers + shift) // 2).astype(np.uint64), mask=null) for shift in (0, 1)]

    def links(self, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        links: list[tuple[int, int, float]] = []
        for _, group in rows.with_row_index("place").group_by("key"):
            pairs = itertools.combinations(group.select("place", "n").rows(), 2)
            links += [(a, b, 1.0 if x == y else 0.5) for (a, x), (b, y) in pairs if abs(x - y) <= 1]
        a, b, closeness = zip(*links, strict=True) if links else ((), (), ())
        return np.array(a, np.int64), np.array(b, np.int64), np.array(closeness)

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        return keepers(rows, "smallest_uid", *self.makes())


def close(rows: AnyRows, cap: int = 10_000) -> list[tuple[str | None, int | None]]:
    """(uid of the row that stays, size) by the book: runs of neighbours; over the cap, equal numbers."""
    numbers = {row["n"] for row in rows if row["n"] is not None}
    verdicts: list[tuple[str | None, int | None]] = []
    for row in rows:
        if row["n"] is None:
            verdicts.append((None, None))
            continue
        group = {row["n"]}
        while more := {n for n in numbers if min(abs(n - g) for g in group) <= 1} - group:
            group |= more
        members = [other["uid"] for other in rows if other["n"] in group]
        if len(members) > cap:
            members = [other["uid"] for other in rows if other["n"] == row["n"]]
        verdicts.append((None if min(members) == row["uid"] else min(members), len(members)))
    return verdicts
