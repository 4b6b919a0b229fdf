"""Connections: kept only where the server says so and nothing is left on them; resets behind a whole answer; TLS."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
import web_server

from curate.download.fetch import fetch
from curate.download.idle_connections import IdleConnections

pytestmark = pytest.mark.slow

#: These servers have one answer for everything, for a robots.txt too.
get = partial(web_server.get, respect_robots_txt=False)

#: Elsewhere no request is sent again.
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells there what was acknowledged")

BODY = b"\x89PNG" + bytes(5000)
KEPT = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
UNSAID = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n"
CHUNKED += BODY[:5000] + b"\r\n4\r\n" + BODY[5000:] + b"\r\n0\r\n\r\n"


class Lines:
    """A server that reads requests and answers each with the next of `answers`; counts connections and requests."""

    def __init__(
        self,
        answers: list[bytes],
        tls: ssl.SSLContext | None = None,
        reset: bool = False,
        closes: bool = False,
        hangs_up: str = "",
    ) -> None:
        """reset: the connection behind each answer; closes: without a word; hangs_up: in place of an empty answer."""
        self.answers, self.tls, self.reset, self.closes, self.hangs_up = answers, tls, reset, closes, hangs_up
        self.connections = self.requests = self.open = self.most = 0
        self.asked: Counter[str] = Counter()
        self.port = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections, self.open = self.connections + 1, self.open + 1
        self.most = max(self.most, self.open)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                self.asked[(await reader.readuntil(b"\r\n\r\n")).split()[1].decode()] += 1
                answer = self.answers[self.requests % len(self.answers)]
                self.requests += 1
                writer.write(answer)
                await writer.drain()
                if self.reset or (self.hangs_up == "reset" and not answer):
                    plain = writer.get_extra_info("socket")
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                    break
                if self.closes:
                    await asyncio.sleep(0.02)
                    writer.transport.abort()  # without a farewell of TLS
                if self.closes or not answer:
                    break
        self.open -= 1
        writer.close()


@contextlib.contextmanager
def serving(server: Lines) -> Iterator[Lines]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        started = await asyncio.start_server(server.talk, "127.0.0.1", 0, ssl=server.tls)
        server.port = started.sockets[0].getsockname()[1]
        return started

    listening = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(listening.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (KEPT, 1),
        (CHUNKED, 1),
        (UNSAID, 6),
        (UNSAID.replace(b"HTTP/1.1", b"HTTP/1.0"), 6),
        (KEPT + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", 6),  # it would be the next row's picture
        (KEPT.replace(b"HTTP/1.1", b"HTTP/1.0"), 1),
        (KEPT.replace(b"Content-Length", b"Content-Length: 5004\r\nTransfer-Encoding: identity\r\nX"), 1),
        (KEPT.replace(b"keep-alive", b"close"), 6),
    ],
)
def test_when_a_connection_is_kept(answer: bytes, connections: int) -> None:
    with serving(Lines([answer])) as server:
        found = get(*(f"http://127.0.0.1:{server.port}/{n}" for n in range(6)), per_host=1)
    assert {(f.status, f.body) for f in found} == {("success", BODY)}
    assert (server.connections, server.requests) == (connections, 6)


def test_a_kept_connection_that_has_ended_is_not_used() -> None:
    with serving(Lines([KEPT], reset=True)) as server:
        found = get(*(f"http://127.0.0.1:{server.port}/{n}" for n in range(6)), per_host=1)
    assert [f.status for f in found].count("success") >= 1
    assert all(f.status in {"success", "connect"} for f in found)
    assert server.requests <= 6, "none is sent twice"


def test_a_reset_behind_a_whole_answer_costs_nothing() -> None:
    with serving(Lines([UNSAID], reset=True)) as server:
        found = get(*(f"http://127.0.0.1:{server.port}/{n}" for n in range(20)))
    assert {f.status for f in found} == {"success"}
    assert server.requests == 20


@pytest.mark.parametrize("headers", [b"", b"Content-Length: 9999\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_reset_before_the_end_is_no_success(headers: bytes) -> None:
    with serving(Lines([b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n1388\r\n" + BODY], reset=True)) as server:
        found = get(*(f"http://127.0.0.1:{server.port}/{n}" for n in range(5)))
    assert {f.status for f in found} == {"truncated"}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """With a certificate that nobody signed."""
    if not shutil.which("openssl"):
        pytest.skip("makes its certificate with openssl")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=a.test"]
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make + more, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_tls(tls: ssl.SSLContext) -> None:
    with serving(Lines([KEPT], tls)) as server:
        url = f"https://127.0.0.1:{server.port}/"
        assert get(url)[0].status == "tls", "signed by nobody"
        assert server.requests == 0
        found = get(*(f"{url}{n}" for n in range(4)), verify_tls=False, per_host=1)
        assert {(f.status, f.body) for f in found} == {("success", BODY)}
        assert (server.connections, server.requests) == (1, 4)
    with serving(Lines([UNSAID], tls, reset=True)) as server:
        assert get(f"https://127.0.0.1:{server.port}/", verify_tls=False)[0].body == BODY


def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop stands still before each request, until the server has closed what it was to close."""
    take = IdleConnections.take
    monkeypatch.setattr(IdleConnections, "take", lambda self, place: time.sleep(0.1) or take(self, place))


def test_100_urls_of_a_host_take_as_many_connections_as_it_has_turns(tls: ssl.SSLContext) -> None:
    with serving(Lines([KEPT], tls)) as server:
        urls = [f"https://127.0.0.1:{server.port}/{number}" for number in range(100)]
        answers = get(*urls, verify_tls=False, per_host=4)
    assert {(one.status, one.attempts) for one in answers} == {("success", 1)}
    assert server.connections <= 8 and server.most <= 4
    assert server.asked == {f"/{number}": 1 for number in range(100)}


@linux
@pytest.mark.parametrize("secure", [False, True])
def test_a_kept_connection_that_was_closed_meanwhile_costs_no_row_and_no_attempt(
    secure: bool, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request on a kept connection crosses the server's closing of it: this side is too busy to see that."""
    late(monkeypatch)
    with serving(Lines([KEPT], tls if secure else None, closes=True)) as server:
        place = f"http{'s' if secure else ''}://127.0.0.1:{server.port}"
        answers = get(*(f"{place}/{number}" for number in range(20)), verify_tls=False, per_host=1)
    assert {(one.status, one.body, one.attempts) for one in answers} == {("success", BODY, 1)}
    assert server.asked == {f"/{number}": 1 for number in range(20)} and server.connections == 20


@linux
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_a_request_that_was_read_is_not_sent_again(secure: bool, reset: bool, tls: ssl.SSLContext) -> None:
    """The server answers the first request of a connection, reads the second one, and hangs up."""
    with serving(Lines([KEPT, b""], tls if secure else None, hangs_up="reset" if reset else "ends")) as server:
        place = f"http{'s' if secure else ''}://127.0.0.1:{server.port}"
        answers = get(*(f"{place}/{number}" for number in range(20)), verify_tls=False, per_host=1)
    assert sorted(one.status for one in answers) == ["connect"] * 10 + ["success"] * 10
    assert server.asked == {f"/{number}": 1 for number in range(20)}, "each url was asked for once"


def test_idle_connections_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.download.idle_connections.MOST_IDLE", 1)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(serving(Lines([KEPT]))) for _ in range(5)]
        urls = [f"http://127.0.0.1:{server.port}/{number}" for number in range(3) for server in servers]
        most = 0

        async def fetched() -> None:
            nonlocal most
            async for _, answer in fetch(urls, web_server.build(respect_robots_txt=False, concurrency=1)):
                assert answer.status == "success"
                most = max(most, sum(server.open for server in servers))

        asyncio.run(fetched())
    assert most <= 3, "one idle, one in use, and one whose end the server has yet to see"
