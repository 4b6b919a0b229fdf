"""The robots.txt files that all workers of a run know: read once, by one of them; packed, and bounded in bytes."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable

from curate.download.robots_file import Robots

#: Seconds after which a robots.txt that could not be read is tried again, and after which one that was read is old
#: (RFC 9309 2.4).
FAILED_SECONDS, OLD_SECONDS = 600.0, 86_400.0
#: Bytes of robots.txt that are kept; those not asked for the longest time go first.
ROBOTS_BYTES = 256 << 20
#: Seconds after which a file that a worker is reading is read by another, and after which to ask whether it was read.
READING_SECONDS, ASK_SECONDS = 60.0, 0.05


class RobotsCache:
    """The robots.txt of sites: read once, by one worker; packed, and bounded in bytes."""

    def __init__(self, retries: int, backoff_seconds: float, clock: Callable[[], float]) -> None:
        self._retries, self._backoff, self._clock = retries, backoff_seconds, clock
        self._files: OrderedDict[str, tuple[float, Robots, bytes]] = OrderedDict()
        self._bytes = 0
        self._reading: dict[str, tuple[str, float]] = {}
        self._failures: dict[str, tuple[int, float]] = {}

    def known(self, origin: str) -> Robots | None:
        """The file, or why it could not be read; None when it is to be read, now or later."""
        if (entry := self._files.get(origin)) is None:
            return None
        noted, robots, packed = entry
        if self._clock() - noted > (FAILED_SECONDS if robots.failed else OLD_SECONDS):
            self._drop(origin)
            return None
        self._files.move_to_end(origin)
        text = zlib.decompress(packed).decode()
        return Robots(origin, robots.status, text, robots.error, robots.retrieved)

    def note(self, robots: Robots) -> None:
        """What a worker has read. A failure counts when there are no retries left."""
        origin = robots.origin
        self._reading.pop(origin, None)
        if robots.failed:
            failures = self._failures.get(origin, (0, 0.0))[0] + 1
            if failures <= self._retries and robots.status != "tls":
                self._failures[origin] = (failures, self._clock() + self._backoff * 2.0 ** (failures - 1))
                return
        self._failures.pop(origin, None)
        self._drop(origin)
        packed = zlib.compress(robots.text.encode(), 1)
        self._files[origin] = (self._clock(), Robots(origin, robots.status, "", robots.error, robots.retrieved), packed)
        self._bytes += len(packed) + 500
        while self._bytes > ROBOTS_BYTES:
            self._drop(next(iter(self._files)))

    def begin(self, origin: str, worker: str) -> None:
        self._reading[origin] = (worker, self._clock())

    def seconds_to_wait(self, origin: str, worker: str) -> float:
        """Until the worker may read the file, which nobody else is reading then; 0 for now."""
        now = self._clock()
        reader, began = self._reading.get(origin, (worker, now))
        if reader != worker and now - began < READING_SECONDS:
            return ASK_SECONDS
        return max(0.0, self._failures.get(origin, (0, 0.0))[1] - now)

    def _drop(self, origin: str) -> None:
        if entry := self._files.pop(origin, None):
            self._bytes -= len(entry[2]) + 500
