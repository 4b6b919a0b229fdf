"""Entry counts of a pool, apart for each group of captions that has a threshold of its own: all, or each language."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.arrays.string_hash import hash_strings
from curate.metaclip.balance import entry_counts, expected_matches, expected_rows, keep_probability
from curate.metaclip.draws import draw

#: The group of all captions, where they are not told apart.
ALL = ""

#: From a range of entry ids, its first and its end, to one uint64 for each entry.
EntryHashes = Callable[[int, int], np.ndarray]


def hashes_of_ids(low: int, end: int) -> np.ndarray:
    """Hashes of entries whose strings are not known: of their ids as text."""
    return hash_strings(pa.array(np.arange(low, end)).cast(pa.string()))


@dataclass
class Group:
    """Captions per entry id from `low` on, uint64; when it is settled, the threshold they are balanced by, and the
    hashes that key each entry's draws."""

    low: int
    counts: np.ndarray
    t: int = 0
    hashes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))

    def __add__(self, other: Group) -> Group:
        low, end = min(self.low, other.low), max(self.end, other.end)
        counts = np.zeros(end - low, np.uint64)
        for part in (self, other):
            counts[part.low - low : part.end - low] += part.counts
        return Group(low, counts)

    @property
    def end(self) -> int:
        return self.low + len(self.counts)

    def settled(self, t: int, hashes: EntryHashes) -> Group:
        return Group(self.low, self.counts, t, hashes(self.low, self.end))

    def places(self, matched: pa.ListArray) -> pa.ListArray:
        """Lists of entry ids as places in `counts`."""
        return _less(matched, self.low)

    def judged(self, matched: pa.ListArray, uids: pa.Array, seed: int) -> tuple[pa.DoubleArray, pa.BooleanArray]:
        """(P, one seeded draw) of each caption."""
        places = self.places(matched)
        kept = draw(places, uids, self.counts, self.t, entry_hashes=self.hashes, seed=seed)
        return keep_probability(places, self.counts, self.t), kept


@dataclass
class Counts:
    """The groups of a pool by name, and how many captions and matching captions there are. Adds up in any order."""

    captions: int = 0
    matching: int = 0
    groups: dict[str, Group] = field(default_factory=dict)

    @classmethod
    def of(cls, matched: pa.ListArray, names: pa.Array | None) -> Counts:
        groups = {}
        for name, _, rows in split(matched, names):
            ids = rows.flatten().to_numpy()
            if len(ids):
                low = int(ids.min()) if names is not None else 0
                groups[name] = Group(low, entry_counts(_less(rows, low), int(ids.max()) - low + 1))
        matching = int(np.count_nonzero(pc.list_value_length(matched).fill_null(0).to_numpy()))
        return cls(len(matched), matching, groups)

    def settled(self, thresholds: dict[str, int], hashes: EntryHashes) -> Counts:
        """hashes: what keys the draws of the entries."""
        groups = {name: group.settled(thresholds[name], hashes) for name, group in self.groups.items()}
        return Counts(self.captions, self.matching, groups)

    def __add__(self, other: Counts) -> Counts:
        groups = dict(self.groups)
        for name, group in other.groups.items():
            groups[name] = groups[name] + group if name in groups else group
        return Counts(self.captions + other.captions, self.matching + other.matching, groups)


@dataclass
class Expected:
    """Expected matches by group and entry, and expected captions. Adds up."""

    rows: float
    matches: dict[str, np.ndarray]

    @classmethod
    def of(cls, matched: pa.ListArray, names: pa.Array | None, groups: dict[str, Group]) -> Expected:
        rows, matches = 0.0, {}
        for name, _, lists in split(matched, names):
            if name in groups:
                group = groups[name]
                places = group.places(lists)
                rows += float(expected_rows([places], group.counts, [group.t])[0])
                matches[name] = expected_matches(places, group.counts, group.t)
        return cls(rows, matches)

    def __add__(self, other: Expected) -> Expected:
        matches = dict(self.matches)
        for name, sums in other.matches.items():
            matches[name] = matches[name] + sums if name in matches else sums
        return Expected(self.rows + other.rows, matches)


def expected_sizes(
    matched: pa.ListArray, names: pa.Array | None, groups: dict[str, Group], thresholds: dict[str, list[int]]
) -> np.ndarray:
    """float64[k]: captions kept in expectation under each of k thresholds of every group."""
    sizes = [
        expected_rows([groups[name].places(rows)], groups[name].counts, thresholds[name])
        for name, _, rows in split(matched, names)
        if name in groups
    ]
    return np.sum([np.zeros(len(next(iter(thresholds.values())))), *sizes], axis=0)  # type: ignore[no-any-return]


def split(matched: pa.ListArray, names: pa.Array | None) -> Iterator[tuple[str, np.ndarray, pa.ListArray]]:
    """(name, row numbers, their lists of ids) of each group that has rows."""
    if names is None:
        yield ALL, np.arange(len(matched)), matched
        return
    named = names.cast(pa.string()).dictionary_encode()
    numbers = named.indices.to_numpy()
    for number, name in enumerate(named.dictionary.to_pylist()):
        rows = np.flatnonzero(numbers == number)
        yield name, rows, matched.take(pa.array(rows))


def _less(matched: pa.ListArray, low: int) -> pa.ListArray:
    if low == 0:
        return matched
    return pa.ListArray.from_arrays(matched.offsets, pc.subtract(matched.values, pa.scalar(low, matched.values.type)))
