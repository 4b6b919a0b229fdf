"""What is said while a download runs: how fast it is, what it will bring and take, and when most rows fail."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from curate.cluster.shared import answer_of
from curate.download.tally import Tally
from curate.messages.counted import counted
from curate.messages.terminal import console

#: Rows after which something can be said of the others; it is said again each time when they have doubled.
FIRST_ROWS = 1000
#: Seconds between two looks.
LOOK_SECONDS = 2.0
#: Reasons that a warning names.
REASONS = 3


class Forecast:
    """Lines to be said of a run of `rows` rows, as its tally grows. store: its place, for the command that shows more.

    >>> lines = Forecast(10_000, "store", began=0.0)
    >>> lines.of(Tally(Counter(success=900, http_404=100), 50_000_000, 9_000_000), now=20.0)[0].partition("; ")[2]
    '0.05 hours to go; 500 MB to fetch in all, 90 MB to store'
    >>> lines.of(Tally(Counter(success=901, http_404=100)), now=21.0)
    []
    """

    def __init__(self, rows: int, store: str, began: float) -> None:
        self._rows, self._store, self._began = rows, store, began
        self._next, self._warned = FIRST_ROWS, False

    def of(self, tally: Tally, now: float) -> list[str]:
        lines = []
        if self._next <= tally.rows < self._rows:
            self._next = 2 * tally.rows
            lines.append(self._forecast(tally, now))
        return lines + self.warning(tally)

    def _forecast(self, tally: Tally, now: float) -> str:
        rate = tally.rows / max(now - self._began, 1e-6)
        share = self._rows / tally.rows
        hours = (self._rows - tally.rows) / rate / 3600
        return (
            f"download: {tally.rows:,} of {counted(self._rows, 'row')}: {rate:,.0f} rows/s, "
            f"{tally.images / tally.rows:.1%} with an image; {hours:,.2f} hours to go; "
            f"{_size(share * tally.fetched)} to fetch in all, {_size(share * tally.stored)} to store"
        ).replace("%", " %")

    def warning(self, tally: Tally) -> list[str]:
        """Once, when more than half of the rows fail."""
        failed = tally.rows - tally.images
        if self._warned or tally.rows < FIRST_ROWS or 2 * failed <= tally.rows:
            return []
        self._warned = True
        others = Counter({status: rows for status, rows in tally.statuses.items() if status != "success"})
        reasons = ", ".join(f"{rows:,} {status}" for status, rows in others.most_common(REASONS))
        return [
            f"download: most rows fail, {failed:,} of the first {tally.rows:,}: {reasons}. "
            f"Look into it before the others follow: curate show {self._store} --by status"
        ]


@contextmanager
def watched(hosts: Any, rows: int, store: str) -> Iterator[None]:
    """Say the lines of a forecast while the block runs. hosts: a RunHosts, or a Ray actor of one."""
    forecast, over = Forecast(rows, store, time.monotonic()), threading.Event()

    def counts() -> Tally:
        tally: Tally = answer_of(hosts, "counts")
        return tally

    def look() -> None:
        for line in forecast.of(counts(), time.monotonic()):
            console.say(line)

    thread = threading.Thread(target=_each, args=(look, over), name="forecast", daemon=True)
    thread.start()
    try:
        yield
        over.set()
        thread.join()
        for line in forecast.warning(counts()):
            console.say(line)
    finally:
        over.set()


def _each(look: Callable[[], None], over: threading.Event) -> None:
    while not over.wait(LOOK_SECONDS):
        try:
            look()
        except Exception:  # noqa: BLE001 - an actor that is started again; what is said is no part of the work
            continue


def _size(number: float) -> str:
    """
    >>> _size(1_230_000), _size(45_600_000_000)
    ('1 MB', '46 GB')
    """
    unit, name = next((one for one in _UNITS if number >= one[0]), (1e3, "kB"))
    return f"{number / unit:,.0f} {name}"


_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"))
