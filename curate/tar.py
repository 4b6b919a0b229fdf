"""Deterministic USTAR archives: same members, same bytes, and the offset of every member known while writing.

webdataset's TarWriter opens its archive in PAX format whatever it is told and does not tell offsets; the header itself
is the standard library's.
"""

from __future__ import annotations

import tarfile
from typing import BinaryIO

BLOCK = 512
#: tar's record size: archives end on a multiple of it, as GNU tar and Python write them.
RECORD = 20 * BLOCK


def member_bytes(size: int) -> int:
    """What one member takes in the archive: header, data and padding."""
    return BLOCK + -(-size // BLOCK) * BLOCK


class TarFile:
    """Appends members to an open file; `close` writes the end of the archive and leaves the file open."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.position = 0
        self._info = tarfile.TarInfo()
        self._info.mode = 0o644

    def add(self, name: str, data: bytes) -> int:
        """Returns the offset of the member's data."""
        self._info.name, self._info.size = name, len(data)
        self.file.write(self._info.tobuf(tarfile.USTAR_FORMAT))
        offset = self.position + BLOCK
        self.file.write(data)
        padding = -len(data) % BLOCK
        if padding:
            self.file.write(b"\0" * padding)
        self.position = offset + len(data) + padding
        return offset

    def close(self) -> None:
        end = self.position + 2 * BLOCK
        self.file.write(b"\0" * (2 * BLOCK + -end % RECORD))
