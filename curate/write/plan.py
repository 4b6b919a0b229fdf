"""Which samples go into which training shard."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np


@dataclass(frozen=True)
class Piece:
    """Samples `start` to `stop` among those that one shard of the store gives, see curate.write.survey.Writable."""

    shard: int
    start: int
    stop: int


@dataclass(frozen=True)
class Plan(Sequence[list[Piece]]):
    """The pieces of each training shard, in 40 bytes a shard: it travels to every worker.

    numbers: (pieces, 3) int64: shard, start, stop of each. ends: (training shards,) int64: where its pieces end.
    """

    numbers: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, number: int) -> list[Piece]: ...

    @overload
    def __getitem__(self, number: slice) -> list[list[Piece]]: ...

    def __getitem__(self, number: int | slice) -> list[Piece] | list[list[Piece]]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"training shard {number} of {len(self)}")
        end = number % len(self)
        start = int(self.ends[end - 1]) if end else 0
        return [Piece(*piece) for piece in self.numbers[start : int(self.ends[end])].tolist()]

    def samples(self) -> np.ndarray:
        """(training shards,) int64: the samples of each."""
        until = np.append(0, np.cumsum(self.numbers[:, 2] - self.numbers[:, 1]))[self.ends]
        counts: np.ndarray = np.diff(until, prepend=0)
        return counts


def in_order(
    sizes: Iterable[tuple[int, np.ndarray]], first: Mapping[tuple[int, int], int]
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Runs of samples, as (shard, start, sizes): those of `first`, then the rest as the store has it.

    >>> sizes = [(0, np.ones(5)), (1, np.ones(2))]
    >>> [(shard, start, len(run)) for shard, start, run in in_order(sizes, {(0, 3): 1})]
    [(0, 3, 1), (0, 0, 3), (0, 4, 1), (1, 0, 2)]
    """
    taken: dict[int, list[int]] = {}
    for (shard, place), size in first.items():
        taken.setdefault(shard, []).append(place)
        yield shard, place, np.array([size], np.int64)
    for shard, heavy in sizes:
        start = 0
        for place in sorted(taken.get(shard, ())):
            yield shard, start, heavy[start:place]
            start = place + 1
        yield shard, start, heavy[start:]


def plan(
    sizes: Iterable[tuple[int, np.ndarray]],
    samples: int,
    most_bytes: int | None,
    first: Mapping[tuple[int, int], int] | None = None,
) -> Plan:
    """Which samples go into which shard, in the order of the store behind those of `first`.

    sizes: (shard of the store, bytes of the images of its samples). first: (shard, place) to bytes.

    >>> list(plan(iter([(0, np.array([5, 5, 5])), (1, np.array([5]))]), 2, None))
    [[Piece(shard=0, start=0, stop=2)], [Piece(shard=0, start=2, stop=3), Piece(shard=1, start=0, stop=1)]]
    """
    numbers, ends = array("q"), array("q")
    count = weight = 0
    for shard, start, heavy in in_order(sizes, first or {}):
        until = np.cumsum(heavy)
        at = 0
        while at < len(heavy):
            before = int(until[at - 1]) if at else 0
            take = min(samples - count, len(heavy) - at)
            if most_bytes is not None:
                fits = int(np.searchsorted(until, before + most_bytes - weight, side="right")) - at
                # One image larger than the cap still gets a shard of its own.
                take = min(take, max(fits, 0 if count else 1))
            if take:
                if not count:
                    ends.append(0)
                numbers.extend((shard, start + at, start + at + take))
                ends[-1] = len(numbers) // 3
                at, count, weight = at + take, count + take, weight + int(until[at + take - 1]) - before
            full = count >= samples or (most_bytes is not None and at < len(heavy))
            if full:
                count = weight = 0
    return Plan(np.array(numbers, np.int64).reshape(-1, 3), np.array(ends, np.int64))
