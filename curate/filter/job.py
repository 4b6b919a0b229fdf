"""A filter's work on runs of shards: what `top` has to know of all rows, and the verdict of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from curate.errors import CurateError
from curate.filter.batches import Batch, batches
from curate.filter.decide import Decision, decision
from curate.filter.passes import Pass, Ranked
from curate.filter.rule import Filter
from curate.filter.threshold import Threshold
from curate.filter.within import Thresholds
from curate.store.subset_file import subset_at
from curate.store.verdict import KEPT, Verdicts, verdict_of
from curate.store.view import View


@dataclass
class Judged:
    """What is counted of rows that were judged.

    entered: rows that were in. dropped: of those, by reason. copies: of those that stay, all together; None where they
    have none. matching: rows, in or not, whose uid the subset file has; places: those of their uids in it, each once.
    """

    entered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    copies: int | None = None
    matching: int = 0
    places: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class FilterJob:
    """The job: `add_up` for each pass of `top`, then `judge`.

    folder: of the keep table. runs: the shards of each task. one: what is added up in this pass. threshold: where `top`
    cuts, once it is known. with_copies: whether the keep table says how often rows are taken.
    """

    view: View
    rule: Filter
    folder: str
    runs: Sequence[range]
    one: Pass[Any] | None = None
    threshold: Threshold | Thresholds | None = None
    with_copies: bool = False

    def add_up(self, run: int) -> Any:
        """What the pass says of the rows of a run that are ranked; None where it has none."""
        assert self.one is not None
        total: Any = None
        for ranked in self._ranked(self.runs[run], self.one.places):
            more = self.one.of(ranked)
            total = more if total is None else total + more
        return total

    def judge(self, run: int) -> Judged:
        """Write the verdicts of a run; returns what is counted of them."""
        judged, places = Judged(copies=0 if self.with_copies else None), list[np.ndarray]()
        # A threshold that ends at a row of a shard has to know which shard it looks at.
        alone = self.threshold is not None and self.threshold.by_place
        for shards in _cut(self.runs[run], alone):
            for batch in batches(self.view, self._columns(), shards):
                repeats = None
                if self.rule.subset:
                    where_there, repeats = subset_at(self.rule.subset).look_up(batch.rows["uid"])
                    judged.matching += int((repeats > 0).sum())
                    places.append(np.unique(where_there[repeats > 0]))
                outcome = decision(batch.rows, self.rule, self.threshold, batch.shards[0], repeats)
                for shard, rows, owner in batch.slices():
                    after = self._after(outcome, rows, self.view.verdicts(shard, owner), judged)
                    self.view.store.write_part(self.folder, shard, after.to_arrow(), owner=owner)
        judged.places = np.unique(np.concatenate([*places, judged.places]))
        return judged

    def _after(self, outcome: Decision, rows: slice, before: Verdicts | None, judged: Judged) -> Verdicts:
        """The verdicts of a shard. rows: its rows among those of the outcome. before: the verdicts of earlier steps."""
        texts = [KEPT, *(verdict_of(self.rule.name, reason) for reason in outcome.reasons[1:])]
        copies = outcome.copies[rows] if self.with_copies and outcome.copies is not None else None
        verdicts = Verdicts(outcome.codes[rows], texts, copies)
        codes = verdicts.codes if before is None else verdicts.codes[before.kept]
        judged.entered += len(codes)
        counts = np.bincount(codes, minlength=1)
        counts[0] = 0
        for code in np.flatnonzero(counts).tolist():
            judged.dropped[outcome.reasons[code]] += int(counts[code])
        none_before = Verdicts(np.zeros(len(verdicts.codes), np.int32), [KEPT])
        after = verdicts if before is None and copies is None else (before or none_before).then(verdicts)
        if after.copies is not None:
            judged.copies = (judged.copies or 0) + int(after.copies.sum())
        return after

    def _columns(self) -> list[str]:
        """Columns that the verdicts are made of."""
        names = list(self.rule.needs())
        # The uid is the longest column of all, and only equal scores at the threshold are told apart by it.
        if not names or (self.threshold is not None and self.threshold.by_uid):
            names = list(dict.fromkeys((*names, "uid")))
        return names

    def _ranked(self, run: range, places: bool) -> Iterator[Ranked]:
        """The rows that are ranked; places: with their uids and places, shard by shard."""
        assert self.rule.top is not None
        by, within, conditions = self.rule.top.by, self.rule.top.within, self.rule.model_copy(update={"top": None})
        passing = self.rule.top.among == "passing" and bool(conditions.needs())
        names = (
            {by, *filter(None, [within])}
            | (set(conditions.needs()) if passing else set())
            | ({"uid"} if places else set())
        )
        for shards in _cut(run, places):
            for batch in batches(self.view, sorted(names), shards):
                scores = rankable(batch.rows[by], self.rule.name)
                inside = scores.is_not_null().to_numpy()
                inside &= self._inside(batch)
                if passing:
                    inside &= decision(batch.rows, conditions, repeats=self._repeats(batch)).codes == 0
                rows = np.flatnonzero(inside)
                values = scores.gather(rows).to_numpy()
                groups = batch.rows[within].gather(rows).cast(pl.String) if within else None
                if places:
                    yield Ranked(values, batch.rows["uid"].gather(rows), batch.shards[0], rows, groups)
                else:
                    yield Ranked(values, groups=groups)

    def _repeats(self, batch: Batch) -> np.ndarray | None:
        """How often the subset file has the uid of each row; None where the filter has none."""
        return subset_at(self.rule.subset).look_up(batch.rows["uid"])[1] if self.rule.subset else None

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
