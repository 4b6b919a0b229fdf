"""The vectors of a seeded sample of rows: of the lowest ranks, whatever the order in which they are added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from curate.errors import CurateError


class Sample:
    """The vectors of the lowest ranks, `most` of them, of so many rows; adds up in any order.

    Half as many more are held at most: to sort them out copies all.
    """

    def __init__(self, ranks: np.ndarray, vectors: np.ndarray, most: int, rows: int):
        self._parts = [(ranks, vectors)]
        self._last: int | None = None  # a rank behind which none stays, once there are enough
        self.most, self.rows = most, rows

    @property
    def ranks(self) -> np.ndarray:
        return self._sort_out()[0]

    @property
    def vectors(self) -> np.ndarray:
        return self._sort_out()[1]

    def __add__(self, other: Sample) -> Sample:
        total = Sample(*self._parts[0], self.most, self.rows + other.rows)
        total._parts, total._last = [*self._parts, *map(self._lower, other._parts)], self._last
        if sum(len(ranks) for ranks, _ in total._parts) > 1.5 * self.most:
            total._sort_out()
        return total

    def _lower(self, part: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """What of another's part may stay."""
        if self._last is None:
            return part
        low = part[0] < self._last
        return part[0][low], part[1][low]

    def __getstate__(self) -> dict[str, Any]:
        self._sort_out()
        return self.__dict__

    def _sort_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Hold what stays, by rank; of equal ranks the one that was added first comes first."""
        ranks = np.concatenate([ranks for ranks, _ in self._parts])
        order = np.argsort(ranks, kind="stable")[: self.most]
        if len(self._parts) > 1 or not np.array_equal(order, np.arange(len(ranks))):
            vectors, first = np.empty((len(order), *self._parts[0][1].shape[1:]), np.float32), 0
            for part, some in self._parts:
                here = np.flatnonzero((order >= first) & (order < first + len(part)))
                vectors[here] = some[order[here] - first]
                first += len(part)
            self._parts = [(ranks[order], vectors)]
        if len(order) == self.most:
            self._last = int(self._parts[0][0][-1])
        return self._parts[0]


class Samples:
    """A sample for each length of vectors."""

    def __init__(self, of: Mapping[int, Sample]):
        self.of = dict(of)

    def __add__(self, other: Samples) -> Samples:
        both = {n: self.of[n] + other.of[n] for n in self.of.keys() & other.of.keys()}
        return Samples({**self.of, **other.of, **both})

    def most(self) -> Sample | None:
        """That of the length that most rows have.

        Raises:
            CurateError: when two lengths have equally many: which rows are the odd ones cannot be told.
        """
        used = [item for item in self.of.items() if item[1].rows]
        ranked = sorted(used, key=lambda item: -item[1].rows)
        if len(ranked) > 1 and ranked[0][1].rows == ranked[1][1].rows:
            one, two = sorted((ranked[0][0], ranked[1][0]))
            raise CurateError(f"as many embeddings of {one} numbers as of {two}: two models made them")
        return ranked[0][1] if ranked else None
