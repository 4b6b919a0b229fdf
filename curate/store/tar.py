"""Deterministic USTAR archives: same members, same bytes, and the offset of every member known while writing.

webdataset's TarWriter opens its archive in PAX format whatever it is told and does not tell offsets; the header itself
is the standard library's.
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Iterable
from typing import BinaryIO, Protocol

import xxhash

BLOCK = 512
#: tar's record size: archives end on a multiple of it, as GNU tar and Python write them.
RECORD = 20 * BLOCK
_ZEROS = bytes(BLOCK)

#: What a member holds.
Data = bytes | memoryview


class Hashing(Protocol):
    """An object of hashlib or xxhash."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def _whole_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o644, size
    return info.tobuf(tarfile.USTAR_FORMAT)


_PLAIN = _whole_header("", 0)
#: What a header holds between name, size (11 octal digits) and checksum (8 bytes).
_OWNER, _TIME, _REST = _PLAIN[100:124], _PLAIN[135:148], _PLAIN[156:]
_packed = struct.Struct("100s24s11s13s8s356s").pack
#: A checksum counts itself as spaces.
_SUM = sum(_OWNER) + sum(_TIME) + sum(b" " * 8) + sum(_REST)


def header(name: str, size: int) -> bytes:
    """The 512 bytes before a member: the standard library's, made far faster for the usual names and sizes."""
    if len(name) > 100 or size >= 8**11 or not name.isascii():
        return _whole_header(name, size)
    plain, digits = name.encode(), b"%011o" % size
    checksum = b"%06o\0 " % (_SUM + sum(plain) + sum(digits))
    return _packed(plain, _OWNER, digits, _TIME, checksum, _REST)


class TarFile:
    """Appends members to an open file; `close` writes the end of the archive and leaves the file open."""

    def __init__(self, file: BinaryIO, hashing: Hashing | None = None):
        """hashing: what hashes all that is written; by default xxh3_128."""
        self.file = file
        #: Bytes that are written.
        self.position = 0
        self._hash: Hashing = xxhash.xxh3_128() if hashing is None else hashing

    def add(self, name: str, data: Data) -> int:
        """Returns the offset of the member's data."""
        offset = self.position + BLOCK
        self.add_several([(name, data)])
        return offset

    def add_several(self, members: Iterable[tuple[str, Data]]) -> None:
        """Appends members, (name, data), with one write: their bytes are in memory once more until then."""
        parts: list[Data] = []
        for name, data in members:
            size = len(data)
            parts += (header(name, size), data, _ZEROS[: -size % BLOCK])
        self._write(b"".join(parts))

    def close(self) -> None:
        end = self.position + 2 * BLOCK
        self._write(b"\0" * (2 * BLOCK + -end % RECORD))

    def digest(self) -> str:
        """The hash of all that was written, in hex digits: 32 of xxh3_128."""
        return self._hash.hexdigest()

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        self.file.write(data)
        self.position += len(data)
