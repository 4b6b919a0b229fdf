"""What the fault web was asked for: requests by URL, requests at once, and those that should not have come."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any

#: Seconds after an answer that asks for a pause in which other workers may not have heard of it: on a machine with more
#: to do than it has cores, a word between two processes takes a second or two.
GRACE_SECONDS = 2.5


class Books:
    """A request counts from its head's last byte until its answer's last byte, or until its client has gone.

    >>> books = Books(); end = books.begin("a", "127.64.0.1", "/ok/1.jpg"); end(True); end(False)
    >>> books.tree()["most_at_host"], books.tree()["requests"]
    ({'a': 1}, {'a/ok/1.jpg': 1})
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.requests: Counter[str] = Counter()
        self.robots: Counter[str] = Counter()
        self.abandoned: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.stray: Counter[str] = Counter()
        self.in_pause: Counter[str] = Counter()
        self.latest_in_pause: dict[str, float] = {}
        self.pauses: Counter[str] = Counter()
        self.at_once: Counter[str] = Counter()
        self.most: dict[str, Counter[str]] = {"host": Counter(), "address": Counter()}
        self.in_a_second: Counter[str] = Counter()
        self.stood_still = 0.0
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)
        self._paused: dict[str, tuple[float, float]] = {}

    def begin(self, host: str, address: str, path: str, since: float | None = None) -> Callable[[bool], None]:
        """A request has come, on a connection made for it at `since` (of `now`), or on one that was there.

        What is returned is to be called when it ends, with whether it was answered in full, and may be called again.
        """
        now = self._clock()
        if path == "/robots.txt":
            self.robots[host] += 1
        else:
            self.requests[host + path] += 1
            self._in_a_second(host, now)
        begins, ends = self._paused.get(host, (0.0, 0.0))
        meant = now if since is None else since  # a busy client may be long between connecting and asking
        if begins + GRACE_SECONDS < meant < ends:
            self.in_pause[host] += 1
            self.latest_in_pause[host] = meant - begins
        keys = (("host", host), ("address", address))
        for sort, key in keys:
            self.at_once[f"{sort} {key}"] += 1
            self.most[sort][key] = max(self.most[sort][key], self.at_once[f"{sort} {key}"])
        open_ = True

        def end(answered: bool) -> None:
            nonlocal open_
            if open_:
                open_ = False
                if not answered:
                    self.abandoned[host + path] += 1
                for sort, key in keys:
                    self.at_once[f"{sort} {key}"] -= 1

        return end

    def now(self) -> float:
        """Seconds of the clock that the books are kept by."""
        return self._clock()

    def pause(self, host: str, seconds: float) -> None:
        """The host has asked to be left alone from now on."""
        self.pauses[host] += 1
        self._paused[host] = (self._clock(), self._clock() + seconds)

    def is_paused(self, host: str) -> bool:
        return self._clock() < self._paused.get(host, (0.0, 0.0))[1]

    def _in_a_second(self, host: str, now: float) -> None:
        times = self._times[host]
        times.append(now)
        while times[0] <= now - 1.0:
            times.popleft()
        self.in_a_second[host] = max(self.in_a_second[host], len(times))

    def tree(self) -> dict[str, Any]:
        """All of it, as JSON has it. requests, abandoned: by host and path; the others by host or address.

        abandoned: requests whose client went before it had all of the answer. stray: requests by a name or at an
        address that is none of the web's. in_pause: requests for which a connection was made, or used again, later than
        GRACE_SECONDS after an answer that asked for a pause, and before the pause was over; latest_in_pause: seconds
        into the pause of the last of them.
        stood_still: seconds in which the server itself was not served by its machine, at most: what it says of requests
        at once is no nearer than that.
        """
        return {
            "requests": dict(self.requests),
            "abandoned": dict(self.abandoned),
            "robots": dict(self.robots),
            "most_at_host": dict(self.most["host"]),
            "most_at_address": dict(self.most["address"]),
            "most_in_a_second": dict(self.in_a_second),
            "pauses": dict(self.pauses),
            "in_pause": dict(self.in_pause),
            "latest_in_pause": self.latest_in_pause,
            "stray": dict(self.stray),
            "bytes_sent": dict(self.sent),
            "stood_still": self.stood_still,
        }
