"""Content codings: undone where a body really has them, within the size limit.

No coding is asked for, images being compressed already. Servers declare one all the same, with and without applying it.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterable

import brotli
import zstandard

from curate.download.spooled import Spooled

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
#: Bytes of a body that are unpacked at a time.
PIECE = 1 << 20

_Stream = Callable[[int], tuple[bytes, bool]]


class TooLarge(Exception):
    """More bytes than are taken."""


def decoded(body: bytes, codings: Iterable[str], most: int) -> bytes:
    """As `unpacked`, of bytes.

    >>> decoded(b"plain", ["gzip"], 100)
    b'plain'
    """
    return unpacked(Spooled(body), codings, most).all()


def unpacked(body: Spooled, codings: Iterable[str], most: int, is_over: Callable[[], bool] = lambda: False) -> Spooled:
    """The body without the codings that were declared, the last one first; one that it does not have is passed over.
    In memory are the packed bytes and a piece of the others. It ends at the next piece once `is_over`: nobody waits.

    Raises:
        TooLarge: for more than `most` bytes.
    """
    for coding in reversed(list(codings)):
        stream = _stream(body.all(), coding)
        if stream is not None:
            body = _collected(stream, most, is_over) or body
    return body


class _NotPacked(Exception):
    """The body does not have the coding that was declared, or is cut."""


def _collected(stream: _Stream, most: int, is_over: Callable[[], bool]) -> Spooled | None:
    """All plain bytes; None where the body turns out not to be packed."""
    plain = Spooled()
    try:
        while not is_over():
            # Never beyond what tells that it is too large: an error behind that is none.
            piece, ended = stream(min(PIECE, most + 1 - plain.size))
            plain.add(piece)
            if plain.size > most:
                raise TooLarge(f"more than {most} bytes unpacked")
            if ended:
                return plain
    except _NotPacked:
        pass
    return None


def _stream(packed: bytes, coding: str) -> _Stream | None:
    """What gives at most so many plain bytes, and whether they are the last; None for a coding that the body does not
    have, by its beginning."""
    if coding in ("gzip", "x-gzip") and packed.startswith(_GZIP):
        return _inflated(packed, 31)
    if coding == "deflate":
        return _inflated(packed, 15)  # zlib's format; an image that is not deflated never looks like it
    if coding == "zstd" and packed.startswith(_ZSTD):
        return _unzstd(packed)
    return _unbrotli(packed) if coding == "br" else None


def _inflated(packed: bytes, window: int) -> _Stream:
    stream, rest = zlib.decompressobj(window), packed

    def piece(size: int) -> tuple[bytes, bool]:
        nonlocal rest
        try:
            plain = stream.decompress(rest, size)
        except zlib.error:
            raise _NotPacked from None
        rest = stream.unconsumed_tail
        if not (plain or rest or stream.eof):
            raise _NotPacked
        return plain, stream.eof

    return piece


def _unzstd(packed: bytes) -> _Stream:
    """One frame: what stands behind it is no part of the body. It ends where it said, or where less comes than was
    asked for."""
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(packed)
    rest = -1
    with contextlib.suppress(zstandard.ZstdError):
        rest = zstandard.frame_content_size(packed)

    def piece(size: int) -> tuple[bytes, bool]:
        nonlocal rest
        try:
            plain = reader.read(size)
        except zstandard.ZstdError:
            raise _NotPacked from None
        rest -= len(plain) if rest > 0 else 0
        return plain, len(plain) < size or rest == 0

    return piece


def _unbrotli(packed: bytes) -> _Stream:
    """Brotli has no mark of its own: what does not unpack to its very end was not packed."""
    stream, rest = brotli.Decompressor(), packed

    def piece(size: int) -> tuple[bytes, bool]:
        nonlocal rest
        try:
            plain: bytes = stream.process(rest, output_buffer_limit=size)
        except brotli.error:
            raise _NotPacked from None
        rest = b""
        if not (plain or stream.is_finished()):
            raise _NotPacked
        return plain, stream.is_finished()

    return piece
