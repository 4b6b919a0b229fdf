"""A filter's work on runs of shards: what `top` has to know of all rows, and the verdict of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from curate.errors import CurateError
from curate.filter.batches import Batch, batches
from curate.filter.decide import decision
from curate.filter.passes import Pass, Ranked
from curate.filter.rule import Filter
from curate.filter.threshold import Threshold
from curate.store.verdict import KEPT, Verdicts, verdict_of
from curate.store.view import View


@dataclass(frozen=True)
class FilterJob:
    """The job: `add_up` for each pass of `top`, then `judge`.

    folder: of the keep table. runs: the shards of each task. one: what is added up in this pass. threshold: where `top`
    cuts, once it is known.
    """

    view: View
    rule: Filter
    folder: str
    runs: Sequence[range]
    one: Pass[Any] | None = None
    threshold: Threshold | None = None

    def add_up(self, run: int) -> Any:
        """What the pass says of the rows of a run that are ranked; None where it has none."""
        assert self.one is not None
        total: Any = None
        for ranked in self._ranked(self.runs[run], self.one.places):
            more = self.one.of(ranked)
            total = more if total is None else total + more
        return total

    def judge(self, run: int) -> tuple[int, Counter[str]]:
        """Write the verdicts of a run; returns the number of rows that entered, and rows dropped here by reason."""
        entered, dropped = 0, Counter[str]()
        # A threshold that ends at a row of a shard has to know which shard it looks at.
        alone = self.threshold is not None and self.threshold.place is not None
        for shards in _cut(self.runs[run], alone):
            for batch in batches(self.view, self._columns(), shards):
                outcome = decision(batch.rows, self.rule, self.threshold, batch.shards[0])
                texts = [KEPT, *(verdict_of(self.rule.name, reason) for reason in outcome.reasons[1:])]
                for shard, rows, owner in batch.slices():
                    verdicts, before = Verdicts(outcome.codes[rows], texts), self.view.verdicts(shard, owner)
                    codes = verdicts.codes if before is None else verdicts.codes[before.kept]
                    entered += len(codes)
                    counts = np.bincount(codes, minlength=1)
                    counts[0] = 0
                    for code in np.flatnonzero(counts).tolist():
                        dropped[outcome.reasons[code]] += int(counts[code])
                    after = verdicts if before is None else before.then(verdicts)
                    self.view.store.write_part(self.folder, shard, after.to_arrow(), owner=owner)
        return entered, dropped

    def _columns(self) -> list[str]:
        """Columns that the verdicts are made of."""
        names = list(self.rule.needs())
        # The uid is the longest column of all, and only equal scores at the threshold are told apart by it.
        if not names or (self.threshold is not None and self.threshold.uid is not None):
            names = list(dict.fromkeys((*names, "uid")))
        return names

    def _ranked(self, run: range, places: bool) -> Iterator[Ranked]:
        """The rows that are ranked; places: with their uids and places, shard by shard."""
        assert self.rule.top is not None
        by, conditions = self.rule.top.by, self.rule.model_copy(update={"top": None})
        passing = self.rule.top.among == "passing" and bool(self.rule.where)
        names = {by} | (set(conditions.needs()) if passing else set()) | ({"uid"} if places else set())
        for shards in _cut(run, places):
            for batch in batches(self.view, sorted(names), shards):
                scores = rankable(batch.rows[by], self.rule.name)
                inside = scores.is_not_null().to_numpy()
                inside &= self._inside(batch)
                if passing:
                    inside &= decision(batch.rows, conditions).codes == 0
                rows = np.flatnonzero(inside)
                values = scores.gather(rows).to_numpy()
                if places:
                    yield Ranked(values, batch.rows["uid"].gather(rows), batch.shards[0], rows)
                else:
                    yield Ranked(values)

    def _inside(self, batch: Batch) -> np.ndarray:
        """Which rows of a batch are in."""
        ends = [0, *batch.ends]
        parts = []
        for place, shard in enumerate(batch.shards):
            kept = self.view.kept(shard)
            parts.append(np.ones(ends[place + 1] - ends[place], bool) if kept is None else kept)
        return np.concatenate(parts)


def _cut(run: range, alone: bool) -> list[range]:
    """The shards that are read together: places are those in a shard, and uids many bytes."""
    return [range(shard, shard + 1) for shard in run] if alone else [run]


def rankable(scores: pl.Series, name: str) -> pl.Series:
    """Scores in a type that can be ranked, none of them lost: null where there is none, or an infinite one.

    Raises:
        CurateError: for what is no number.
    """
    dtype = scores.dtype
    if dtype == pl.Null:
        none: pl.Series = scores.cast(pl.Float32)
        return none
    if not dtype.is_numeric() or dtype in (pl.Int128, pl.UInt128):
        raise CurateError(f"filter {name}: top ranks numbers of up to 64 bits, and '{scores.name}' holds {dtype}")
    if dtype.is_integer():
        whole: pl.Series = scores if dtype == pl.UInt64 else scores.cast(pl.Int64)
        return whole
    scores = scores.cast(pl.Float64) if dtype.is_decimal() or dtype == pl.Float64 else scores.cast(pl.Float32)
    finite: pl.Series = scores.set(~scores.is_finite(), None)
    return finite
