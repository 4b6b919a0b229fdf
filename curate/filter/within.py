"""Where `top` cuts within groups: the threshold of each value of a column, all of them in the same few passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from curate.filter import threshold as one_threshold
from curate.filter.passes import CountKeys, Histogram, Pass, Passes, Ranked
from curate.filter.threshold import Search, Threshold

#: Groups whose thresholds the manifest lists; of more, those with the most rows.
LISTED = 1000

#: What is sorted of a group in memory at least, however many groups there are.
_LEAST_IN_MEMORY = 16


@dataclass(frozen=True)
class ByGroup:
    """What a pass says of each group."""

    results: dict[str | None, Any] = field(default_factory=dict)

    def __add__(self, other: ByGroup) -> ByGroup:
        both = dict(self.results)
        for name, more in other.results.items():
            both[name] = both[name] + more if name in both else more
        return ByGroup(both)


@dataclass(frozen=True)
class EachGroup:
    """The pass of each group over its own rows. passes: by group; None: CountKeys, of every group that there is."""

    passes: Mapping[str | None, Pass[Any]] | None = None

    @property
    def places(self) -> bool:
        return self.passes is not None and any(one.places for one in self.passes.values())

    def of(self, ranked: Ranked) -> ByGroup:
        results = {}
        for name, rows in _parts(ranked):
            one = CountKeys() if self.passes is None else self.passes.get(name)
            if one is not None:
                results[name] = one.of(rows)
        return ByGroup(results)


def _parts(ranked: Ranked) -> Iterator[tuple[str | None, Ranked]]:
    """The rows of each group."""
    assert ranked.groups is not None
    groups = ranked.groups.to_frame("group").with_row_index("place").group_by("group", maintain_order=True).agg("place")
    for name, places in groups.iter_rows():
        at = np.array(places, np.int64)
        uids = None if ranked.uids is None else ranked.uids.gather(at)
        rows = None if ranked.rows is None else ranked.rows[at]
        yield name, Ranked(ranked.scores[at], uids, ranked.shard, rows)


@dataclass(frozen=True)
class Thresholds:
    """Where `top` cuts in each group. within: the column of groups. of: by group; one without a score is not there."""

    within: str
    of: Mapping[str | None, Threshold]

    @property
    def by_uid(self) -> bool:
        return any(cut.by_uid for cut in self.of.values())

    @property
    def by_place(self) -> bool:
        return any(cut.by_place for cut in self.of.values())

    def as_json(self) -> dict[str, Any]:
        """As the manifest has it: LISTED groups at most, those that keep most rows, then by name."""
        order = sorted(self.of.items(), key=lambda item: (-item[1].rows, item[0] is not None, item[0] or ""))
        listed = [{"group": name, **cut.as_json()} for name, cut in order[:LISTED]]
        return {"within": self.within, "groups": len(self.of), "listed": listed}

    def keeps(self, by: str, shard: int = 0) -> pl.Expr:
        """As Threshold.keeps, each row by the threshold of its group."""
        cuts = list(self.of.values())
        number = self._numbers()

        def of_group(values: list[Any], dtype: Any) -> pl.Expr:
            return pl.lit(pl.Series(values, dtype=dtype)).gather(number)

        whole = any(isinstance(cut.score, int) for cut in cuts)
        value = pl.col(by).cast(pl.Int128) if whole else pl.col(by).cast(pl.Float64).fill_nan(None)
        score = of_group([cut.score for cut in cuts], pl.Int128 if whole else pl.Float64)
        above = value > score if whole else (value > score) & value.is_finite()
        equal = value == score
        if self.by_uid:
            equal &= self._among_equal(cuts, of_group, shard)
        # A group of which nothing is kept has no score.
        return pl.when(value.is_not_null() & score.is_null()).then(False).otherwise(above | equal)

    def _among_equal(self, cuts: list[Threshold], of_group: Callable[[list[Any], Any], pl.Expr], shard: int) -> pl.Expr:
        """Which rows are kept of those that have the score of their group's threshold."""
        last_uid = of_group([cut.uid for cut in cuts], pl.String)
        last_shard = of_group([cut.place and cut.place[0] for cut in cuts], pl.Int64)
        last_row = of_group([cut.place and cut.place[1] for cut in cuts], pl.Int64)
        row = pl.int_range(pl.len(), dtype=pl.Int64)
        first = last_shard.is_null() | (shard < last_shard) | ((shard == last_shard) & (row <= last_row))
        uid = pl.col("uid")
        return last_uid.is_null() | (uid < last_uid) | ((uid == last_uid) & first)

    def _numbers(self) -> pl.Expr:
        """The number of each row's group in `of`; null for one that is not there."""
        numbers = {name: number for number, name in enumerate(self.of)}
        nameless = numbers.pop(None, None)
        names = pl.col(self.within).cast(pl.String)
        if not numbers:
            return pl.when(names.is_null()).then(pl.lit(nameless, pl.Int64))
        number = names.replace_strict(
            pl.Series(list(numbers), dtype=pl.String),
            pl.Series(list(numbers.values()), dtype=pl.Int64),
            default=None,
            return_dtype=pl.Int64,
        )
        return pl.when(names.is_null()).then(pl.lit(nameless, pl.Int64)).otherwise(number)


def find_thresholds(summed: Passes, within: str, count_of: Callable[[int], int], ties: str) -> Thresholds:
    """Where to cut in each group so that `count_of(N)` of its N scored rows stay, as curate.filter.threshold.search has
    it. summed: does a pass over all scores, with their groups.

    Raises:
        CurateError: when scores are of several dtypes.
    """
    first: dict[str | None, Histogram] = summed(EachGroup(), ByGroup()).results
    Histogram(dtypes=frozenset().union(*(counted.dtypes for counted in first.values()))).dtype()
    in_memory = max(_LEAST_IN_MEMORY, one_threshold.IN_MEMORY // max(1, len(first)))
    searching: dict[str | None, Search] = {}
    answers: dict[str | None, Any] = {}
    for name in sorted(first, key=lambda name: (name is not None, name or "")):
        searching[name] = one_threshold.search(count_of, ties, in_memory)
        next(searching[name])
        answers[name] = first[name]
    cuts: dict[str | None, Threshold] = {}
    while answers:
        asked: dict[str | None, tuple[Pass[Any], Any]] = {}
        for name, answer in answers.items():
            try:
                asked[name] = searching[name].send(answer)
            except StopIteration as end:
                cuts[name] = end.value
        passes = {name: one for name, (one, _) in asked.items()}
        results = summed(EachGroup(passes), ByGroup()).results if asked else {}
        answers = {name: results.get(name, zero) for name, (_, zero) in asked.items()}
    return Thresholds(within, {name: cuts[name] for name in searching})
