"""Calls of a worker that are under way at once: each has its turn, in the order in which they were ordered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Line:
    """Whose turn it is. Calls have numbers from 0; two of them may begin in either order."""

    def __init__(self) -> None:
        self._number = 0
        self._changed = threading.Condition()

    def wait(self, number: int) -> None:
        """Until all calls before this one have had their turn."""
        with self._changed:
            self._changed.wait_for(lambda: self._number >= number)

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """The turn of a call: the block."""
        self.wait(number)
        try:
            yield
        finally:
            with self._changed:
                self._number = number + 1
                self._changed.notify_all()
