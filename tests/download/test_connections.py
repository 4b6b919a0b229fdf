"""Connections: kept only where the server says so and nothing is left on them; resets behind a whole answer; TLS."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import web_server

pytestmark = pytest.mark.slow

#: These servers have one answer for everything, for a robots.txt too.
get = partial(web_server.get, respect_robots_txt=False)

BODY = b"\x89PNG" + bytes(5000)
KEPT = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
UNSAID = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n"
CHUNKED += BODY[:5000] + b"\r\n4\r\n" + BODY[5000:] + b"\r\n0\r\n\r\n"


class Lines:
    """A server that reads requests and answers each with the next of `answers`; counts connections and requests."""

    def __init__(self, answers: list[bytes], tls: ssl.SSLContext | None = None, reset: bool = False) -> None:
        self.answers, self.tls, self.reset = answers, tls, reset
        self.connections = self.requests = 0
        self.port = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                answer = self.answers[self.requests % len(self.answers)]
                self.requests += 1
                writer.write(answer)
                await writer.drain()
                if self.reset:
                    plain = writer.get_extra_info("socket")
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                    return
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
        (UNSAID, 6),  # a server that closes without a word would cost the next row
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


def test_tls(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("makes its certificate with openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=a.test"]
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make + more, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serving(Lines([KEPT], tls)) as server:
        url = f"https://127.0.0.1:{server.port}/"
        assert get(url)[0].status == "tls", "signed by nobody"
        assert server.requests == 0
        found = get(*(f"{url}{n}" for n in range(4)), verify_tls=False, per_host=1)
        assert {(f.status, f.body) for f in found} == {("success", BODY)}
        assert (server.connections, server.requests) == (1, 4)
    with serving(Lines([UNSAID], tls, reset=True)) as server:
        assert get(f"https://127.0.0.1:{server.port}/", verify_tls=False)[0].body == BODY
