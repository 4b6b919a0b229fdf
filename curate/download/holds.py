"""Hosts that asked to be left alone for a while (Retry-After of a 429 or 503), for as long as a run lasts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

#: Pauses that a host may ask for, and the seconds of the one that comes after them. Without an end, a host that answers
#: each URL with "in 30 seconds" would hold a shard for hours.
PAUSES, LAST_PAUSE_SECONDS = 3, 600.0


@dataclass
class _Hold:
    until: float = 0.0
    status: str = ""
    pauses: int = 0


class Holds:
    """
    >>> holds = Holds()
    >>> holds.note("a", "http_429", 20.0)
    >>> 19 < holds.seconds_left("a") <= 20, holds.seconds_left("b"), holds.status("a")
    (True, 0.0, 'http_429')
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._holds: dict[str, _Hold] = {}

    def note(self, host: str, status: str, seconds: float) -> None:
        """The host answered with `status` and asked for a pause. Answers to requests sent before it count as one."""
        hold = self._holds.setdefault(host, _Hold())
        if not self.seconds_left(host):
            hold.pauses += 1
        if hold.pauses > PAUSES:
            hold.pauses, seconds = 0, max(seconds, LAST_PAUSE_SECONDS)
        hold.until, hold.status = max(hold.until, self._clock() + seconds), status

    def seconds_left(self, host: str) -> float:
        hold = self._holds.get(host)
        return max(0.0, hold.until - self._clock()) if hold else 0.0

    def status(self, host: str) -> str:
        """The answer that the host gave with its wish."""
        return self._holds[host].status
