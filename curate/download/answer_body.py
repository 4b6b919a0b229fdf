"""The body of an HTTP/1 answer: where it ends, how large it may be, and whether it is whole."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from curate.download.answer import BadAnswer, Head
from curate.download.coding import TooLarge, unpacked
from curate.download.reader import Reader
from curate.download.spooled import Spooled

#: Bytes that a line before or after a chunk may have.
LINE_BYTES = 8 * 1024
#: Seconds that further bytes are waited for where the server declared several lengths and one of them has arrived.
DOUBTFUL_SECONDS = 1.0
#: Bytes that a packed text may have once it is unpacked.
MOST_UNPACKED = 16 << 20
_BLOCK = 256 * 1024
#: Packed and plain bytes that are unpacked at once where they are: a few milliseconds. Threads for the others.
_PACKED_HERE, _UNPACKED_HERE, _THREADS = 64 * 1024, 1 << 20, 2


class Truncated(Exception):
    """The connection ended before the body did."""


class _Enough(Exception):
    """As many bytes as are wanted have come."""


class Body:
    """`is_whole` once `read` has seen its exact end, so that another answer may follow on the connection."""

    def __init__(self, head: Head, reader: Reader) -> None:
        self._head, self._reader = head, reader
        self._bytes = Spooled()
        self._enough = 0
        self.is_whole = False

    async def read(self, most: int) -> Spooled:
        """All bytes, content codings undone.

        Chunks come before a length, a length before the end of the connection. Of several lengths none is believed but
        the least, which must be there.

        Raises:
            TooLarge: as soon as more than `most` bytes are declared, received or unpacked.
            Truncated: when the connection ends too early.
        """
        await self._receive(most)
        codings = self._codings()
        return await _unpacked(self._bytes, codings, most) if codings else self._bytes

    async def read_first(self, most: int) -> bytes:
        """The first `most` bytes, content codings undone; all of a shorter body. Of a longer one no more is received.

        Raises:
            TooLarge: for a longer body that is packed: its beginning cannot be unpacked.
            Truncated: when the connection ends too early.
        """
        self._enough = most
        codings = self._codings()
        try:
            await self._receive(sys.maxsize)
        except _Enough:
            if codings:
                raise TooLarge(f"more than {most} bytes, packed") from None
        body = await _unpacked(self._bytes, codings, MOST_UNPACKED) if codings else self._bytes
        return body.all()[:most]

    async def _receive(self, most: int) -> None:
        lengths = self._head.lengths()
        try:
            if self._head.is_chunked():
                await self._chunks(most)
                self.is_whole = not lengths
            elif len(lengths) == 1:
                await self._exactly(lengths[0], most)
                self.is_whole = True
            else:
                await self._to_the_end(lengths, most)
        except (OSError, asyncio.IncompleteReadError, BadAnswer) as problem:
            raise Truncated(f"ended after {self._bytes.size} bytes: {problem}") from problem

    def _codings(self) -> list[str]:
        return [*self._head.words("content-encoding"), *self._head.words("transfer-encoding")]

    async def _exactly(self, size: int, most: int) -> None:
        if self._bytes.size + size > most:
            raise TooLarge(f"{self._bytes.size + size} bytes declared, at most {most} taken")
        while size:
            block = await self._reader.read(min(size, _BLOCK))
            if not block:
                raise asyncio.IncompleteReadError(b"", size)
            self._take(block)
            size -= len(block)

    async def _to_the_end(self, lengths: list[int], most: int) -> None:
        if min(lengths, default=0) > most:
            raise TooLarge(f"{min(lengths)} bytes declared, at most {most} taken")
        while not lengths or self._bytes.size < max(lengths):
            patience = DOUBTFUL_SECONDS if self._bytes.size in lengths else None
            room = max(lengths) - self._bytes.size if lengths else _BLOCK
            try:
                block = await asyncio.wait_for(self._reader.read(min(room, _BLOCK)), patience)
            except asyncio.TimeoutError:
                return
            if not block:
                self._reader.check()
                break
            self._take(block)
            if self._bytes.size > most:
                raise TooLarge(f"more than {most} bytes received")
        if self._bytes.size < min(lengths, default=0):
            raise asyncio.IncompleteReadError(b"", min(lengths) - self._bytes.size)

    async def _chunks(self, most: int) -> None:
        while size := _chunk_size(await self._reader.line(LINE_BYTES)):
            await self._exactly(size, most)
            if (await self._reader.line(LINE_BYTES)).strip():
                raise BadAnswer("a chunk is longer than it said")
        try:
            for _ in range(100):
                if not (await self._reader.line(LINE_BYTES)).strip():
                    return
        except asyncio.IncompleteReadError:
            return  # closed after the last chunk: nothing is missing
        raise BadAnswer("trailers without end")

    def _take(self, block: bytes) -> None:
        self._bytes.add(block)
        if self._enough and self._bytes.size > self._enough:
            raise _Enough


async def _unpacked(body: Spooled, codings: list[str], most: int) -> Spooled:
    """Content codings undone: of much in a thread, since all other answers of the worker wait for the event loop.

    Raises:
        TooLarge: for more than `most` bytes.
    """
    if body.size <= _PACKED_HERE:
        with contextlib.suppress(TooLarge):
            return unpacked(body, codings, min(most, _UNPACKED_HERE))
    over = threading.Event()
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads(), unpacked, body, codings, most, over.is_set)
    finally:
        over.set()


@lru_cache
def _threads() -> ThreadPoolExecutor:
    """Few: each holds a packed body."""
    return ThreadPoolExecutor(_THREADS, "unpack")


def _chunk_size(line: bytes) -> int:
    match = re.match(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t\r\n;]", line)
    if match is None:
        raise BadAnswer(f"no chunk: {line[:40]!r}")
    return int(match[1], 16)
