"""The server of the fault web: all its hosts in one thread, bytes on sockets, so that any answer can be wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.demo.faults.answers import code, plain
from curate.demo.faults.behaviour import Behaviour
from curate.demo.faults.books import Books
from curate.demo.faults.names import Names
from curate.demo.faults.sites import ASTRAY, MUTE, RESET, UNBOUND, Site
from curate.demo.faults.web import Web, bodies

#: Bytes of a request's head that are taken.
_HEAD_BYTES = 64 * 1024
#: Seconds between two looks at whether the server gets its time.
LOOK_SECONDS = 0.05
#: Where the books are asked for; no site is at this address.
CONTROL, BOOKS = "127.0.0.1", "/_books"


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Books]:
    """Serves the web of a folder from a thread while the block runs.

    Raises:
        SystemExit: when its port is taken, or this system has no other loopback addresses than 127.0.0.1.
    """
    server = Server(Web.load(folder), bodies(folder))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fault web", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        yield server.books
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def books_of(port: int) -> dict[str, Any]:
    """The books of the web that is being served at a port.

    Raises:
        OSError: when none is.
    """
    with urllib.request.urlopen(f"http://{CONTROL}:{port}{BOOKS}", timeout=10) as answer:
        books: dict[str, Any] = json.load(answer)
    return books


class Server:
    def __init__(self, web: Web, files: Mapping[tuple[str, int], bytes]) -> None:
        self.web, self.books = web, Books()
        self.behaviour = Behaviour(web, files, self.books)
        self.by_host = {site.host: site for site in web.sites}
        self.names = Names({**ASTRAY, **{site.host: site.address for site in web.sites}})
        self.by_address = {site.address: site for site in web.sites}
        self._servers: list[asyncio.Server] = []
        self.lines: set[Line] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        bound = {site.address for site in self.web.sites if site.sort != UNBOUND}
        for address in (CONTROL, *sorted(bound)):
            try:
                server = await loop.create_server(lambda: Line(self), address, self.web.port, backlog=1024)
            except OSError as problem:
                raise SystemExit(
                    f"error: the fault web cannot listen at {address}:{self.web.port}: {problem}"
                ) from None
            self._servers.append(server)

        self._transport, _ = await loop.create_datagram_endpoint(lambda: self.names, (CONTROL, self.web.port))
        self._watch = loop.create_task(self._stands_still())

    async def _stands_still(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(LOOK_SECONDS)
            self.books.stood_still = max(self.books.stood_still, loop.time() - began - LOOK_SECONDS)

    def tree(self) -> dict[str, Any]:
        """The books, and `lookups`: how often each name was asked for, of any type of record."""
        return {**self.books.tree(), "lookups": dict(self.names.asked)}

    async def stop(self) -> None:
        self._watch.cancel()
        self._transport.close()
        for server in self._servers:
            server.close()
        for line in list(self.lines):
            line.drop()
        await asyncio.sleep(0)


class Line(asyncio.Protocol):
    """One connection: takes requests, and hands each to what answers it."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._bytes = b""
        self._task: asyncio.Task[None] | None = None
        self._end: Callable[[bool], None] = lambda answered: None
        self._whole = False
        self._room = asyncio.Event()
        self.host = ""

    # ---- what the loop calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=0)  # so that `resume_writing` means that all has been sent
        self._room.set()
        self._since: float | None = self._server.books.now()
        self._server.lines.add(self)
        self.address = str(transport.get_extra_info("sockname")[0])
        site = self._server.by_address.get(self.address)
        if site and site.sort == RESET:
            self.reset()

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        if self._task or self.transport.is_closing():
            return
        if self._bytes[:1] == b"\x16":  # the hello of TLS
            self.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            self.transport.close()
        elif b"\r\n\r\n" in self._bytes:
            head, _, self._bytes = self._bytes.partition(b"\r\n\r\n")
            self._asked(head.decode("latin-1"))
        elif len(self._bytes) > _HEAD_BYTES:
            self.reset()

    def eof_received(self) -> None:
        self._gone()

    def connection_lost(self, problem: Exception | None) -> None:
        self._gone()
        self._server.lines.discard(self)
        self._room.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()
        if self._whole:
            self._end(True)

    # ---- requests ----

    def _asked(self, head: str) -> None:
        path = head.split(" ", 2)[1]
        fields = (line.partition(":") for line in head.split("\r\n")[1:])
        host = next((value.strip().lower() for name, _, value in fields if name.lower() == "host"), "")
        self.host = host.rpartition(":")[0] or host
        if self.address == CONTROL and path == BOOKS:
            self.send(plain(json.dumps(self._server.tree()).encode()))
            self.transport.close()
            return
        site = self._server.by_host.get(self.host)
        if site is None or site.address != self.address:
            self._server.books.stray[f"{self.address} as {self.host}{path}"] += 1
            self.send(code(421))
            self.transport.close()
            return
        self._end = self._server.books.begin(self.host, self.address, path, self._since)
        self._since = None
        self._whole = False
        if site.sort != MUTE:
            self._task = asyncio.create_task(self._answer(site, path))

    async def _answer(self, site: Site, path: str) -> None:
        with contextlib.suppress(ConnectionError):
            stays = await self._server.behaviour.answer(self, site, path)
            self._whole = True
            if self._room.is_set():
                self._end(True)
            self._task = None
            if not stays:
                self.transport.close()
            elif self._bytes:
                self.data_received(b"")

    def _gone(self) -> None:
        self._end(False)
        if self._task:
            self._task.cancel()
            self._task = None

    # ---- what answers call ----

    def send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self._server.books.sent[self.host] += len(data)
            self.transport.write(data)

    async def flow(self, data: bytes) -> None:
        """Send, and wait until it was taken.

        Raises:
            ConnectionError: when the client has gone.
        """
        if self.transport.is_closing():
            raise ConnectionError
        self.send(data)
        await self._room.wait()

    def drop(self) -> None:
        self._gone()
        self.transport.abort()

    def reset(self) -> None:
        """End the connection so that the client sees an error."""
        raw: socket.socket = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop()
