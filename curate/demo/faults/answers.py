"""Whole answers as bytes on the wire: sound ones, odd ones that every browser reads, and those that are none."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from functools import cache

import brotli
import zstandard

OK = b"HTTP/1.1 200 OK\r\n"
BOMBS, BOMB_BYTES = ("gzip", "br", "zstd"), 100_000_000
CHUNKED = b"Transfer-Encoding: chunked\r\n"
_TYPE = b"Content-Type: image/jpeg\r\n"
_PAST = "unavailable_after: 25 Jun 2010 15:00:00 GMT"

Wire = Callable[[bytes], bytes]


def length(body: bytes, change: int = 0) -> bytes:
    return b"Content-Length: %d\r\n" % (len(body) + change)


def plain(body: bytes, headers: bytes = b"", status: bytes = OK) -> bytes:
    """An answer as it should be."""
    return status + _TYPE + length(body) + headers + b"\r\n" + body


def code(status: int, headers: bytes = b"") -> bytes:
    return plain(b"no\n", headers, b"HTTP/1.1 %d No\r\n" % status)


def redirect(target: str, status: int = 302) -> bytes:
    return code(status, b"Location: %b\r\n" % target.encode())


def chunks(body: bytes, end: bytes = b"0\r\n\r\n", extension: bytes = b"") -> bytes:
    half = len(body) // 2
    parts = (part for part in (body[:half], body[half:]) if part)
    return b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts) + end


def _tagged(*lines: str) -> Wire:
    """A picture with headers."""
    headers = b"".join(line.encode() + b"\r\n" for line in lines)
    return lambda body: plain(body, headers)


def _coded(name: str, pack: Callable[[bytes], bytes]) -> Wire:
    def answer(body: bytes) -> bytes:
        return plain(pack(body), b"Content-Encoding: %b\r\n" % name.encode())

    return answer


@cache
def bomb(coding: str) -> bytes:
    """BOMB_BYTES of zeros, packed."""
    pack: dict[str, Callable[[bytes], bytes]]
    pack = {"gzip": _gzip, "br": lambda data: brotli.compress(data, quality=1), "zstd": zstandard.compress}
    packed: bytes = pack[coding](bytes(BOMB_BYTES))
    return plain(packed, b"Content-Encoding: %b\r\n" % coding.encode())


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 1)


#: Odd, and read by urllib or by every browser: (what is odd, the answer that carries a picture).
ODD: dict[str, tuple[str, Wire]] = {
    "no_reason": ("no reason behind the status", lambda b: plain(b, status=b"HTTP/1.1 200\r\n")),
    "http10": ("HTTP/1.0", lambda b: plain(b, status=b"HTTP/1.0 200 OK\r\n")),
    "icy": ("ICY in the place of HTTP", lambda b: plain(b, status=b"ICY 200 OK\r\n")),
    "hints_first": ("103 Early Hints before it", lambda b: b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" + plain(b)),
    "line_feeds": ("lines that end with LF alone", lambda b: OK + length(b) + b"\n" + b),
    "long_line": ("a header of 60,000 bytes", _tagged("Set-Cookie: " + "c" * 60_000)),
    "many_headers": ("500 headers", _tagged(*(f"X-{number}: y" for number in range(500)))),
    "no_colon": ("a line without a colon", _tagged("this line says nothing")),
    "odd_names": ("names of headers that are none", _tagged("X Powered By: php", ": empty", "X-(odd)/{name}@: y")),
    "not_ascii": ("headers in UTF-8", _tagged("X-Größe: 3", 'Content-Disposition: inline; filename="größe.jpg"')),
    "folded": ("a header of three lines", _tagged("X-A: b", "  goes on", "\tand on")),
    "controls": ("control characters in a header", _tagged("X-A: \x01\x7f\x0b")),
    "blank_before_colon": ("a blank before a colon", lambda b: OK + length(b).replace(b":", b" :") + b"\r\n" + b),
    "two_lengths": ("its length twice", lambda b: plain(b, length(b))),
    "other_lengths": ("two lengths, one of them right", lambda b: plain(b, length(b, 99))),
    "no_length": ("no length, ended by the connection", lambda b: OK + b"\r\n" + b),
    "bad_length": ("a length in words", lambda b: OK + b"Content-Length: many\r\n\r\n" + b),
    "more_than_length": ("bytes behind its length", lambda b: plain(b) + b"and more"),
    "chunked": ("chunks", lambda b: OK + CHUNKED + b"\r\n" + chunks(b)),
    "chunk_extension": ("chunks with an extension", lambda b: OK + CHUNKED + b"\r\n" + chunks(b, extension=b"; a=b")),
    "chunk_trailers": ("trailers behind chunks", lambda b: OK + CHUNKED + b"\r\n" + chunks(b, b"0\r\nX: 1\r\n\r\n")),
    "chunks_no_end": ("no empty line behind the last chunk", lambda b: OK + CHUNKED + b"\r\n" + chunks(b, b"0\r\n")),
    "gzip": ("gzip that nobody asked for", _coded("gzip", gzip.compress)),
    "deflate": ("deflate that nobody asked for", _coded("deflate", zlib.compress)),
    "br": ("Brotli that nobody asked for", _coded("br", brotli.compress)),
    "zstd": ("Zstandard that nobody asked for", _coded("zstd", zstandard.compress)),
    "br_but_plain": ("Brotli declared, and not applied", _coded("br", bytes)),
    "gzip_but_plain": ("gzip declared, and not applied", _coded("gzip", bytes)),
    "coding_unknown": ("a coding that there is not", _coded("x-made-up", bytes)),
}  # fmt: skip

#: No picture comes of these: (status, what they are, the answer).
BROKEN: dict[str, tuple[str, str, Wire]] = {
    "404": ("http_404", "404 not found", lambda b: code(404)),
    "410": ("http_410", "410 gone", lambda b: code(410)),
    "403": ("http_403", "403 forbidden", lambda b: code(403)),
    "429": ("http_429", "429 without Retry-After, always", lambda b: code(429)),
    "500": ("http_500", "500 server error, always", lambda b: code(500)),
    "503": ("http_503", "503 without Retry-After, always", lambda b: code(503)),
    "202": ("http_202", "202 and a challenge", lambda b: code(202)),
    "206": ("http_206", "206, a part of the file", lambda b: plain(b, status=b"HTTP/1.1 206 Part\r\n")),
    "302_to_nowhere": ("http_302", "redirect without a target", lambda b: code(302)),
    "no_answer": ("connect", "connection ended without an answer", lambda b: b""),
    "garbage": ("error", "bytes that are no HTTP", lambda b: b"\x00\x01 this is not HTTP\r\n\r\n"),
    "picture_alone": ("error", "picture without a head", lambda b: b),
    "cut_head": ("error", "connection ended within the head", lambda b: OK + b"Content-Le"),
    "cut_body": ("truncated", "half of the declared body", lambda b: OK + length(b) + b"\r\n" + b[: len(b) // 2]),
    "short_body": ("truncated", "a whole picture, and less than declared", lambda b: OK + length(b, 50) + b"\r\n" + b),
    "long_body": ("truncated", "more bytes than declared", lambda b: OK + length(b, -len(b) // 2) + b"\r\n" + b),
    "cut_chunks": ("truncated", "chunks that are cut", lambda b: OK + CHUNKED + b"\r\n" + chunks(b)[: len(b) // 2]),
    "endless_chunk": ("truncated", "a chunk's size without end", lambda b: OK + CHUNKED + b"\r\n" + b"0" * 100_000),
    "huge_chunk": ("too_large", "a chunk of a petabyte", lambda b: OK + CHUNKED + b"\r\nfffffffffffff\r\nabc"),
    "empty": ("empty", "no bytes, as declared", lambda b: plain(b"")),
    "empty_chunks": ("empty", "no bytes in chunks", lambda b: OK + CHUNKED + b"\r\n0\r\n\r\n"),
    "gzip_bomb": ("too_large", "100 MB of zeros by gzip", lambda b: bomb("gzip")),
    "br_bomb": ("too_large", "100 MB of zeros by Brotli", lambda b: bomb("br")),
    "zstd_bomb": ("too_large", "100 MB of zeros by Zstandard", lambda b: bomb("zstd")),
    "noai": ("disallowed", "X-Robots-Tag: noai", _tagged("X-Robots-Tag: noai")),
    "none_tag": ("disallowed", "X-Robots-Tag: none", _tagged("X-Robots-Tag: none")),
    "noindex_by_blanks": ("disallowed", "directives parted by a blank", _tagged("X-Robots-Tag: nofollow noindex")),
    "curate_tag": ("disallowed", "X-Robots-Tag to curate", _tagged("X-Robots-Tag: otherbot: all, curate: noai")),
    "star_tag": ("disallowed", "X-Robots-Tag to all by name", _tagged("X-Robots-Tag: *: noimageai")),
    "unavailable": ("disallowed", "unavailable_after, long ago", _tagged(f"X-Robots-Tag: {_PAST}")),
    "second_tag": ("disallowed", "the second of two X-Robots-Tag", _tagged("X-Robots-Tag: all", "X-Robots-Tag: NoAI")),
    "tdm": ("disallowed", "TDM-Reservation: 1", _tagged("TDM-Reservation: 1")),
    "content_usage": ("disallowed", "Content-Usage: train-ai=n", _tagged("Content-Usage: search=y, train-ai=n")),
    "content_signal": ("disallowed", "Content-Signal: ai-train=no", _tagged("Content-Signal: ai-train=no")),
    "other_tag": ("success", "X-Robots-Tag to another robot", _tagged("X-Robots-Tag: otherbot: noai, noindex")),
    "tdm_0": ("success", "TDM-Reservation: 0", _tagged("TDM-Reservation: 0", "Content-Usage: train-ai=y")),
}  # fmt: skip
