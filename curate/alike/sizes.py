"""How many rows have each value of some columns: adds up in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from curate.op import Rows

#: The column of counts; called so that no column of a store is.
SIZE = "rows of these values"


@dataclass(frozen=True)
class Sizes:
    """frame: the columns, each combination of their values once, and SIZE, uint64."""

    frame: pl.DataFrame

    @classmethod
    def of(cls, rows: Rows, columns: Sequence[str]) -> Sizes:
        """Of the rows that have a value in every column."""
        frame = pl.DataFrame({name: pl.Series(rows[name]) for name in columns}).drop_nulls()
        return cls(frame.group_by(columns).agg(pl.len().cast(pl.UInt64).alias(SIZE)))

    def __add__(self, other: Sizes) -> Sizes:
        columns = [name for name in self.frame.columns if name != SIZE]
        both = pl.concat([self.frame, other.frame])
        return Sizes(both.group_by(columns).agg(pl.col(SIZE).sum()))

    def sorted(self) -> pl.DataFrame:
        """In the order of the values: the same however it was added up."""
        return self.frame.sort([name for name in self.frame.columns if name != SIZE])
