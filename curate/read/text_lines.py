"""Lines of a text file as valid UTF-8: what was written in another encoding is read so, and counted."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from curate.messages.remarks import Remarks
from curate.read.inputs import opened

#: Bytes read at once. What a file looks like (separator, header line) is judged by the first block.
BLOCK_BYTES = 4 << 20

BOM = codecs.BOM_UTF8

#: Marks at the beginning of files that are not UTF-8. UTF-32 comes first: its mark begins with that of UTF-16.
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
_MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

#: A character of more than one byte in valid UTF-8.
_LONG = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def blocks(file: str, remarks: Remarks) -> Iterator[tuple[int, bytes]]:
    """(number of its first line, whole lines) of a file; a file whose only line ends are CR has LF for them."""
    number = 1
    with opened(file) as handle:
        for block in _whole_lines(_recoded(handle, remarks)):
            yield number, _valid(block, number, remarks)
            number += block.count(b"\n")


def _recoded(handle: BinaryIO, remarks: Remarks) -> Iterator[bytes]:
    head = handle.read(BLOCK_BYTES)
    encoding = next((name for mark, name in _MARKS.items() if _marked(head, mark, name)), _unmarked(head))
    if encoding is None:
        yield head.removeprefix(BOM)
        while data := handle.read(BLOCK_BYTES):
            yield data
        return
    remarks.add(f"file(s) in {encoding.upper()}", 1)
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    data = head
    while data:
        yield decoder.decode(data).encode("utf-8", "replace")
        data = handle.read(BLOCK_BYTES)
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _marked(head: bytes, mark: bytes, encoding: str) -> bool:
    """Whether a file begins with a mark and is text in its encoding: UTF-16 may begin like UTF-32, with a NUL."""
    if not head.startswith(mark):
        return False
    try:
        head[:4000].decode(encoding)
    except UnicodeDecodeError:
        return encoding == "utf-16"
    return True


def _unmarked(head: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of western text is 0."""
    some = head[:2000]
    half = len(some) // 2
    for encoding, zeros, others in (("utf-16-le", some[1::2], some[::2]), ("utf-16-be", some[::2], some[1::2])):
        if half > 3 and zeros.count(0) > 0.7 * half and others.count(0) < 0.1 * half:
            return encoding
    return None


def _whole_lines(source: Iterator[bytes]) -> Iterator[bytes]:
    # Whole lines wait for what follows them: a last line without an end belongs to their block.
    waiting, pieces = b"", list[bytes]()
    old_mac: bool | None = None
    for read in source:
        if old_mac is None and read:
            old_mac = b"\r" in read[:-1] and b"\n" not in read
        data = read.replace(b"\r", b"\n") if old_mac else read
        cut = data.rfind(b"\n") + 1
        if cut:
            if waiting:
                yield waiting
            waiting = b"".join([*pieces, data[:cut]])
            pieces = []
        if cut < len(data):
            pieces.append(data[cut:])
    if waiting or pieces:
        yield b"".join([waiting, *pieces])


def _valid(block: bytes, number: int, remarks: Remarks) -> bytes:
    if is_utf8(block):
        return block
    return b"\n".join([_line(line, place, remarks) for place, line in enumerate(block.split(b"\n"), number)])


def is_utf8(text: bytes) -> bool:
    r"""Whether bytes are UTF-8, as Arrow tells without making a string of them, in a fortieth of the time.

    >>> is_utf8("é".encode()), is_utf8(b"\xe9"), is_utf8(b"\xed\xa0\x80")
    (True, False, False)
    """
    ends = pa.py_buffer(np.array([0, len(text)], np.int64))
    try:
        pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(text)]).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _line(line: bytes, number: int, remarks: Remarks) -> bytes:
    """A line in UTF-8. One that has valid characters of several bytes beside the invalid ones is damaged UTF-8; any
    other is what western programs write, Windows-1252, of which Latin-1 is a part."""
    try:
        line.decode()
        return line
    except UnicodeDecodeError:
        pass
    if _LONG.search(line):
        kind, text = "line(s) of damaged UTF-8, their broken bytes are U+FFFD", line.decode("utf-8", "replace")
    else:
        # Five bytes mean nothing in Windows-1252; in Latin-1 each byte means something.
        kind = "line(s) not in UTF-8, read as Windows-1252"
        text = "".join(bytes([b]).decode("cp1252" if b not in b"\x81\x8d\x8f\x90\x9d" else "latin-1") for b in line)
    remarks.add(kind, example=f"line {number}: {text.strip()}", place=(number,))
    return text.encode()
