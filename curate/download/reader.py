"""The bytes that a connection brings, by blocks and by lines."""

from __future__ import annotations

import asyncio

from curate.download.answer import BadAnswer


class Reader(asyncio.StreamReader):
    """asyncio's reader, but a lost connection does not take away the bytes that had come before: servers reset
    connections behind a whole answer. Behind those bytes the stream ends; `check` tells whether it was lost."""

    _lost: OSError | None = None

    def set_exception(self, exc: Exception) -> None:
        if isinstance(exc, OSError):
            self._lost = exc
            self.feed_eof()
        else:
            super().set_exception(exc)

    def check(self) -> None:
        """Raises the OSError with which the connection was lost, if it was."""
        if self._lost:
            raise self._lost

    @property
    def was_lost(self) -> bool:
        """Whether the connection ended by an error, such as a reset."""
        return self._lost is not None

    def has_more(self) -> bool:
        """Whether anything waits to be read, the end of the stream included."""
        buffered: bytearray = self._buffer  # type: ignore[attr-defined]
        return bool(buffered) or self.at_eof()

    async def line(self, most: int) -> bytes:
        """A line with its end.

        Raises:
            BadAnswer: for a longer line.
            asyncio.IncompleteReadError: when the connection ends before the line does.
        """
        try:
            line = await self.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            line = b"x" * (most + 1)
        if len(line) > most:
            raise BadAnswer(f"a line of more than {most} bytes")
        return line
