"""Records of a WARC file (Common Crawl's WARC and WAT): what is damaged or too large costs itself, not the file.

Such a file is members of gzip in a row, one for each record. FastWARC reads it fast, ends at the first broken member,
and does not tell a file that is cut off from a whole one. So it reads first; where it fails, or the end is not that of
a whole file, the file is read once more, member by member, and goes on behind what is broken. A file that is not
compressed is read up to the first damage.
"""

from __future__ import annotations

import datetime
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, cast

import fsspec

from curate.errors import CurateError
from curate.messages.packages import lacking
from curate.messages.remarks import Remarks
from curate.read.warc_bytes import BLOCK, GZIP, Member, Plain, Watched, next_begin

#: Bytes of a record's content: those of a larger one are not read.
MOST_BYTES = 32 << 20

DAMAGED = "place(s) where WARC files are damaged or cut off, passed over to the next record"
TOO_LARGE = f"record(s) of more than {MOST_BYTES >> 20} MB, left out"

PACKAGES = ("fastwarc", "ftfy")
#: And to read pages.
HTML_PACKAGES = (*PACKAGES, "resiliparse")


@dataclass(frozen=True, slots=True)
class Record:
    """url: of the page or file that was crawled; time: when it was; body: the record's block, for a response the head
    of the answer with what follows it."""

    url: str
    time: datetime.datetime | None
    body: bytes


class _Failed(Exception):
    """Damage, as a reader told it."""


def check_packages(file: str, packages: tuple[str, ...] = PACKAGES) -> None:
    """
    Raises:
        CurateError: for packages that are not installed.
    """
    if line := lacking(f"reading '{file}'", packages, ["crawl"]):
        raise CurateError(line)


def records(file: str, kind: str, remarks: Remarks) -> Iterator[Record]:
    """The records of one kind, `metadata` or `response`, in the order of the file.

    Raises:
        CurateError: for packages that are not installed.
        OSError: when the storage fails.
    """
    check_packages(file)
    with fsspec.open(file, "rb") as opened:
        handle = Watched(cast(BinaryIO, opened))
        passed, noted = 0, Remarks()
        try:
            for record in _one_stream(handle, kind, noted):
                passed += 1
                yield record
        except _Failed:
            noted = Remarks()
            for number, record in enumerate(_members(handle, file, kind, noted)):
                if number >= passed:
                    yield record
        remarks.merge(noted)


def _one_stream(handle: Watched, kind: str, remarks: Remarks) -> Iterator[Record]:
    """Records of a whole file; each is given once the next one has begun, so that its member is known to be whole.

    Raises:
        _Failed: at damage, or when the file may have been cut off.
    """
    waiting: Record | None = None
    last = 0
    for record in _read(handle, handle):
        if waiting is not None:
            yield waiting
        last = record.stream_pos
        waiting = _guarded(partial(_taken, record, kind, last, remarks), handle)
    if not _ends_whole(handle, last):
        raise _Failed
    if waiting is not None:
        yield waiting


def _read(source: Any, handle: Watched) -> Iterator[Any]:
    """FastWARC's records of a source of bytes.

    Raises:
        _Failed: at damage.
    """
    from fastwarc.warc import ArchiveIterator

    archive = iter(_guarded(lambda: ArchiveIterator(source, parse_http=False), handle))
    while True:
        record = _guarded(lambda: next(archive, None), handle)
        if record is None:
            return
        yield record


def _guarded(do: Any, handle: Watched) -> Any:
    """What a call of FastWARC's gives.

    Raises:
        _Failed: when it failed, in whatever way; but an error of the storage stays what it is.
    """
    try:
        return do()
    except BaseException as error:
        if handle.error is not None:
            raise handle.error from error
        # The library's own panic is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise _Failed from error
        raise


def _taken(record: Any, kind: str, place: int, remarks: Remarks) -> Record | None:
    """A record with its content; None for one of another kind, or that is too large.

    Raises:
        EOFError: when its bytes end early.
    """
    if record.headers.get("WARC-Type") != kind:
        return None
    if record.content_length > MOST_BYTES:
        remarks.add(TOO_LARGE, example=f"at byte {place:,}", place=(place,))
        return None
    body: bytes = record.reader.read()
    if len(body) < record.content_length:
        raise EOFError("the record is cut off")
    return Record(str(record.headers.get("WARC-Target-URI") or "").strip("<>"), record.record_date, body)


def _ends_whole(handle: Watched, last: int) -> bool:
    """Whether a file's end is that of a whole one.

    last: where its last record begins, if each is a member of its own.
    """
    if not handle.seek(last):
        return True
    if handle.read(3) == GZIP:
        try:
            while not (member := Member(handle, last)).is_last():
                last = member.end
        except (zlib.error, EOFError):
            return False
        return True
    end = b""
    while block := handle.read(BLOCK):
        end = (end + block)[-4:]
    return end == b"\r\n\r\n"


def _members(handle: Watched, file: str, kind: str, remarks: Remarks) -> Iterator[Record]:
    """Records, member by member: behind one that is damaged, reading goes on with the next that begins a record."""
    if not handle.seek(0):
        remarks.add(DAMAGED, example="a web server that gives the file from its beginning only: the rest is not read")
        return
    packed = handle.read(3) == GZIP or file.lower().endswith(".gz")
    begin: int | None = 0
    while begin is not None:
        source = Member(handle, begin) if packed else Plain(handle)
        waiting: Record | None = None
        try:
            for record in _read(source, handle):
                if waiting is not None:
                    yield waiting
                waiting = _guarded(partial(_taken, record, kind, begin, remarks), handle)
            last = _guarded(source.is_last, handle)
        except _Failed:
            remarks.add(DAMAGED, example=f"byte {begin:,}", place=(begin,))
            begin = next_begin(handle, begin + 1) if packed else None
            continue
        if waiting is not None:
            yield waiting
        begin = None if last else source.end
