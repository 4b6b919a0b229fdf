"""So many rows of each cluster at most, drawn by a seeded hash, or the best by a column."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, PrivateAttr, model_validator

from curate.alike.number_keys import value_keys
from curate.alike.sizes import SIZE, Sizes
from curate.alike.uid_order import in_order
from curate.library.names import in_sql
from curate.messages.counted import counted
from curate.messages.progress import console
from curate.op import Grouped, Rows, Summed


class ClusterCap(Grouped):
    """`<table>_rank` is the place of the row in its cluster, from 1; `<table>_size` the rows of the cluster;
    `<table>_keep` whether the rank is within the cap. Table: `cluster_cap`. As the rank is stored, any other cap is a
    filter, `cluster_cap_rank <= 35`, and a smaller one keeps a part of what a larger one keeps.

    by: a column of clusters: `clip_l14_img_cluster` of balance.clusters, or any other whose equal values belong
        together. A row without a value has no rank and is not kept.
    cap: rows of a cluster that stay at most. RealSyn takes 20, 35 and 180 of 1 M clusters for 15 M, 30 M and 100 M of
        168.3 M pairs.
    rows: in place of `cap`: the cap that keeps the number nearest to this; of two equally near the smaller.
    best: a column: the greatest values of a cluster stay, rows without one last. By default the order is a hash of
        (seed, uid). Equals go by uid.
    """

    cite: ClassVar[str] = "Gu et al., RealSyn, 2025 (semantic balance sampling)"
    by: str
    cap: int | None = Field(None, ge=1)
    rows: int | None = Field(None, ge=1)
    best: str = ""
    seed: int = Field(0, ge=0)

    #: The cap that is worked with, and what is said of it.
    _cap: int = PrivateAttr(0)
    _report: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _one_size(self) -> ClusterCap:
        if (self.cap is None) == (self.rows is None):
            raise ValueError("give either `cap` or `rows`")
        if not self.by:
            raise ValueError("by: name the column of clusters")
        return self

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, *self.carries())))

    def carries(self) -> tuple[str, ...]:
        return ("uid", *([self.best] if self.best else []))

    def makes(self) -> dict[str, pa.DataType]:
        kinds = {"rank": pa.uint32(), "size": pa.uint32(), "keep": pa.bool_()}
        return {f"{self.table()}_{name}": kind for name, kind in kinds.items()}

    def decision(self) -> dict[str, Any]:
        reason = f"over the cap of its cluster ({self.by})"
        return {"name": "cluster_cap", "keep": [{"if": in_sql(f"{self.table()}_keep"), "else": reason}]}

    def ready(self, summed: Summed) -> ClusterCap:
        """Finds the cap, of the clusters' sizes."""
        counted_up: Sizes | None = summed(partial(Sizes.of, columns=[self.by]))
        sizes = np.zeros(0, np.int64) if counted_up is None else counted_up.sorted()[SIZE].to_numpy().astype(np.int64)
        self._cap = self.cap or cap_for_rows(sizes, self.rows or 0)
        kept = int(np.minimum(sizes, self._cap).sum())
        if self.rows and self.rows > sizes.sum():
            console.print(
                f"{self.table()}: {counted(self.rows, 'row')} wanted, all {counted(int(sizes.sum()), 'row')} with a "
                f"'{self.by}' stay"
            )
        elif self.rows and kept != self.rows:
            console.print(f"{self.table()}: {counted(self.rows, 'row')} wanted, a cap of {self._cap:,} keeps {kept:,}")
        over = int((sizes > self._cap).sum())
        largest = int(sizes.max(initial=0))
        self._report = {
            "clusters": len(sizes), "largest": largest, "cap": self._cap, "clusters_over": over, "kept": kept,
        }  # fmt: skip
        return self

    def report(self, summed: Summed) -> dict[str, Any]:
        return self._report

    def keys(self, rows: Rows) -> pa.Array:
        return value_keys([pl.Series(self.by, rows[self.by])])

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        rank, size, keep = self.makes()
        ranked = in_order(rows, self.seed, self.best).select(
            "shard",
            "row",
            pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over("key").alias(rank),
            pl.len().over("key").cast(pl.UInt32).alias(size),
        )
        return ranked.with_columns((pl.col(rank) <= self._cap).alias(keep))


def cap_for_rows(sizes: np.ndarray, rows: int) -> int:
    """The cap of clusters of these sizes (int64[n]) that keeps the number of rows nearest to `rows`, 1 or more.

    >>> cap_for_rows(np.array([5, 50, 500]), 45), cap_for_rows(np.array([5, 50, 500]), 10_000)
    (20, 500)
    """
    low, high = 1, max(1, int(sizes.max(initial=1)))
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if np.minimum(sizes, middle).sum() >= rows else (middle + 1, high)
    below, above = (int(np.minimum(sizes, cap).sum()) for cap in (max(1, low - 1), low))
    return max(1, low - 1) if abs(below - rows) <= abs(above - rows) else low
