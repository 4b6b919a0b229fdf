"""The shard that follows the one at work: its first rows are prepared as soon as that one leaves room for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from curate.annotate.open_shard import OpenShard


class NextShard:
    """Opens a shard in a thread of its own. open: how; it is called with the shard's number.

    A GPU would wait at the begin of every shard: for what the shard reads, and for the first chunk to be prepared.
    """

    def __init__(self, open: Callable[[int], OpenShard]):
        self._open = open
        self._thread = ThreadPoolExecutor(1)
        self._lock = threading.Lock()
        self._coming: int | None = None
        self._has_room = False
        self._opened: tuple[int, Future[OpenShard]] | None = None

    def coming(self, shard: int) -> None:
        """The next one, once that is known: before or after there is room."""
        with self._lock:
            self._coming = shard
            self._go_on()

    def may_begin(self) -> None:
        """All rows of the shard at work are under way."""
        with self._lock:
            self._has_room = True
            self._go_on()

    def taken(self, shard: int) -> OpenShard | None:
        """The shard whose turn it is now, when it was opened; one that was opened in its place is closed.

        Raises:
            Exception: what opening it raised.
        """
        with self._lock:
            opened, self._opened = self._opened, None
            if self._coming == shard:
                self._coming = None
            if opened is None or opened[0] != shard:
                self._has_room = False
            self._go_on()
        if opened is None:
            return None
        if opened[0] == shard:
            return opened[1].result()
        _close(opened[1])
        return None

    def close(self) -> None:
        """Nothing follows."""
        with self._lock:
            opened, self._opened, self._coming = self._opened, None, None
        if opened is not None:
            _close(opened[1])
        self._thread.shutdown()

    def _go_on(self) -> None:
        if self._coming is not None and self._has_room and self._opened is None:
            self._opened = self._coming, self._thread.submit(self._open, self._coming)
            self._coming, self._has_room = None, False


def _close(opened: Future[OpenShard]) -> None:
    if opened.cancel() or opened.exception() is not None:
        return
    opened.result().close()
