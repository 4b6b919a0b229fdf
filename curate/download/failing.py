"""Hosts and addresses that do not answer: each worker counts, and all workers of a run know what came of it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

#: Attempts in a row, no answer between, after which a host or an address is set aside.
IN_A_ROW = 8
#: Rows that try it again, at once, before the others get its status unasked.
TRIALS = 3
#: Seconds of its first rest; each further one is twice as long, up to the longest.
REST_SECONDS, LONGEST_SECONDS = 60.0, 3600.0
#: What counts. A host name that does not resolve has no attempts: all its rows end with the one lookup.
SIGNS = frozenset({"connect", "timeout"})
#: Of hosts that failed last, so many are kept in mind by a worker.
COUNTED = 10_000


class Failure(NamedTuple):
    """How the last attempt ended; tried: whether rows have tried it again since. until: seconds of time.monotonic of
    the one who keeps it, when the rest ends."""

    status: str
    error: str
    until: float
    tried: bool = False

    @property
    def rests(self) -> bool:
        return self.until > time.monotonic()


class Streaks:
    """Attempts without an answer, by host and by address, since the last answer there.

    >>> streaks = Streaks()
    >>> [streaks.failed("host a") for _ in range(IN_A_ROW)].count(True), streaks.failed("host a")
    (1, True)
    >>> streaks.answered("host a"); streaks.failed("host a")
    False
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[str, int] = OrderedDict()

    def failed(self, key: str) -> bool:
        """Whether there have been too many."""
        count = self._counts[key] = self._counts.pop(key, 0) + 1
        if len(self._counts) > COUNTED:
            self._counts.popitem(last=False)
        return count >= IN_A_ROW

    def answered(self, key: str) -> None:
        self._counts.pop(key, None)

    def is_on_trial(self, key: str) -> None:
        """Others have counted: the next attempt without an answer is one too many."""
        self._counts[key] = IN_A_ROW - 1


@dataclass
class _Rest:
    failure: Failure
    seconds: float


class Failing:
    """What all workers know of hosts and addresses that do not answer.

    >>> failing = Failing()
    >>> failing.note("host a", "timeout", "no answer", tried=False)
    >>> failing.may_ask("host a", at_end=False), failing.may_ask("host a", at_end=True)
    (False, True)
    >>> failing.note("host a", "timeout", "no answer", tried=True); failing.may_ask("host a", at_end=True)
    False
    >>> failing.forget("host a"); failing.may_ask("host a", at_end=False)
    True
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rests: dict[str, _Rest] = {}

    def note(self, key: str, status: str, error: str, tried: bool) -> None:
        """Too many attempts in a row had no answer; tried: those of rows that had nothing else to wait for."""
        now = self._clock()
        rest = self._rests.get(key)
        if rest is None:
            self._rests[key] = _Rest(Failure(status, error, now + REST_SECONDS, tried), REST_SECONDS)
        elif now >= rest.failure.until:
            rest.seconds = min(2 * rest.seconds, LONGEST_SECONDS)
            rest.failure = Failure(status, error, now + rest.seconds, True)
        elif tried and not rest.failure.tried:
            rest.failure = Failure(status, error, now + rest.seconds, True)

    def forget(self, key: str) -> None:
        """It has answered."""
        self._rests.pop(key, None)

    def of(self, key: str) -> tuple[str, str, float, bool] | None:
        """Status, error, seconds of its rest that are left, and whether rows have tried it since it was set aside."""
        if (rest := self._rests.get(key)) is None:
            return None
        failure = rest.failure
        return failure.status, failure.error, max(0.0, failure.until - self._clock()), failure.tried

    def may_ask(self, key: str, at_end: bool) -> bool:
        """at_end: for a worker that has nothing else to do, and has not tried."""
        if (rest := self._rests.get(key)) is None:
            return True
        return self._clock() >= rest.failure.until or (at_end and not rest.failure.tried)

    def sweep(self) -> None:
        """Forget those that nobody has asked for long."""
        old = self._clock() - LONGEST_SECONDS
        self._rests = {key: rest for key, rest in self._rests.items() if rest.failure.until > old}
