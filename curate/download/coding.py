"""Content codings: undone where a body really has them, within the size limit.

No coding is asked for, images being compressed already. Servers declare one all the same, with and without applying it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import brotli
import zstandard

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class TooLarge(Exception):
    """More bytes than are taken."""


def decoded(body: bytes, codings: Iterable[str], most: int) -> bytes:
    """The body without the codings that were declared, the last one first; one that it does not have is passed over.

    Raises:
        TooLarge: for more than `most` bytes.

    >>> decoded(b"plain", ["gzip"], 100)
    b'plain'
    """
    for coding in reversed(list(codings)):
        if coding in ("gzip", "x-gzip") and body.startswith(_GZIP):
            body = _inflated(body, 31, most)
        elif coding == "deflate":
            body = _inflated(body, 15, most)  # zlib's format; an image that is not deflated never looks like it
        elif coding == "zstd" and body.startswith(_ZSTD):
            body = _unzstd(body, most)
        elif coding == "br":
            body = _unbrotli(body, most)
    return body


def _inflated(body: bytes, window: int, most: int) -> bytes:
    """The plain bytes, as many as there are before the stream is cut; the body itself where it is no such stream."""
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(body, most + 1)
    except zlib.error:
        return body
    if len(plain) > most:
        raise TooLarge(f"more than {most} bytes unpacked")
    return plain if stream.eof else body


def _unzstd(body: bytes, most: int) -> bytes:
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(body) as reader:
            plain = reader.read(most + 1)
    except zstandard.ZstdError:
        return body
    if len(plain) > most:
        raise TooLarge(f"more than {most} bytes unpacked")
    return plain


def _unbrotli(body: bytes, most: int) -> bytes:
    """Brotli has no mark of its own: what does not unpack to its very end was not packed."""
    stream = brotli.Decompressor()
    try:
        plain: bytes = stream.process(body, output_buffer_limit=most + 1)
    except brotli.error:
        return body
    if len(plain) > most:
        raise TooLarge(f"more than {most} bytes unpacked")
    return plain if stream.is_finished() else body
