"""Batched: what scores have in common that compare a row's vectors with those of the other rows of random batches."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, PrivateAttr

from curate.alike.batches import Batches
from curate.alike.number_keys import number_keys
from curate.arrays.vectors import lengths, read_vectors
from curate.errors import CurateError
from curate.library.op_names import op_name
from curate.models.made_by import refuse_older
from curate.op import Grouped, Rows, Summed


class Batched(Grouped):
    """A Grouped op whose groups are batches: each row is in one batch of each partition, and its value is the mean.

    by: column of image embeddings. seed: of the draw of batches. A batch that is under half the usual size, as only a
    small pool has, is put together with a neighbour.
    """

    # One batch a partition at the worst; measured 7.6 for 32,768 pairs of 768 numbers.
    copies: ClassVar[float] = 10
    by: str = "clip_l14_img"
    seed: int = Field(0, ge=0)

    _batches: Any = PrivateAttr(None)
    #: Numbers that a vector has.
    _width: int = PrivateAttr(0)

    @abstractmethod
    def rows_of_batch(self) -> int:
        """Rows of a batch, about."""

    @abstractmethod
    def judged(self, rows: pl.DataFrame) -> dict[str, np.ndarray]:
        """float64[n] for every column of `makes`, of the rows of one batch, which stand by uid; NaN where none."""

    def vectors(self) -> tuple[str, ...]:
        """The columns of vectors; a row without one in each of them is in no batch."""
        return (self.by,)

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def reads(self) -> tuple[str, ...]:
        return self.carries()

    def carries(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("uid", *self.vectors())))

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)
        first, *others = [(name, made_by.get(name, {})) for name in self.vectors()]
        for name, spec in others:
            if first[1].get("op") and spec.get("op") and first[1] != spec:
                raise CurateError(
                    f"{op_name(type(self))}: '{first[0]}' was made by {first[1]['op']} and '{name}' by {spec['op']} "
                    "with other options or another model: vectors of two models do not go together"
                )

    def ready(self, summed: Summed) -> Batched:
        """Counts the rows, then those of each batch."""
        widths: Counter[int] = summed(self._widths) or Counter()
        self._width = 0
        if not widths:
            self._batches = Batches.equal(self.seed, self.bands(), 0, self.rows_of_batch())
            return self
        self._width = _most(widths, self.vectors())
        batches = Batches.equal(self.seed, self.bands(), widths[self._width], self.rows_of_batch())
        sizes = summed(_SizesOf(self, batches))
        self._batches = batches.without_small(sizes, self.rows_of_batch() / 2)
        return self

    def _widths(self, rows: Rows) -> Counter[int]:
        """Of the rows that have a vector in every column, how many numbers it has, by how many rows; 0 where the
        columns differ."""
        sizes = np.stack([lengths(rows[name], name) for name in self.vectors()])
        in_all = (sizes > 0).all(axis=0)
        same = np.where((sizes == sizes[0]).all(axis=0), sizes[0], 0)[in_all]
        return Counter(dict(zip(*(part.tolist() for part in np.unique(same, return_counts=True)), strict=True)))

    def usable(self, rows: Rows) -> np.ndarray:
        """bool[n]: rows with a vector of the usual width in every column."""
        if not self._width:
            return np.zeros(len(rows), bool)
        read = [read_vectors(rows[name], name, self._width, another_model=False) for name in self.vectors()]
        return np.asarray(np.logical_and.reduce([vectors.good for vectors in read]))

    def keys(self, rows: Rows) -> pa.Array | list[pa.Array]:
        usable = self.usable(rows)
        batches = self._batches.of(rows["uid"])
        keys = [number_keys(np.full(len(rows), band), batch, usable) for band, batch in enumerate(batches)]
        return keys if self.bands() > 1 else keys[0]

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        parts = rows.sort("key", "uid", "shard", "row").partition_by("key", maintain_order=True) if len(rows) else []
        judged = [part.select("shard", "row").with_columns(**self.judged(part)) for part in parts]
        empty = {name: pl.Series([], dtype=pl.Float64) for name in self.makes()}
        return pl.concat([rows.select("shard", "row").clear().with_columns(**empty), *judged]).fill_nan(None)

    def merge(self, verdicts: pl.DataFrame) -> pl.DataFrame:
        # In the order of the values, so that no bit of a sum depends on which batch came first.
        means = [pl.col(name).sort(nulls_last=True).mean() for name in self.makes()]
        return verdicts.group_by("shard", "row").agg(means)


class _SizesOf:
    """The sizes of batches, as a part of a sum."""

    def __init__(self, op: Batched, batches: Batches):
        self.op, self.batches = op, batches

    def __call__(self, rows: Rows) -> np.ndarray:
        return self.batches.sizes(rows["uid"].filter(pa.array(self.op.usable(rows))))


def _most(widths: Counter[int], columns: tuple[str, ...]) -> int:
    """The width that most rows have.

    Raises:
        CurateError: when no row has vectors of one width, and when two widths have equally many rows.
    """
    (width, rows), *others = sorted(widths.items(), key=lambda item: (-item[1], item[0]))
    if not width:
        raise CurateError(f"columns {', '.join(columns)}: vectors of a row have other widths: two models made them")
    if others and others[0][1] == rows:
        raise CurateError(f"column '{columns[0]}': as many embeddings of {width} numbers as of {others[0][0]}")
    return width
