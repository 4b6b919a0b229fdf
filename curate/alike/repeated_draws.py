"""Rounds of draws without replacement by softmax of scores, where what is drawn loses some of its score.

A round is a race: row i arrives at time -ln(u) / e^score, u a uniform number of (seed, round, uid), and the first b are
drawn, which is to draw b without replacement with probability softmax(score) (Efraimidis and Spirakis, 2006). So a
round needs to be known by one number, the time at which its b-th row arrives: with these limits each row is drawn by
itself, on any machine. Times are compared by their logarithm, so that no score is too large.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curate.arrays.string_hash import hash_pairs

#: Rows that are drawn at a time: their numbers stay in the processor's cache.
AT_ONCE = 1 << 16
#: How often a guess of the limit is raised before all rows are looked at.
TRIES = 40
#: ln of a time at which it is not worth the while to tell early rows from late ones, nor possible.
LATE = 300.0


class Scored:
    """Rows with a score, by a hash of uid: the `most` of them with the lowest seeded hashes; adds up in any order.

    hashes: uint64[n]. scores: float64[n], finite. total: rows with a score, also of those that were left out.
    """

    def __init__(self, hashes: np.ndarray, scores: np.ndarray, most: int, seed: int, total: int):
        self._parts = [(hashes, scores)]
        self.most, self.seed, self.total = most, seed, total

    def __add__(self, other: Scored) -> Scored:
        both = Scored(*self._parts[0], self.most, self.seed, self.total + other.total)
        both._parts = [*self._parts, *other._parts]
        # A half more than stays is held, so that a part is sorted out a few times only.
        return both.whole() if sum(len(hashes) for hashes, _ in both._parts) > 1.5 * self.most else both

    def whole(self) -> Scored:
        """In one part, in the order of the hashes."""
        hashes, scores = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        order = np.lexsort((scores, hashes, hash_pairs(hashes, hashes, self.seed)))[: self.most]
        return Scored(hashes[order], scores[order], self.most, self.seed, self.total)

    def __getstate__(self) -> dict[str, object]:
        return self.whole().__dict__ if len(self._parts) > 1 else self.__dict__

    @property
    def hashes(self) -> np.ndarray:
        return self._parts[0][0]

    @property
    def scores(self) -> np.ndarray:
        return self._parts[0][1]


class Race:
    """The rows of one piece and how often each was drawn."""

    def __init__(self, hashes: np.ndarray, scores: np.ndarray, penalty: float, most: int, seed: int, reference: float):
        """reference: a score; weights are e^(score - reference)."""
        self.hashes, self.scores, self.penalty, self.most, self.seed = hashes, scores, penalty, most, seed
        self.reference = reference
        self.copies = np.zeros(len(scores), np.int64)
        self.now = np.array(scores)  # the scores, less what draws took off
        self.weights = np.exp(self.now - reference)

    def arrivals(self, number: int, limit: float) -> tuple[np.ndarray, np.ndarray]:
        """(places of rows that may arrive up to a limit, among them all that do, ln of their times)."""
        seed = (2 * self.seed + 1) & 0xFFFFFFFFFFFFFFFF
        draws = hash_pairs(self.hashes, np.full(len(self.hashes), number, np.uint64), seed)
        uniform = ((draws >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        if limit + self.reference > LATE:
            places = np.flatnonzero(np.isfinite(self.now))
        else:
            # -ln(u) is 1 - u or more: who is too late by that is too late.
            bound = np.exp(limit + self.reference) * (1 + 1e-9)
            places = np.flatnonzero(1 - uniform <= bound * self.weights)
        return places, np.log(-np.log(uniform[places])) - self.now[places]

    def draw(self, places: np.ndarray) -> None:
        self.copies[places] += 1
        self.now[places] = self.scores[places] - self.penalty * self.copies[places]
        if self.most:
            self.now[places[self.copies[places] >= self.most]] = -np.inf
        self.weights[places] = np.exp(self.now[places] - self.reference)


def thresholds(
    scored: Scored, numbers: np.ndarray, penalty: float, most: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(float64[rounds], the limit of each round: rows that arrive before it are drawn; int64[n], copies of each row).

    numbers: int64[rounds], rows to be drawn in each; as many as there are where that is fewer.
    """
    reference = float(scored.scores.max())
    races = list(_pieces(scored.hashes, scored.scores, penalty, most, seed, reference))
    limits = np.empty(len(numbers))
    guess = -reference
    for number, rows in enumerate(numbers.tolist()):
        available = sum(int(np.isfinite(race.now).sum()) for race in races)
        places, times = _first(races, number, min(rows, available), guess)
        limits[number] = limit = _limit(times, min(rows, available))
        if np.isfinite(limit):
            guess = limit
        for race, some, when in zip(races, places, times, strict=True):
            race.draw(some[when <= limit])
    return limits, np.concatenate([race.copies for race in races])


def draws_of(
    hashes: np.ndarray, scores: np.ndarray, limits: np.ndarray, penalty: float, most: int, seed: int
) -> np.ndarray:
    """int64[n]: how often each row is drawn in rounds of these limits."""
    if not len(scores):
        return np.zeros(0, np.int64)
    races = list(_pieces(hashes, scores, penalty, most, seed, float(scores.max())))
    for race in races:
        for number, limit in enumerate(limits.tolist()):
            places, times = race.arrivals(number, limit)
            race.draw(places[times <= limit])
    return np.concatenate([race.copies for race in races])


def _pieces(
    hashes: np.ndarray, scores: np.ndarray, penalty: float, most: int, seed: int, reference: float
) -> Iterator[Race]:
    for first in range(0, len(scores), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        yield Race(hashes[some], scores[some], penalty, most, seed, reference)


def _first(races: list[Race], number: int, rows: int, guess: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of each piece the rows that may be among the first `rows`, and one more, and ln of their times."""
    for attempt in range(TRIES + 1):
        limit = guess + 0.5 + attempt if attempt < TRIES else np.inf
        arrived = [race.arrivals(number, limit) for race in races]
        if limit == np.inf or sum(int((times <= limit).sum()) for _, times in arrived) > rows:
            break
    places, times = zip(*arrived, strict=True)
    return list(places), list(times)


def _limit(times: list[np.ndarray], rows: int) -> float:
    """Between the times of the last row that is drawn and the first that is not, so that no rounding moves either."""
    ordered = np.sort(np.concatenate(times))
    if rows == 0:
        return -np.inf
    if rows >= len(ordered):
        return np.inf
    return float((ordered[rows - 1] + ordered[rows]) / 2)
