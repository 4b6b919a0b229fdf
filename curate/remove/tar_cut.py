"""A tar without some of its members: the others keep their bytes, their headers and their order."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from typing import BinaryIO

from curate.store.tar import BLOCK, RECORD, Hashing

_BLOCK_BYTES = 1 << 20


def cut(source: BinaryIO, target: BinaryIO, drop: Callable[[tarfile.TarInfo], bool], hashing: Hashing) -> int:
    """Copy a tar without the members that `drop` names; returns the bytes written.

    hashing: gets all that is written. An archive that loses nothing is the same to the byte if it was written whole.
    """
    written = 0

    def write(data: bytes) -> None:
        nonlocal written
        hashing.update(data)
        target.write(data)
        written += len(data)

    with tarfile.open(fileobj=source, mode="r:") as tar:
        for member in tar:
            if drop(member):
                continue
            # From its first header on: a long name has one of its own before.
            _copy(source, member.offset, member.offset_data + -(-member.size // BLOCK) * BLOCK, write)
    end = 2 * BLOCK
    write(bytes(end + -(written + end) % RECORD))
    return written


def _copy(source: BinaryIO, start: int, stop: int, write: Callable[[bytes], None]) -> None:
    place = source.tell()
    source.seek(start)
    while start < stop:
        data = source.read(min(_BLOCK_BYTES, stop - start))
        if not data:
            raise tarfile.ReadError("the archive is cut off")
        write(data)
        start += len(data)
    source.seek(place)
