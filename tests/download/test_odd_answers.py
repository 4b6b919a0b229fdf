"""Answers that break the rules of HTTP: what urllib reads is read, each URL is asked for once, and limits hold."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import socketserver
import threading
import urllib.request
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.download import answer_body
from curate.download.answer import BadAnswer, head_of
from curate.download.answer_body import Body
from curate.download.coding import TooLarge, decoded, unpacked
from curate.download.fetch import Fetched, FetchOptions, fetch
from curate.download.reader import Reader
from curate.download.spooled import Spooled

pytestmark = pytest.mark.slow

PICTURE = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 20
N = len(PICTURE)
LENGTH = b"Content-Length: %d\r\n" % N
OK = b"HTTP/1.1 200 OK\r\n"
HALF = PICTURE[: N // 2]
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def chunks(body: bytes, end: bytes = b"0\r\n\r\n", extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(body), extension, body) + end


def plain(headers: bytes = b"", body: bytes = PICTURE, status: bytes = OK) -> bytes:
    return status + LENGTH + headers + b"\r\n" + body


# Whole answers, odd heads: each is PICTURE.
GOOD = {
    "plain": plain(),
    "long_line": plain(b"Content-Security-Policy: " + b"a" * 12_000 + b"\r\n"),
    "long_cookie": plain(b"Set-Cookie: " + b"c" * 60_000 + b"\r\n"),
    "many_headers": plain(b"".join(b"X-%d: y\r\n" % i for i in range(500))),
    "blank_in_name": plain(b"X Powered By: php\r\n"),
    "blank_before_colon": OK + b"Content-Length : %d\r\n\r\n" % N + PICTURE,
    "no_colon": plain(b"this line says nothing\r\n"),
    "empty_name": plain(b": empty\r\n"),
    "odd_name": plain(b"X-(odd)/{name}@: y\r\n"),
    "name_in_utf8": plain("X-Größe: 3\r\n".encode()),
    "name_in_latin1": plain("X-Größe: 3\r\n".encode("latin-1")),
    "control_character": plain(b"X-A: \x01\x7f\x0b\r\n"),
    "nul": plain(b"X-A: a\0b\r\n"),
    "utf8_value": plain('Content-Disposition: inline; filename="größe.jpg"\r\n'.encode()),
    "latin1_value": plain(b"X-A: gr\xf6\xdfe\r\n"),
    "line_feeds_only": plain(b"X-A: b\r\n").replace(b"\r\n", b"\n", 5),
    "folded": plain(b"X-A: b\r\n  goes on\r\n\tand on\r\n"),
    "folded_first": OK + b" odd: fold\r\n" + LENGTH + b"\r\n" + PICTURE,
    "tab_after_colon": OK + b"Content-Length:\t%d\t\r\n\r\n" % N + PICTURE,
    "two_equal_lengths": plain(LENGTH),
    "equal_lengths_in_one": OK + b"Content-Length: %d, %d\r\n\r\n" % (N, N) + PICTURE,
    "length_and_chunked": OK + LENGTH + CHUNKED + b"\r\n" + chunks(PICTURE),
    "plus_length": OK + b"Content-Length: +%d\r\n\r\n" % N + PICTURE,
    "no_length": OK + b"\r\n" + PICTURE,
    "empty_length": OK + b"Content-Length:\r\n\r\n" + PICTURE,
    "negative_length": OK + b"Content-Length: -1\r\n\r\n" + PICTURE,
    "length_in_words": OK + b"Content-Length: many\r\n\r\n" + PICTURE,
    "too_much_body": plain() + b"and more",
    "no_reason": plain(status=b"HTTP/1.1 200\r\n"),
    "http10": plain(status=b"HTTP/1.0 200 OK\r\n"),
    "http2_name": plain(status=b"HTTP/2 200\r\n"),
    "http20_name": plain(status=b"HTTP/2.0 200 OK\r\n"),
    "icy": plain(status=b"ICY 200 OK\r\n"),
    "lower_case_version": plain(status=b"http/1.1 200 OK\r\n"),
    "odd_reason": plain(status="HTTP/1.1 200 Schön\r\n".encode("latin-1")),
    "continue_first": b"HTTP/1.1 100 Continue\r\n\r\n" + plain(),
    "hints_first": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + plain(),
    "empty_line_first": b"\r\n" + plain(),
    "chunked": OK + CHUNKED + b"\r\n" + chunks(HALF, b"") + chunks(PICTURE[N // 2 :]),
    "chunk_extension": OK + CHUNKED + b"\r\n" + chunks(PICTURE, extension=b"; a=b"),
    "chunk_size_padded": OK + CHUNKED + b"\r\n" + chunks(PICTURE, extension=b"   "),
    "chunk_trailers": OK + CHUNKED + b"\r\n" + chunks(PICTURE, b"0\r\nX-Sum: 1\r\n\r\n"),
    "no_line_after_last_chunk": OK + CHUNKED + b"\r\n" + chunks(PICTURE, b"0\r\n"),
    "chunks_by_line_feed": OK + CHUNKED + b"\r\n" + chunks(PICTURE).replace(b"\r\n", b"\n"),
    "capital_chunked": OK + b"transfer-ENCODING: Chunked\r\n\r\n" + chunks(PICTURE),
    "transfer_identity": plain(b"Transfer-Encoding: identity\r\n"),
    "coding_none": plain(b"Content-Encoding: none\r\n"),
    "coding_empty": plain(b"Content-Encoding:\r\n"),
    "coding_binary": plain(b"Content-Encoding: binary\r\n"),
    "coding_utf8": plain(b"Content-Encoding: UTF-8\r\n"),
    "br_but_plain": plain(b"Content-Encoding: br\r\n"),
    "zstd_but_plain": plain(b"Content-Encoding: zstd\r\n"),
    "gzip_but_plain": plain(b"Content-Encoding: gzip\r\n"),
    "deflate_but_plain": plain(b"Content-Encoding: deflate\r\n"),
    "conflicting_lengths": OK + b"Content-Length: 10\r\n" + LENGTH + b"\r\n" + PICTURE,
    "conflicting_lengths_other": OK + LENGTH + b"Content-Length: %d\r\n\r\n" % (2 * N) + PICTURE,
}
GOOD["three_lengths"] = OK + b"Content-Length: 1, 2, 99999\r\n\r\n" + PICTURE
# Codings that were applied though nobody asked: urllib gives the packed bytes, a browser the picture.
for name, pack in {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "br": brotli.compress,
}.items():
    GOOD[f"{name}_applied"] = OK + b"Content-Encoding: %b\r\n\r\n" % name.encode() + pack(PICTURE)
GOOD["gzip_twice"] = OK + b"Content-Encoding: gzip, gzip\r\n\r\n" + gzip.compress(gzip.compress(PICTURE))
GOOD["gzip_transfer"] = OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks(gzip.compress(PICTURE))

# What is not whole or no answer, and its status.
BAD = {
    "nothing": (b"", "connect"),
    "garbage": (b"\x00\x01 this is not HTTP\r\n\r\n", "error"),
    "picture_alone": (PICTURE, "error"),
    "html_alone": (b"<html>\r\n\r\n", "error"),
    "cut_in_head": (OK + b"Content-Le", "error"),
    "no_end_of_head": (OK + LENGTH, "error"),
    "head_too_long": (plain(b"".join(b"X-%d: %b\r\n" % (i, b"y" * 1000) for i in range(400))), "error"),
    "line_too_long": (plain(b"X: " + b"y" * 400_000 + b"\r\n"), "error"),
    "short_body": (plain(body=HALF), "truncated"),
    "chunks_cut": (OK + CHUNKED + b"\r\n" + chunks(PICTURE)[: N // 2], "truncated"),
    "chunks_without_end": (OK + CHUNKED + b"\r\n" + chunks(PICTURE, b""), "truncated"),
    "chunk_too_long": (OK + CHUNKED + b"\r\n" + chunks(PICTURE).replace(b"%x" % N, b"%x" % (N - 9)), "truncated"),
    "no_chunks": (OK + CHUNKED + b"\r\n" + PICTURE, "truncated"),
    "negative_chunk": (OK + CHUNKED + b"\r\n-5\r\nabc\r\n", "truncated"),
    "huge_chunk": (OK + CHUNKED + b"\r\nffffffffffffff\r\nabc\r\n", "too_large"),
    "endless_chunk_size": (OK + CHUNKED + b"\r\n" + b"0" * 100_000, "truncated"),
    "huge_length": (OK + b"Content-Length: 99999999999\r\n\r\n" + PICTURE, "too_large"),
    "two_lengths_both_too_long": (
        OK + b"Content-Length: 99998\r\nContent-Length: 99999\r\n\r\n" + PICTURE,
        "truncated",
    ),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", "empty"),
    "empty_chunks": (OK + CHUNKED + b"\r\n" + b"0\r\n\r\n", "empty"),
    "switching": (b"HTTP/1.1 101 Switching\r\n\r\n", "connect"),
    "status_of_four": (plain(status=b"HTTP/1.1 2000 OK\r\n"), "error"),
    "redirect_without_target": (b"HTTP/1.1 302 Found\r\n\r\n", "http_302"),
    "redirect_to_metadata": (b"HTTP/1.1 302 F\r\nLocation: http://169.254.169.254/\r\n\r\n", "address_refused"),
    "redirect_to_file": (b"HTTP/1.1 302 F\r\nLocation: file:///etc/passwd\r\n\r\n", "bad_url"),
    "gzip_bomb": (OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(3_000_000)), "too_large"),
    "br_bomb": (OK + b"Content-Encoding: br\r\n\r\n" + brotli.compress(bytes(3_000_000)), "too_large"),
    "zstd_bomb": (OK + b"Content-Encoding: zstd\r\n\r\n" + zstandard.compress(bytes(3_000_000)), "too_large"),
}
# Targets of redirects, and the path that is then asked for.
REDIRECTS = {
    b"/plain?a b": "/plain?a%20b",
    "/plain?ü".encode(): "/plain?%C3%BC",
    "/plain?ü".encode("latin-1"): "/plain?%FC",
    b"//127.0.0.1:%(port)d/plain?c": "/plain?c",
    b"\\\\127.0.0.1:%(port)d\\plain?d": "/plain?d",
    b"plain?e": "/plain?e",
    b"  /plain?f\t": "/plain?f",
    b"http://0x7f.1:%(port)d/plain?g#x": "/plain?g",
}


class Raw(socketserver.ThreadingTCPServer):
    """Answers each path with the bytes that stand for it, then closes; `asked` counts requests by path."""

    daemon_threads, allow_reuse_address, request_queue_size = True, True, 256

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.answers = GOOD | {name: answer for name, (answer, _) in BAD.items()}
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port: int = self.server_address[1]
        for number, target in enumerate(REDIRECTS):
            told = target.replace(b"%(port)d", b"%d" % self.port)
            self.answers[f"to{number}"] = b"HTTP/1.1 302 Found\r\nLocation: " + told + b"\r\nSet-Cookie: a=b\r\n\r\n"

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"


class _Handler(socketserver.StreamRequestHandler):
    server: Raw

    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        self.server.asked[path] += 1
        with contextlib.suppress(OSError):
            self.wfile.write(self.server.answers[path[1:].partition("?")[0]])


@pytest.fixture(scope="module")
def server() -> Iterator[Raw]:
    with Raw() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield running
        running.shutdown()


def get(*urls: str, **options: Any) -> list[Fetched]:
    about = {"allow_private_addresses": ["127.0.0.0/8"], "timeout_seconds": 5, "max_bytes": 1_000_000, **options}
    about["respect_robots_txt"] = False  # this server has odd answers only

    async def collect() -> dict[int, Fetched]:
        return {row: fetched async for row, fetched in fetch(urls, FetchOptions.model_validate(about))}

    found = asyncio.run(collect())
    return [found[row] for row in range(len(urls))]


def test_odd_answers_are_read(server: Raw) -> None:
    before = server.asked.copy()
    for name, fetched in zip(GOOD, get(*map(server.url, GOOD)), strict=True):
        assert (fetched.status, fetched.body) == ("success", PICTURE), (name, fetched.status, fetched.error)
    assert server.asked - before == Counter(f"/{name}" for name in GOOD)


@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_what_urllib_reads_is_read(server: Raw, name: str) -> None:
    """The same bytes, for every answer that urllib takes for whole."""
    try:
        with urllib.request.urlopen(server.url(name), timeout=5) as answer:
            body = answer.read()
    except Exception:  # noqa: BLE001 - any of many
        return
    if body == PICTURE:
        assert get(server.url(name))[0].body == PICTURE


def test_what_is_not_whole_is_no_success(server: Raw) -> None:
    before = server.asked.copy()
    for (name, (_, status)), fetched in zip(BAD.items(), get(*map(server.url, BAD)), strict=True):
        assert (fetched.status, fetched.body) == (status, None), (name, fetched.error)
        assert fetched.error or name == "redirect_without_target"
    assert server.asked - before == Counter(f"/{name}" for name in BAD)


def test_targets_of_redirects(server: Raw) -> None:
    for number, (target, path) in enumerate(REDIRECTS.items()):
        before = server.asked[path]
        (fetched,) = get(server.url(f"to{number}"))
        assert (fetched.status, fetched.final_url) == ("success", server.url("")[:-1] + path), target
        assert server.asked[path] == before + 1


@pytest.mark.parametrize(("retries", "requests"), [(0, 1), (2, 3)])
def test_a_dropped_connection_is_asked_again_only_as_allowed(
    server: Raw, retries: int, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.download.failing.IN_A_ROW", 1000)  # the host is not to be set aside
    urls = [server.url(f"{name}?{retries}-{n}") for name in ("nothing", "plain") for n in range(40)]
    found = get(*urls, retries=retries, backoff_seconds=0, per_host=64)
    assert [f.status for f in found] == ["connect"] * 40 + ["success"] * 40
    counts = [server.asked[url.removeprefix(server.url("")[:-1])] for url in urls]
    assert counts == [requests] * 40 + [1] * 40


LINES = st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"") + b"\r\n"), max_size=8)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404\n", b"ICY 200 \xff\r\n"]) | st.binary(max_size=20), LINES
)
def test_any_head_is_read_or_bad(first: bytes, lines: list[bytes]) -> None:
    try:
        head = head_of([first, *lines])
    except BadAnswer as problem:
        str(problem).encode()
        return
    assert 100 <= head.status <= 999 or head.status < 100
    for name in ("location", "content-length", "x-robots-tag"):
        head.first(name)
    (head.location() or "").encode()
    assert all(length >= 0 for length in head.lengths())


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=60), st.lists(st.sampled_from(["gzip", "deflate", "zstd", "br", "x"]), max_size=3))
def test_any_body_is_decoded_or_left(body: bytes, codings: list[str]) -> None:
    for pack in (bytes, gzip.compress, zlib.compress, zstandard.compress, brotli.compress):
        with contextlib.suppress(TooLarge):
            assert len(decoded(pack(body), codings, 100)) <= 160


@pytest.mark.parametrize(
    "pack", [gzip.compress, zlib.compress, zstandard.compress, partial(brotli.compress, quality=1)]
)
@pytest.mark.parametrize("piece", [1, 7, 1000, 1 << 20])
def test_pieces_of_a_body_are_the_body(pack, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.download.coding.PIECE", piece)
    plain = bytes(random.Random(piece).choices(b"abcd", k=3000))
    packed, codings = pack(plain), ["br", "zstd", "deflate", "gzip"]
    assert decoded(packed, codings, 3000) == plain
    if pack is not zstandard.compress:
        assert decoded(packed[:-3], codings, 3000) == packed[:-3], "what is cut stays as it came"
    with pytest.raises(TooLarge, match="more than 2999 bytes unpacked"):
        decoded(packed, codings, 2999)


@pytest.mark.parametrize("name", ["gzip", "br", "zstd", "deflate"])
def test_a_large_packed_body_is_unpacked_beside_the_event_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the thread does, the loop goes on: a tick comes while the unpacking waits for it."""
    plain = random.Random(1).randbytes(3_000_000)
    packers = {"gzip": partial(gzip.compress, compresslevel=1), "deflate": zlib.compress, "zstd": zstandard.compress}
    packed = {**packers, "br": partial(brotli.compress, quality=1)}[name](plain)
    ticked, real = threading.Event(), answer_body.unpacked

    def waiting(*arguments):
        assert ticked.wait(60), "the event loop stands still"
        return real(*arguments)

    monkeypatch.setattr(answer_body, "unpacked", waiting)

    async def read() -> bytes:
        reader = Reader()
        reader.feed_data(packed)
        reader.feed_eof()
        body = asyncio.create_task(
            Body(head_of([b"HTTP/1.1 200 OK", b"Content-Encoding: %b" % name.encode()]), reader).read(5_000_000)
        )
        await asyncio.sleep(0.05)
        assert not body.done()
        ticked.set()
        return (await body).all()

    assert asyncio.run(read()) == plain


def test_unpacking_ends_when_nobody_waits() -> None:
    pieces = iter([False, False, True])
    assert unpacked(Spooled(gzip.compress(bytes(10 << 20))), ["gzip"], 50 << 20, lambda: next(pieces)).size < 10 << 20
