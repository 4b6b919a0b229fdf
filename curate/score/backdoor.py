"""How lonely an image's vector is among those of random batches: scores that find poisoned and odd pairs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from curate.alike.best_of import BestOf, Histogram
from curate.arrays.vectors import lengths, stored_vectors, unit_rows
from curate.op import Grouped, Rows, Summed
from curate.score._batched import Batched

#: What stands for an infinite score, and for one that is not defined: distances of 0 divide each other.
INFINITE = 1000.0
#: Squared distances under this share of the vectors' own squares are rounding: the vectors are copies.
ROUNDING = 1e-13
#: Values of `source` in the report, those with most rows.
MOST_SOURCES = 1000
#: The share of rows whose sources the report tells.
TOP = 0.01


class Backdoor(Batched):
    """Columns `kdist`, `slof`, `dao` and `lid`, float32, higher for what is more suspicious, of the Euclidean distances
    a_1 <= a_2 <= ... of a row to the others of its batch: `kdist` is a_k; `slof` the mean of a_k / (their a_k) over
    its k nearest; `lid` the local intrinsic dimension -1 / mean of ln(a_i / a_k); `dao` the mean of (their lid) *
    ln(a_k / (their a_k)). With a `name` the columns begin with it. Distances of copies, 0, divide each other: a score
    that is infinite or not defined is 1,000, one of minus infinity 0.

    The encoder must have been trained on this pool: poison is lonely in what such a model has learned. With any other
    one the scores find what is odd, placeholders and rare pictures, not poison.

    by: column of image embeddings.
    k: neighbours; published 16, and 64 for `lid` alone.
    batch: rows that are compared; published 2,048. The score depends on it.
    rounds: random batches a row is in; its score is their mean.
    unit: make vectors length 1 first. Published without; score.clip stores vectors of length 1 anyhow, so that its
        distances are those of unit vectors either way.
    texts: a column of caption embeddings of the same model: captions are then neighbours, too.
    source: a column: the report (`curate show`) says which share of the top 1 % by each score has which value of it.

    The published code looks up one neighbour further and other rows' than the paper says; this is the paper. Takes
    rounds * batch * dimensions multiplications a row. With k rows or fewer there is no score.
    """

    cite: ClassVar[str] = "Huang et al., Detecting backdoor samples in contrastive language image pretraining, 2025"
    how: ClassVar[frozenset[str]] = Grouped.how | {"source"}
    k: int = Field(16, ge=1)
    batch: int = Field(2048, ge=2)
    rounds: int = Field(2, ge=1, le=100)
    unit: bool = False
    texts: str = ""
    source: str = ""

    def makes(self) -> dict[str, pa.DataType]:
        names = ("kdist", "slof", "dao", "lid")
        return {(f"{self.name}_{name}" if self.name else name): pa.float32() for name in names}

    def spec(self) -> dict[str, Any]:
        # Its columns are called by its name.
        spec = super().spec()
        spec["options"] |= {"name": self.name} if self.name else {}
        return spec

    def vectors(self) -> tuple[str, ...]:
        return (self.by, *([self.texts] if self.texts else []))

    def bands(self) -> int:
        return self.rounds

    def rows_of_batch(self) -> int:
        return self.batch

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.carries(), *([self.source] if self.source else []))))

    def judged(self, rows: pl.DataFrame) -> dict[str, np.ndarray]:
        if len(rows) <= self.k:
            return {name: np.full(len(rows), np.nan) for name in self.makes()}
        points = np.concatenate([self._points(rows[name].to_arrow(), name) for name in self.vectors()])
        return dict(zip(self.makes(), loneliness(points, self.k, len(rows)), strict=True))

    def _points(self, column: pa.Array, name: str) -> np.ndarray:
        if self.unit:
            return unit_rows(column, name).astype(np.float64)
        return stored_vectors(column, name, int(lengths(column, name).max())).values.astype(np.float64)

    # ---- the report ----

    def report_reads(self) -> tuple[str, ...]:
        return (*self.makes(), *([self.source] if self.source else []))

    def report(self, summed: Summed) -> dict[str, Any]:
        if not self.source:
            return {}
        places = {name: self._top(summed, name) for name in self.makes()}
        sources: _Sources | None = summed(partial(self._sources, places))
        return {"sources": 0 if sources is None else len(sources.frame), "by_source": _shares(sources)}

    def _top(self, summed: Summed, name: str) -> BestOf:
        """Which scores are in the top 1 %."""
        high: Histogram | None = summed(partial(Histogram.of, column=name))
        if high is None or not high.total:
            return BestOf.none()
        best = high.bin_of(max(1, int(high.total * TOP)))
        low: Histogram = summed(partial(Histogram.of, column=name, inside=best))
        return best.narrowed(low)

    def _sources(self, places: Mapping[str, BestOf], rows: Rows) -> _Sources:
        names = pl.Series(self.source, rows[self.source]).cast(pl.String).fill_null("null")
        columns = {name: pl.Series(best.holds(rows[name])) for name, best in places.items()}
        frame = pl.DataFrame({"source": names, **columns})
        return _Sources(frame.group_by("source").agg(pl.len().alias("rows"), *(pl.col(name).sum() for name in places)))


class _Sources:
    """Rows of each source, and those of them in the top by each score; adds up."""

    def __init__(self, frame: pl.DataFrame):
        self.frame = frame

    def __add__(self, other: _Sources) -> _Sources:
        both = pl.concat([self.frame, other.frame])
        return _Sources(both.group_by("source").agg(pl.exclude("source").sum()))


def _shares(sources: _Sources | None) -> list[dict[str, Any]]:
    """Of each source its rows, and which share of the top by each score it has, those with most rows first."""
    if sources is None:
        return []
    frame = sources.frame.sort("rows", "source", descending=[True, False])
    scores = [name for name in frame.columns if name not in ("source", "rows")]
    shares = [(pl.col(name) / pl.col(name).sum().clip(1)).alias(f"top_1_percent_{name}") for name in scores]
    return frame.select("source", "rows", *shares).head(MOST_SOURCES).to_dicts()


def loneliness(points: np.ndarray, k: int, number: int) -> tuple[np.ndarray, ...]:
    """(k-distance, SLOF, DAO, LID) of the first `number` points, float64[number] each. points: float64[n, d], n > k.

    >>> line = np.array([[0.0], [1], [2.5], [4.5], [20]])
    >>> [scores.round(3).tolist() for scores in loneliness(line, 2, 5)[:2]]
    [[2.5, 1.5, 2.0, 3.5, 17.5], [1.458, 0.675, 0.952, 2.042, 6.875]]
    """
    distances = _distances(points)
    near = _nearest(distances, k)
    to_near = np.take_along_axis(distances, near, axis=1)
    far = to_near.max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.log(to_near / far[:, None]).mean(axis=1)
        # All k as far as each other: the dimension has no bound.
        lid = np.where(mean == 0, np.inf, -1 / mean)
        ratios = far[:number, None] / far[near[:number]]
        slof = ratios.mean(axis=1)
        dao = (lid[near[:number]] * np.log(ratios)).mean(axis=1)
    return tuple(
        np.nan_to_num(s, nan=INFINITE, posinf=INFINITE, neginf=0) for s in (far[:number], slof, dao, lid[:number])
    )


def _distances(points: np.ndarray) -> np.ndarray:
    """float64[n, n]; infinite between a point and itself. Products of float16 add up exactly in float64."""
    squares = np.einsum("nd,nd->n", points, points)
    both = squares[:, None] + squares
    distances: np.ndarray = both - 2 * (points @ points.T)
    distances[distances < ROUNDING * both] = 0
    np.sqrt(distances, out=distances)
    np.fill_diagonal(distances, np.inf)
    return distances


def _nearest(distances: np.ndarray, k: int) -> np.ndarray:
    """int64[n, k]: the k nearest of each point in some order; of equally far ones the first."""
    near: np.ndarray = np.argpartition(distances, k - 1, axis=1)[:, :k]
    far = np.take_along_axis(distances, near, axis=1).max(axis=1)
    tied = np.flatnonzero((distances <= far[:, None]).sum(axis=1) > k)
    near[tied] = np.argsort(distances[tied], axis=1, kind="stable")[:, :k]
    near.sort(axis=1)  # sums do not depend on how the partition left them
    return near
