"""What is said while a download runs: how fast it is, what it will bring and take, and when most rows fail."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from curate.cluster.shared import answer_of
from curate.download.so_far import Noting, SoFar
from curate.download.tally import Tally
from curate.messages.counted import counted
from curate.messages.terminal import console
from curate.store.store import Store

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
            so_far = SoFar(self._rows, now - self._began, tally)
            lines.append(f"download: {tally.rows:,} of {counted(self._rows, 'row')}: {so_far.forecast()}")
        return lines + self.warning(tally)

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
def watched(hosts: Any, rows: int, store: Store, folder: str) -> Iterator[None]:
    """Say the lines of a forecast while the block runs, and note how far it is beside the images, for `curate show`;
    the note goes when the block ends without an error. hosts: a RunHosts, or a Ray actor of one."""
    began, over = time.monotonic(), threading.Event()
    forecast, noting = Forecast(rows, store.url, began), Noting(store, folder)
    noting.note(SoFar(rows, 0.0, Tally()))

    def counts() -> Tally:
        tally: Tally = answer_of(hosts, "counts")
        return tally

    def look() -> None:
        tally, now = counts(), time.monotonic()
        for line in forecast.of(tally, now):
            console.say(line)
        noting.note(SoFar(rows, now - began, tally))

    thread = threading.Thread(target=_each, args=(look, over), name="forecast", daemon=True)
    thread.start()
    try:
        yield
        over.set()
        thread.join()
        for line in forecast.warning(counts()):
            console.say(line)
        noting.over()
    finally:
        over.set()


def _each(look: Callable[[], None], over: threading.Event) -> None:
    while not over.wait(LOOK_SECONDS):
        try:
            look()
        except Exception:  # noqa: BLE001 - an actor that is started again; what is said is no part of the work
            continue
