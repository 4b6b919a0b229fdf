"""Deterministic USTAR archives: same members, same bytes, and the offset of every member known while writing.

webdataset's TarWriter opens its archive in PAX format whatever it is told and does not tell offsets; the header itself
is the standard library's.
"""

from __future__ import annotations

import tarfile
from typing import BinaryIO

import xxhash

BLOCK = 512
#: tar's record size: archives end on a multiple of it, as GNU tar and Python write them.
RECORD = 20 * BLOCK


def _whole_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o644, size
    return info.tobuf(tarfile.USTAR_FORMAT)


_PLAIN = bytearray(_whole_header("", 0))
#: Where a header holds the size (11 octal digits) and its checksum (6).
_SIZE, _CHECKSUM = slice(124, 135), slice(148, 154)
_PLAIN[_CHECKSUM] = b" " * 6
_PLAIN[154:156] = b"  "
_PLAIN[_SIZE] = b"\0" * 11
_PLAIN_SUM = sum(_PLAIN)


def header(name: str, size: int) -> bytes:
    """The 512 bytes before a member: the standard library's, ten times as fast for the usual names and sizes."""
    plain = name.encode("ascii", "replace")
    if len(plain) > 100 or size >= 8**11 or not name.isascii():
        return _whole_header(name, size)
    digits = b"%011o" % size
    block = bytearray(_PLAIN)
    block[: len(plain)] = plain
    block[_SIZE] = digits
    block[148:156] = b"%06o\0 " % (_PLAIN_SUM + sum(plain) + sum(digits))
    return bytes(block)


class TarFile:
    """Appends members to an open file; `close` writes the end of the archive and leaves the file open."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.position = 0
        self._hash = xxhash.xxh3_128()

    def add(self, name: str, data: bytes) -> int:
        """Returns the offset of the member's data."""
        self._write(header(name, len(data)))
        offset = self.position + BLOCK
        self._write(data)
        padding = -len(data) % BLOCK
        if padding:
            self._write(b"\0" * padding)
        self.position = offset + len(data) + padding
        return offset

    def close(self) -> None:
        end = self.position + 2 * BLOCK
        self._write(b"\0" * (2 * BLOCK + -end % RECORD))

    def digest(self) -> str:
        """xxh3_128 of all that was written, 32 hex digits."""
        return self._hash.hexdigest()

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        self.file.write(data)
