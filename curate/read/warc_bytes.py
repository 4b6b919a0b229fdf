"""The bytes of a WARC file: its members of gzip one by one, and where the next one begins behind damage."""

from __future__ import annotations

import re
import zlib
from typing import BinaryIO

BLOCK = 1 << 16
GZIP = b"\x1f\x8b\x08"


class Watched:
    """A file that keeps the error with which its storage failed: that is no damage of the file's."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._handle.read(size)
        except Exception as error:
            self.error = error
            raise

    def tell(self) -> int:
        return self._handle.tell()

    def seek(self, place: int) -> bool:
        """Whether the file could be entered there: some web servers give it from its beginning only."""
        try:
            self._handle.seek(place)
        except (ValueError, OSError):
            return False
        return True


class Member:
    """A member of gzip as a source of bytes, unpacked as they are asked for."""

    def __init__(self, handle: Watched, begin: int) -> None:
        handle.seek(begin)
        self._handle, self._codec = handle, zlib.decompressobj(31)
        self._packed, self._unpacked = b"", 0
        #: Where the member ends, once all of it was read.
        self.end = begin

    def read(self, size: int = -1) -> bytes:
        """
        Raises:
            zlib.error: for damage.
            EOFError: when the file ends before the member.
        """
        while not self._codec.eof:
            packed = self._packed or self._handle.read(BLOCK)
            if not packed:
                raise EOFError("the file is cut off")
            plain = self._codec.decompress(packed, size if size > 0 else BLOCK)
            self._packed = self._codec.unconsumed_tail
            self.end += len(packed) - len(self._packed) - len(self._codec.unused_data)
            if plain:
                self._unpacked += len(plain)
                return plain
        return b""

    def tell(self) -> int:
        return self._unpacked

    def is_last(self) -> bool:
        """Read it to its end; whether nothing follows."""
        while self.read(BLOCK):
            pass
        return not self._codec.unused_data and not self._handle.read(1)


class Plain:
    """A file that is not compressed; the line ends behind its last record show that it is whole."""

    end = 0

    def __init__(self, handle: Watched) -> None:
        handle.seek(0)
        self._handle, self._tail = handle, b""

    def read(self, size: int = -1) -> bytes:
        data = self._handle.read(size)
        self._tail = (self._tail + data[-4:])[-4:]
        return data

    def tell(self) -> int:
        return self._handle.tell()

    def is_last(self) -> bool:
        """
        Raises:
            EOFError: when the file is cut off.
        """
        while self.read(BLOCK):
            pass
        if self._tail != b"\r\n\r\n":
            raise EOFError("the file is cut off")
        return True


def next_begin(handle: Watched, after: int) -> int | None:
    """The next place where a member begins a record; None where there is none."""
    place, tail = after, b""
    handle.seek(after)
    while block := handle.read(BLOCK):
        data = tail + block
        for match in re.finditer(re.escape(GZIP), data):
            begin = place - len(tail) + match.start()
            if _begins_record(handle, begin):
                return begin
        place += len(block)
        handle.seek(place)
        tail = data[1 - len(GZIP) :]
    return None


def _begins_record(handle: Watched, begin: int) -> bool:
    try:
        return Member(handle, begin).read(64).startswith(b"WARC/")
    except (zlib.error, EOFError):
        return False
