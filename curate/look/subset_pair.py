"""Two subset files beside each other: what they share, uids and copies, and where they first differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from curate.store.subset_file import Subset, subset_at

#: Differences that are told.
FIRST = 10

#: Rows of a file that are looked at together.
ROWS = 1 << 20


@dataclass(frozen=True)
class SubsetPair:
    """first, second: uids, each once, of the files. first_copies, second_copies: all their rows.

    both: uids that the two have; same_copies: of these, as often. copies_of_both: rows that they have in common, of
        each uid the smaller number. differences: (uid, times in the first, times in the second) of the smallest uids
        that are not there as often.
    """

    first: int
    second: int
    first_copies: int
    second_copies: int
    both: int
    same_copies: int
    copies_of_both: int
    differences: tuple[tuple[str, int, int], ...]

    @property
    def jaccard(self) -> float:
        """Uids that both have, over those that any has; 1 for two files without uids."""
        either = self.first + self.second - self.both
        return self.both / either if either else 1.0

    @property
    def jaccard_of_copies(self) -> float:
        """The same of rows, each uid as often as it is there."""
        either = self.first_copies + self.second_copies - self.copies_of_both
        return self.copies_of_both / either if either else 1.0


def compare(first: str, second: str) -> SubsetPair:
    """
    Raises:
        CurateError: for a file that is no subset file.
    """
    one, other = subset_at(first), subset_at(second)
    both = same = copies = 0
    differing: list[tuple[str, int, int]] = []
    for uids, times, times_there in _blocks(one, other):
        both += int((times_there > 0).sum())
        same += int((times_there == times).sum())
        copies += int(np.minimum(times, times_there).sum())
        if len(differing) < FIRST:
            differing += _differences(uids, times, times_there)
    lacking = (difference for block in _blocks(other, one) for difference in _only_second(*block))
    differing = sorted([*differing[:FIRST], *islice(lacking, FIRST)])[:FIRST]
    return SubsetPair(
        one.distinct, other.distinct, len(one.rows), len(other.rows), both, same, copies, tuple(differing)
    )


def _blocks(subset: Subset, other: Subset) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """uids, each once and in order, how often they are there, and how often the other file has them."""
    start = 0
    while start < len(subset.rows):
        stop = min(start + ROWS, len(subset.rows))
        # A uid's rows stay together.
        last = subset.rows[stop - 1 : stop]
        stop = int(subset.bounds(last)[1][0])
        uids, times = np.unique(np.asarray(subset.rows[start:stop]), return_counts=True)
        begin, end = other.bounds(uids)
        yield uids, times, end - begin
        start = stop


def _differences(uids: np.ndarray, times: np.ndarray, times_there: np.ndarray) -> list[tuple[str, int, int]]:
    places = np.flatnonzero(times != times_there)[:FIRST]
    return [(_text(uids[place]), int(times[place]), int(times_there[place])) for place in places]


def _only_second(uids: np.ndarray, times: np.ndarray, in_first: np.ndarray) -> Iterator[tuple[str, int, int]]:
    """Those that only the second file has, as differences from the first."""
    for place in np.flatnonzero(in_first == 0)[:FIRST]:
        yield _text(uids[place]), 0, int(times[place])


def _text(halves: np.void) -> str:
    high, low = halves.tolist()
    return f"{high:016x}{low:016x}"
