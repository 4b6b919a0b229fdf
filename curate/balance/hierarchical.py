"""Hierarchical quotas: rows are shared out among clusters of clusters as evenly as their sizes allow."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, PrivateAttr, field_validator

from curate.alike.number_keys import value_keys
from curate.alike.sizes import SIZE, Sizes
from curate.alike.uid_order import in_order
from curate.arrays.string_hash import hash_pairs, hash_strings
from curate.library.names import in_sql
from curate.messages.counted import counted
from curate.messages.progress import console
from curate.op import Grouped, Rows, Summed

QUOTA = "quota of these values"


class Hierarchical(Grouped):
    """`<table>_rank` is the place of the row in its smallest cluster, from 1; `<table>_quota` the rows of that cluster
    that stay; `<table>_keep` whether the row is one of them. Table: `hierarchical`. All together exactly `rows` stay,
    or all where there are not so many.

    From the top down, a target is shared among the children of a cluster: each gets the same number, or all its rows
    where it has fewer; what then lacks to the target, less than the number of children, goes one each to children that
    have more, by a hash of (seed, cluster). Of sizes 10, 3, 1 a target of 8 keeps 4, 3, 1.

    by: columns of clusters, the coarsest first: `[coarse, fine]`. A cluster of the second is one within a cluster of
        the first, also where the columns were made apart, so that it lies in several. A row without a value in one of
        them has no rank and is not kept.
    rows: that stay.
    best: a column: the greatest values of a cluster stay, as `clip_l14_img_cluster_cos` for the rows nearest the
        centroid. By default the order is a hash of (seed, uid). Equals go by uid.

    The published code may also keep rows several times; that is left out.
    """

    cite: ClassVar[str] = "Vo et al., Automatic data curation for self-supervised learning, 2024 (hierarchical k-means)"
    by: tuple[str, ...]
    rows: int = Field(ge=1)
    best: str = ""
    seed: int = Field(0, ge=0)

    #: `key` and QUOTA of each smallest cluster.
    _quotas: Any = PrivateAttr(None)
    _report: dict[str, Any] = PrivateAttr(default_factory=dict)

    @field_validator("by", mode="before")
    @classmethod
    def _several(cls, by: Any) -> Any:
        return (by,) if isinstance(by, str) else by

    @field_validator("by")
    @classmethod
    def _named_once(cls, by: tuple[str, ...]) -> tuple[str, ...]:
        if not by or not all(by) or len(set(by)) < len(by):
            raise ValueError("name columns of clusters, each once, the coarsest first")
        return by

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.by, *self.carries())))

    def carries(self) -> tuple[str, ...]:
        return ("uid", *([self.best] if self.best else []))

    def makes(self) -> dict[str, pa.DataType]:
        kinds = {"rank": pa.uint32(), "quota": pa.uint32(), "keep": pa.bool_()}
        return {f"{self.table()}_{name}": kind for name, kind in kinds.items()}

    def decision(self) -> dict[str, Any]:
        reason = f"over the quota of its cluster ({', '.join(self.by)})"
        return {"name": "hierarchical", "keep": [{"if": in_sql(f"{self.table()}_keep"), "else": reason}]}

    def ready(self, summed: Summed) -> Hierarchical:
        """Finds the quotas, of the clusters' sizes."""
        total: Sizes | None = summed(partial(Sizes.of, columns=self.by))
        sizes = pl.DataFrame({SIZE: []}, {SIZE: pl.UInt64}) if total is None else total.sorted()
        quotas = shared_out(sizes, list(self.by), self.rows, self.seed) if len(sizes) else np.zeros(0, np.int64)
        keys = value_keys([sizes[name] for name in self.by]) if len(sizes) else pa.array([], pa.binary())
        self._quotas = pl.DataFrame(
            {"key": pl.Series(keys, dtype=pl.Binary), QUOTA: pl.Series(quotas, dtype=pl.UInt32)}
        )
        total_rows = int(sizes[SIZE].sum())
        if self.rows > total_rows:
            console.print(
                f"{self.table()}: {counted(self.rows, 'row')} wanted, "
                f"all {counted(total_rows, 'row')} with clusters stay"
            )
        self._report = {"clusters": len(sizes), "clusters_over": int((sizes[SIZE].to_numpy() > quotas).sum())}
        self._report["kept"] = int(quotas.sum())
        return self

    def report(self, summed: Summed) -> dict[str, Any]:
        return self._report

    def keys(self, rows: Rows) -> pa.Array:
        return value_keys([pl.Series(name, rows[name]) for name in self.by])

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        rank, quota, keep = self.makes()
        ranked = in_order(rows, self.seed, self.best).select(
            "key", "shard", "row", pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over("key").alias(rank)
        )
        judged = ranked.join(self._quotas, on="key", how="left").rename({QUOTA: quota})
        return judged.select("shard", "row", rank, quota, (pl.col(rank) <= pl.col(quota)).alias(keep))


def shared_out(sizes: pl.DataFrame, by: list[str], target: int, seed: int) -> np.ndarray:
    """int64[n]: the quota of each smallest cluster. sizes: the columns `by` and SIZE, sorted by them."""
    rows = sizes[SIZE].to_numpy().astype(np.int64)
    targets: np.ndarray = np.array([min(target, rows.sum())])
    parents = np.zeros(len(sizes), np.int64)  # of each smallest cluster, its number one level up
    for level in range(1, len(by) + 1):
        path = sizes.select(pl.concat_str([pl.col(name).cast(pl.String) for name in by[:level]], separator="/"))
        numbers = sizes.select(pl.struct(by[:level]).rle_id()).to_series().to_numpy().astype(np.int64)
        firsts = np.flatnonzero(np.diff(numbers, prepend=-1))
        totals, above = np.bincount(numbers, rows).astype(np.int64), parents[firsts]
        names = hash_strings(path.to_series().gather(firsts).to_arrow())
        draws = hash_pairs(names, names, seed)
        starts = [*np.flatnonzero(np.diff(above, prepend=-1)).tolist(), len(above)]
        quotas = np.zeros(len(totals), np.int64)
        for start, stop in pairwise(starts):  # of each parent its children
            quotas[start:stop] = quotas_of(totals[start:stop], int(targets[above[start]]), draws[start:stop])
        targets, parents = quotas, numbers
    return targets


def quotas_of(sizes: np.ndarray, target: int, draws: np.ndarray) -> np.ndarray:
    """int64[n] that add up to the target, or to all sizes: the same for each, or its size where that is smaller; what
    lacks goes one each to those of more rows with the lowest draws.

    >>> draws = np.array([3, 1, 2])
    >>> [quotas_of(np.array([10, 3, 1]), target, draws).tolist() for target in (8, 6, 20)]
    [[4, 3, 1], [2, 3, 1], [10, 3, 1]]
    """
    if sizes.sum() <= target:
        return np.array(sizes)
    low, high = 0, int(sizes.max())
    while high - low > 1:  # the largest number that does not go over the target
        middle = (low + high) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= target else (low, middle)
    quotas: np.ndarray = np.minimum(sizes, low)
    more = np.flatnonzero(sizes > low)
    quotas[more[np.argsort(draws[more], kind="stable")][: target - int(quotas.sum())]] += 1
    return quotas
