"""Bytes in an object store, fetched before they are asked for: several requests at a time, bounded in bytes.

One handle asks for the next bytes when the last ones are used up, and its caller waits for each answer; one stream of
S3 gives 50 to 90 MB a second whatever the network does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

import fsspec

#: Bytes of one request, as S3's guide asks for (8 to 16 MB); and how many are under way at a time.
RANGE_BYTES, REQUESTS = 8 << 20, 8
#: Bytes that are fetched or under way at most; more only where one file is larger.
AHEAD_BYTES = RANGE_BYTES * REQUESTS
#: So many bytes are read for nothing rather than ask again: a request takes as long as some megabytes.
GAP_BYTES = 1 << 20
#: Small ranges wait in a queue no longer than this.
_QUEUE = 2 * REQUESTS

#: Bytes `start` to `stop` of a file, by whatever names the file.
Fetch = Callable[[str, int, int], bytes]


class Place(NamedTuple):
    """Bytes `start` to `stop` of a file."""

    file: str
    start: int
    stop: int

    def holds(self, other: Place) -> bool:
        return self.file == other.file and self.start <= other.start and other.stop <= self.stop


def is_object_store(fs: fsspec.AbstractFileSystem) -> bool:
    """Whether several requests at a time for ranges of a file are what a file system is made for: S3, GCS, Azure.

    Not http: a server may answer with the whole file whatever the range. Others may hold one connection.
    """
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    return bool(fs.async_impl) and not protocols & {"http", "https"}


def fetch_range(fs: fsspec.AbstractFileSystem, path: str, start: int, stop: int) -> bytes:
    """Bytes of a file in one request; fewer where it ends before.

    Raises:
        OSError: when it is not there, or the store does not answer (what can be asked again is, by the file system).
    """
    if stop <= start:
        return b""
    try:
        data: bytes = fs.cat_file(path, start=start, end=stop)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # every store has its own error for a range behind the end
        if _ends_before(fs, path, start):
            return b""
        if isinstance(error, OSError):
            raise
        raise OSError(f"{path}: {error}") from error
    return data


def _ends_before(fs: fsspec.AbstractFileSystem, path: str, start: int) -> bool:
    try:
        return bool(fs.size(path) <= start)
    except Exception:  # noqa: BLE001 - the first error says more
        return False


def ranges(
    places: Iterable[Place], most: int = RANGE_BYTES, gap: int = GAP_BYTES
) -> Iterator[tuple[Place, list[Place]]]:
    """What to fetch for places in the order of reading, and the places that lie in each: no place lies in two.

    >>> few = [Place("a", 0, 10), Place("a", 12, 20), Place("a", 12, 20), Place("a", 90, 99), Place("b", 0, 5)]
    >>> [(whole.file, whole.start, whole.stop, len(parts)) for whole, parts in ranges(few, most=50, gap=10)]
    [('a', 0, 20, 3), ('a', 90, 99, 1), ('b', 0, 5, 1)]
    """
    whole: Place | None = None
    parts: list[Place] = []
    for place in places:
        goes_on = (
            whole is not None
            and place.file == whole.file
            and whole.start <= place.start <= whole.stop + gap
            and max(place.stop, whole.stop) - whole.start <= most
        )
        if whole is not None and not goes_on:
            yield whole, parts
        if whole is None or not goes_on:
            whole, parts = place, []
        parts.append(place)
        whole = Place(whole.file, whole.start, max(whole.stop, place.stop))
    if whole is not None:
        yield whole, parts


class Fetched:
    """Places of files, asked for in an order that is known before.

    fetch: one request, in any thread; what it raises is raised where the bytes are asked for. places: in their order.

    A place that is not of these is fetched by itself, unless it lies in what is at hand.
    """

    def __init__(self, fetch: Fetch, places: Iterable[Place]):
        self._fetch = fetch
        self._ranges: list[Place] = []
        self._where: dict[Place, list[int]] = {}
        for whole, parts in ranges(places):
            for part in parts:
                numbers = self._where.setdefault(part, [])
                if numbers[-1:] != [len(self._ranges)]:
                    numbers.append(len(self._ranges))
            self._ranges.append(whole)
        self._pool = ThreadPoolExecutor(REQUESTS, "curate-fetch")
        #: Ranges at hand or under way, from the number `_first` on.
        self._coming: deque[Future[bytes]] = deque()
        self._first, self._number_now = 0, -1

    def read(self, place: Place) -> memoryview:
        """Its bytes; fewer where the file ends before."""
        number = self._number(place)
        if number is None:
            return memoryview(self._fetch(place.file, place.start, place.stop))
        if number != self._number_now:
            self._go_on(number)
            self._number_now = number
        whole = self._ranges[number]
        data = memoryview(self._coming[number - self._first].result())
        return data[place.start - whole.start : place.stop - whole.start]

    def close(self) -> None:
        """What is under way ends, the rest is not begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._coming.clear()

    def _number(self, place: Place) -> int | None:
        """Of the range that holds a place: the next one that was planned for it, or one at hand."""
        planned = next((number for number in self._where.get(place, ()) if number >= self._first), None)
        if planned is not None:
            return planned
        at_hand = range(self._first, self._first + len(self._coming))
        return next((number for number in at_hand if self._ranges[number].holds(place)), None)

    def _go_on(self, number: int) -> None:
        """Forget what lies before, but for one range (other files of a sample lie around its image); ask for more."""
        while self._coming and self._first < number - 1:
            self._coming.popleft().cancel()
            self._first += 1
        if not self._coming:
            self._first = number
        held = sum(map(_size, self._ranges[self._first : self._first + len(self._coming)]))
        while (coming := self._first + len(self._coming)) < len(self._ranges) and len(self._coming) < _QUEUE:
            whole = self._ranges[coming]
            if coming > number and held + _size(whole) > AHEAD_BYTES:
                return
            held += _size(whole)
            self._coming.append(self._pool.submit(self._fetch, whole.file, whole.start, whole.stop))


class WholeFile:
    """A file of an object store from its beginning to its end, as an open file is read."""

    def __init__(self, fetch: Fetch, size: int):
        self._parts = [Place("", start, min(start + RANGE_BYTES, size)) for start in range(0, size, RANGE_BYTES)]
        self._fetched = Fetched(fetch, self._parts)
        self._size, self._at = size, 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes; fewer than `size` at the end only."""
        stop = self._size if size < 0 else min(self._size, self._at + size)
        blocks: list[memoryview] = []
        while self._at < stop:
            whole = self._parts[self._at // RANGE_BYTES]
            block = self._fetched.read(whole)[self._at - whole.start : stop - whole.start]
            if not block:  # cut off since its size was asked for
                break
            blocks.append(block)
            self._at += len(block)
        return b"".join(blocks)

    def close(self) -> None:
        self._fetched.close()

    def __enter__(self) -> WholeFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _size(place: Place) -> int:
    return place.stop - place.start
