"""Pauses that hosts asked for, as one worker knows them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from curate.download.attempt import Job, wants_a_pause
from curate.download.robots_check import Stop
from curate.download.set_aside import Item
from curate.download.site_turns import SiteTurns


@dataclass(frozen=True)
class Pause:
    """status: the answer that the host gave with its wish. until: seconds of time.monotonic."""

    status: str
    until: float

    @classmethod
    def of(cls, status: str, seconds: float) -> Pause:
        """One that begins now."""
        return cls(status, time.monotonic() + seconds)

    def seconds_left(self) -> float:
        """Negative once it is over."""
        return self.until - time.monotonic()


class Pauses:
    """No turn is begun at a host for as long as it wants.

    longest: seconds that rows wait; those of a host that wants more end at the end of the shard, and redirects to it at
    once. later: calls a function after some seconds. news: (host, status, seconds) that all workers are to be told.
    """

    def __init__(
        self, turns: SiteTurns[Item], longest: float, later: Callable[[float, Callable[[], None]], None]
    ) -> None:
        self._turns, self._longest, self._later = turns, longest, later
        self._held: dict[str, Pause] = {}  # by host
        self.news: list[tuple[str, str, float]] = []

    def respect(self, job: Job) -> None:
        """A wish of the host's to be left alone, for its other URLs and for other workers too."""
        if job.http_status in (429, 503) and (seconds := job.retry_after) > 0:
            self.news.append((job.host, job.result.status, seconds))
            self.hold(job.host, job.result.status, seconds)

    def hold(self, host: str, status: str, seconds: float) -> None:
        if host in self._held and self._held[host].seconds_left() >= seconds:
            return
        held = self._held[host] = Pause.of(status, seconds)
        self._turns.hold(host)
        self._later(seconds + 0.001, lambda: self._release(host))
        if self._is_long(held):
            for site in self._turns.of_host(host):
                for turn in self._turns.drop(site, lambda item: not isinstance(item, Job)):
                    if not isinstance(turn, Job) and not turn.done():
                        turn.set_exception(Stop(status, wants_a_pause(host)))

    def check(self, host: str) -> None:
        """
        Raises:
            Stop: for a redirect to a host that wants to be left alone for too long.
        """
        if (held := self._held.get(host)) and self._is_long(held):
            raise Stop(held.status, wants_a_pause(host))

    def long(self) -> list[tuple[str, str, str]]:
        """Hosts that want to be left alone for too long, each with the status and the error of its rows."""
        held = [(host, pause) for host, pause in sorted(self._held.items()) if self._is_long(pause)]
        return [(host, pause.status, wants_a_pause(host)) for host, pause in held]

    def _release(self, host: str) -> None:
        if host in self._held and self._held[host].seconds_left() <= 0:
            del self._held[host]
            self._turns.release(host)

    def _is_long(self, held: Pause) -> bool:
        return held.seconds_left() > self._longest
