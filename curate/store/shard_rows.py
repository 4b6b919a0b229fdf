"""How many rows each shard has, reckoned from a few numbers: there may be a million shards."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Stretch:
    """Shards that were read together: all have `per_shard` rows, but the last one, with what is left of `rows`."""

    shards: range
    rows: int
    per_shard: int


class ShardRows(Mapping[int, int]):
    """Shard number to row count, in order.

    >>> rows = ShardRows([Stretch(range(0, 2), 7, 5), Stretch(range(2, 3), 4, 5)])
    >>> rows, rows[1], 3 in rows, sum(rows.values())
    ({0: 5, 1: 2, 2: 4}, 2, False, 11)
    """

    def __init__(self, stretches: list[Stretch]) -> None:
        self.stretches = [stretch for stretch in stretches if len(stretch.shards)]
        self._starts = [stretch.shards.start for stretch in self.stretches]

    def __getitem__(self, shard: int) -> int:
        place = bisect_right(self._starts, shard) - 1
        if place < 0 or shard not in self.stretches[place].shards:
            raise KeyError(shard)
        stretch = self.stretches[place]
        return max(0, min(stretch.per_shard, stretch.rows - (shard - stretch.shards.start) * stretch.per_shard))

    def __iter__(self) -> Iterator[int]:
        for stretch in self.stretches:
            yield from stretch.shards

    def __len__(self) -> int:
        return sum(len(stretch.shards) for stretch in self.stretches)

    def __repr__(self) -> str:
        return repr(dict(self))
