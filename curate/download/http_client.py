"""HTTP/1.1 requests for strangers' URLs: each call asks exactly once, at an address that was looked up and allowed.

Own code instead of a client library, since a library sends a request again when a connection drops (the server is asked
twice where the user allowed once), refuses answers that every browser shows, and queues inside. A connection that was
kept from the answer before may have been closed by the server meanwhile: then the request goes to a new one, where the
kernel knows that the server's machine took no byte of it (see curate.download.acknowledged).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache

import aiohappyeyeballs

from curate.alike.web_url import WebURL
from curate.download.acknowledged import unread
from curate.download.address import Network, guarded_socket
from curate.download.answer import HEAD_BYTES, BadAnswer, Head, head_of
from curate.download.answer_body import Body
from curate.download.idle_connections import Connection, IdleConnections, Place
from curate.download.reader import Reader
from curate.download.resolver import AddressInfo
from curate.download.spooled import Spooled

#: Seconds before a second address of the host is tried beside the first one (RFC 8305).
NEXT_ADDRESS_SECONDS = 0.25


class NoAnswer(ConnectionError):
    """The connection ended before the answer began."""


class Answer:
    """The head of an answer, and its body on demand."""

    def __init__(self, head: Head, body: Body) -> None:
        self.head, self.status = head, head.status
        self._body = body

    async def read(self, most: int) -> Spooled:
        """The whole body, of at most `most` bytes; see `Body.read`."""
        return await self._body.read(most)

    async def read_first(self, most: int) -> bytes:
        """The beginning of the body; see `Body.read_first`."""
        return await self._body.read_first(most)


class HTTPClient:
    """Sends requests; keeps connections for a moment where the server says that it does. No limits or deadlines of its
    own: the caller has exact ones, and cancels. No proxies, no cookies."""

    def __init__(self, *, user_agent: str, allowed: Sequence[Network] = (), verify_tls: bool = True) -> None:
        # identity: images are compressed already, and a size limit and the declared length then mean the same bytes.
        self._headers = f"User-Agent: {user_agent}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
        self._allowed, self._verify_tls = allowed, verify_tls
        self._idle = IdleConnections()

    @contextlib.asynccontextmanager
    async def get(self, url: WebURL, addresses: Sequence[AddressInfo]) -> AsyncIterator[Answer]:
        """One request and the head of its answer; the connection ends with the block unless the body was read.

        Raises:
            OSError: for no connection; among them ssl.SSLError, AddressRefused and NoAnswer.
            BadAnswer: for what is no HTTP answer.
        """
        connection, head = await self._asked(url, addresses)
        whole = False
        try:
            body = Body(head, connection.reader)
            yield Answer(head, body)
            whole = body.is_whole and head.keeps_alive
        finally:
            if whole:
                self._idle.keep(_place(url), connection)
            else:
                connection.transport.abort()

    async def _asked(self, url: WebURL, addresses: Sequence[AddressInfo]) -> tuple[Connection, Head]:
        """One request, and the head of its answer."""
        if kept := self._idle.take(_place(url)):
            with unread(kept.transport) as is_unread:
                try:
                    return kept, await self._answered(kept, url)
                except NoAnswer:
                    # A reset may overtake the word that the request has arrived.
                    if kept.reader.was_lost or not is_unread():
                        raise
        connection = await self._connected(url, addresses)
        return connection, await self._answered(connection, url)

    async def _answered(self, connection: Connection, url: WebURL) -> Head:
        try:
            connection.transport.write(self._request(url))
            return await _head(connection.reader)
        except BaseException:
            connection.transport.abort()
            raise

    async def close(self) -> None:
        self._idle.close()
        await asyncio.sleep(0)  # the transports' last calls

    def _request(self, url: WebURL) -> bytes:
        credentials = f"Authorization: {url.authorization}\r\n" if url.authorization else ""
        lines = f"GET {url.target} HTTP/1.1\r\nHost: {url.authority}\r\n{self._headers}{credentials}"
        return f"{lines}Connection: keep-alive\r\n\r\n".encode("ascii")

    async def _connected(self, url: WebURL, addresses: Sequence[AddressInfo]) -> Connection:
        infos = [(*info[:4], (info[4][0], url.port, *info[4][2:])) for info in addresses]
        sock = await aiohappyeyeballs.start_connection(
            infos, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, socket_factory=guarded_socket(self._allowed)
        )
        loop, reader = asyncio.get_running_loop(), Reader(limit=HEAD_BYTES)
        secure = url.scheme == "https"
        try:
            transport, _ = await loop.create_connection(
                lambda: asyncio.StreamReaderProtocol(reader),
                sock=sock,
                ssl=_tls(self._verify_tls) if secure else None,
                server_hostname=url.host.strip("[]").removesuffix(".") if secure else None,
            )
        except BaseException:
            sock.close()
            raise
        return Connection(reader, transport)


def _place(url: WebURL) -> Place:
    return url.scheme, url.host, url.port


async def _head(reader: Reader) -> Head:
    """The head of the final answer, after any 1xx ones."""
    room = HEAD_BYTES
    while True:
        lines: list[bytes] = []
        while True:
            try:
                line = await reader.line(room)
            except asyncio.IncompleteReadError as problem:
                if not lines and not problem.partial:
                    raise NoAnswer("the connection ended without an answer") from None
                began = (lines or [problem.partial])[0][:60]
                raise BadAnswer(f"the connection ended within the head: {began!r} ...") from None
            room -= len(line)
            if line.strip():
                lines.append(line)
            elif lines:  # an empty line before the first one is passed over
                break
        head = head_of(lines)
        if head.status >= 200:
            return head


@lru_cache
def _tls(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
