"""How far a download is: a note beside its images, by which another process tells while it runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from curate.download.tally import Tally
from curate.errors import CurateError
from curate.messages.counted import counted
from curate.store.store import Store

#: The note's name in the folder of the images; a name with a dot is no part of a table.
NAME = ".download.json"
#: Seconds between two notes, and after which one that is not followed by another tells of a download that has ended.
NOTE_SECONDS, SILENT_SECONDS = 5.0, 60.0

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"))


@dataclass(frozen=True)
class SoFar:
    """rows: that are to be fetched in all. seconds: since the first of them. tally: of those that were. noted: when, in
    seconds since 1970."""

    rows: int
    seconds: float
    tally: Tally
    noted: float = 0.0

    def forecast(self) -> str:
        """
        >>> SoFar(10_000, 20.0, Tally(Counter(success=900, http_404=100), 50_000_000, 9_000_000)).forecast()
        '50 rows/s, 90.0 % with an image; 0.05 hours to go; 500 MB to fetch in all, 90 MB to store'
        """
        tally, share = self.tally, self.rows / self.tally.rows
        rate = tally.rows / max(self.seconds, 1e-6)
        hours = max(0, self.rows - tally.rows) / rate / 3600
        return (
            f"{rate:,.0f} rows/s, {tally.images / tally.rows:.1%} with an image; {hours:,.2f} hours to go; "
            f"{_size(share * tally.fetched)} to fetch in all, {_size(share * tally.stored)} to store"
        ).replace("%", " %")

    def lines(self, now: float) -> list[str]:
        """What is said of it by another process; now: seconds since 1970."""
        tally, age = self.tally, max(0.0, now - self.noted)
        began = f"{tally.rows:,} of {counted(self.rows, 'row')} {age:,.0f} seconds ago"
        state = "under way" if age < SILENT_SECONDS else "not finished, and silent: the same command goes on with it"
        lines = [f"the download is {state}; {began}{f': {self.forecast()}' if tally.rows else ''}"]
        if tally.rows:
            counts = ", ".join(f"{rows:,} {status}" for status, rows in tally.statuses.most_common())
            lines.append(f"fetched by this run, those of unfinished shards too: {counts}")
        return lines


class Noting:
    """Writes the note of a download from time to time. A note that cannot be written costs nothing but itself."""

    def __init__(self, store: Store, folder: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._name, self._clock = store, f"{folder}/{NAME}", clock
        self._next = clock()

    def note(self, so_far: SoFar) -> None:
        if self._clock() >= self._next:
            self._next = self._clock() + NOTE_SECONDS
            tally = so_far.tally
            sizes = {"fetched": tally.fetched, "stored": tally.stored, "statuses": dict(tally.statuses)}
            about = {"rows": so_far.rows, "seconds": round(so_far.seconds, 1), "noted": round(time.time(), 1), **sizes}
            self._store.write_json(self._name, about)

    def over(self) -> None:
        """The download has come to its end."""
        self._store.remove(self._name)


def noted(store: Store, folder: str) -> SoFar | None:
    """The note of a download that has not ended; None where there is none."""
    try:
        about = store.read_json(f"{folder}/{NAME}")
        tally = Tally(Counter(about["statuses"]), about["fetched"], about["stored"])
        return SoFar(about["rows"], about["seconds"], tally, about["noted"])
    except (FileNotFoundError, CurateError, KeyError):
        return None


def _size(number: float) -> str:
    """
    >>> _size(1_230_000), _size(45_600_000_000)
    ('1 MB', '46 GB')
    """
    unit, name = next((one for one in _UNITS if number >= one[0]), (1e3, "kB"))
    return f"{number / unit:,.0f} {name}"
