"""Files of a tar whatever its state: behind end marks (tars in a row), behind damage, and what the damage hit."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

BLOCK = tarfile.BLOCKSIZE
_MAGIC, _MAGIC_AT = b"ustar", 257
#: Bytes that are looked through at once for the next header.
_CHUNK = 1 << 20
#: A long name or an extended header is no larger than this; a damaged one may say it is gigabytes.
_MOST_EXTENDED = 1 << 20
#: A sparse file of a few bytes may say that it is terabytes.
_MOST_SPARSE = 1 << 30
_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


@dataclass(slots=True)
class Member:
    """A file: its data are `size` bytes at `offset`. `link`: name of the member that holds the data instead.

    parts: of a sparse file, the (offset in the file, size) of what is stored, and `offset` is where that begins.
    """

    name: str
    offset: int
    size: int
    link: str | None = None
    parts: list[tuple[int, int]] | None = None


@dataclass(slots=True)
class Damage:
    """Bytes `start` to `end` that hold no readable header, and the names that broken headers among them still show."""

    start: int
    end: int
    names: list[str]
    last: bool = False

    def __str__(self) -> str:
        if self.last:
            return f"the tar ends here: damaged at byte {self.start}"
        return f"the tar is damaged at byte {self.start}: {self.end - self.start} bytes skipped"


@dataclass(slots=True)
class End:
    """An end mark: what follows is another tar. `whole` is False at the end of a file that has no end mark."""

    whole: bool = True


class _Header(tarfile.TarInfo):
    """Refuses what no tar has: CPython before 3.11.10 goes round for ever on a negative size."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENDED and header.size > _MOST_EXTENDED):
            raise tarfile.HeaderError("bad size")
        return header


def walk(handle: BinaryIO) -> Iterator[Member | Damage | End]:
    """Members in their order, with marks where a tar ends and where bytes are damaged. Never raises on damage."""
    end = handle.seek(0, io.SEEK_END)
    if not end:
        yield Damage(0, 0, [], last=True)
    # The standard library reads headers for a TarFile; this one lends its settings only.
    tar = tarfile.TarFile(fileobj=io.BytesIO(bytes(2 * BLOCK)), errors="surrogateescape")
    tar.fileobj = handle
    position = zeros = 0
    while position < end:
        handle.seek(position)
        if not handle.read(BLOCK).strip(b"\0"):
            position, zeros = position + BLOCK, zeros + 1
            continue
        member = _member(tar, handle, position)
        if member is None:
            damage = _skipped(handle, position, end)
            if damage.last and zeros > 1:
                break  # bytes after the end
            yield damage
            position, zeros = damage.end, 0
            continue
        if zeros:
            yield End()
        zeros, position = 0, tar.offset
        yield from member
        if position > end:
            yield Damage(end, end, [], last=True)
            return
    if not zeros and end:
        yield End(whole=False)


def _member(tar: tarfile.TarFile, handle: BinaryIO, position: int) -> list[Member] | None:
    """The file whose header is at a position, [] for a folder or device, None when the header is damaged."""
    handle.seek(position)
    try:
        header = _Header.fromtarfile(tar)
    except Exception:  # noqa: BLE001 - a damaged header can raise anything
        return None
    if tar.offset <= position or header.size < 0:
        return None
    name = header.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if header.islnk() or header.issym():
        target = header.linkname.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if header.issym() and not target.startswith("/"):
            target = name.rpartition("/")[0] + "/" + target if "/" in name else target
        return [Member(name, 0, 0, link=target)]
    if not header.isfile():
        return []
    sparse: Any = header.sparse
    parts = [(int(offset), int(size)) for offset, size in sparse] if header.issparse() else None
    return [Member(name, header.offset_data, header.size, parts=parts)]


def _skipped(handle: BinaryIO, start: int, end: int) -> Damage:
    """The damage that begins at `start`, up to the next header that is whole."""
    handle.seek(start)
    names = [_name(handle.read(BLOCK))]
    for at in _headers(handle, start + 1, end):
        handle.seek(at)
        block = handle.read(BLOCK)
        try:
            _Header.frombuf(block, "utf-8", "surrogateescape")
            return Damage(start, at, [name for name in names if name])
        except tarfile.HeaderError:
            names.append(_name(block))
        except Exception:  # noqa: BLE001 - a damaged header can raise anything
            names.append("")
    return Damage(start, end, [name for name in names if name], last=True)


def _headers(handle: BinaryIO, start: int, end: int) -> Iterator[int]:
    """Places of what looks like headers: they need not lie on whole blocks when bytes were lost."""
    at = start + _MAGIC_AT
    while at < end:
        handle.seek(at)
        chunk = handle.read(_CHUNK + len(_MAGIC))
        place = chunk.find(_MAGIC)
        while 0 <= place < _CHUNK:
            yield at + place - _MAGIC_AT
            place = chunk.find(_MAGIC, place + 1)
        at += _CHUNK


def _name(block: bytes) -> str:
    """The name in a broken header, where it still looks like one."""
    raw = block[:100].rstrip(b"\0")
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return name if name.isprintable() and "." in name.rpartition("/")[2] else ""


def data(handle: BinaryIO, member: Member) -> bytes:
    """The bytes of a member, a sparse one with its holes; fewer than `size` where the tar is cut."""
    handle.seek(member.offset)
    if member.parts is None:
        return handle.read(member.size)
    if member.size > _MOST_SPARSE:
        return b""
    stored = handle.read(sum(size for _, size in member.parts))
    whole, at = bytearray(member.size), 0
    for offset, size in member.parts:
        piece = stored[at : at + size]
        if offset + size > member.size or len(piece) < size:
            return b""
        whole[offset : offset + size] = piece
        at += size
    return bytes(whole)
