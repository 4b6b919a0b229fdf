"""A real server on loopback for tests of fetching: it counts what it is asked for, and misbehaves when asked to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from curate.download.desk import Desk
from curate.download.fetch import Fetched, FetchOptions, fetch
from curate.download.statuses import STATUS

PICTURE = bytes(range(256)) * 40
LOOPBACK = ("127.0.0.0/8", "::1/128")
MEGABYTE = bytes(1_000_000)
#: Asked for the addresses of hosts by all that `build` and `get` make; the system's when there are none.
NAMESERVERS: list[str] = []


class Server:
    """Answers in a thread of its own; counts requests by path, bytes sent, and requests at once."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.headers: dict[str, str] = {}
        self.always_busy = False
        self.robots_file: str | None = None
        self.robots_status = 404
        self.robots_asked = 0
        self.sent = self.now = self.most = 0
        self.now_at: Counter[str] = Counter()
        self.most_at: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        await web.TCPSite(self._runner, "127.0.0.2", self.port).start()  # another machine, as far as turns go
        self.url = f"http://127.0.0.1:{self.port}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if path == "robots.txt":
            return await self._robots(request)
        self.asked[path] += 1
        self.times[path].append(time.monotonic())
        self.headers = dict(request.headers)
        self.now += 1
        self.most = max(self.most, self.now)
        host = str(request.host).partition(":")[0]
        self.now_at[host] += 1
        self.most_at[host] = max(self.most_at[host], self.now_at[host])
        try:
            kind, _, rest = path.partition("/")
            answer: web.StreamResponse = await getattr(self, f"do_{kind}")(request, rest)
            return answer
        finally:
            self.now -= 1
            self.now_at[host] -= 1

    async def _robots(self, request: web.Request) -> web.StreamResponse:
        self.robots_asked += 1
        if self.robots_file is None:
            return web.Response(status=self.robots_status)
        return web.Response(text=self.robots_file)

    async def do_ok(self, request: web.Request, rest: str) -> web.StreamResponse:
        return web.Response(body=PICTURE, content_type="image/jpeg")

    async def do_code(self, request: web.Request, rest: str) -> web.StreamResponse:
        return web.Response(status=int(rest), text="no")

    async def do_busy(self, request: web.Request, rest: str) -> web.StreamResponse:
        if self.asked["busy/" + rest] > 1 and not self.always_busy:
            return web.Response(body=PICTURE)
        return web.Response(status=429, headers={"Retry-After": rest})

    async def do_refuse(self, request: web.Request, rest: str) -> web.StreamResponse:
        return web.Response(status=int(rest), headers={"Retry-After": request.query["after"]})

    async def do_other(self, request: web.Request, rest: str) -> web.StreamResponse:
        return web.Response(body=PICTURE)

    async def do_wait(self, request: web.Request, rest: str) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        return web.Response(body=PICTURE)

    async def do_drip(self, request: web.Request, rest: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"x")
            await asyncio.sleep(0.05)
        return response

    async def do_declared(self, request: web.Request, rest: str) -> web.StreamResponse:
        return await self._stream(request, {"Content-Length": "300000000"})

    async def do_megabytes(self, request: web.Request, rest: str) -> web.StreamResponse:
        """So many megabytes, each of another byte than the ones before."""
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(int(rest.partition("/")[0])):
            await response.write(bytes([number]) * len(MEGABYTE))
        return response

    async def do_streamed(self, request: web.Request, rest: str) -> web.StreamResponse:
        return await self._stream(request, {})

    async def _stream(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        self.sent = 0
        for _ in range(300):
            await response.write(MEGABYTE)
            self.sent += len(MEGABYTE)
        return response

    async def do_short(self, request: web.Request, rest: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        assert request.transport is not None
        request.transport.close()
        return response

    async def do_empty(self, request: web.Request, rest: str) -> web.StreamResponse:
        return web.Response(body=b"")

    async def do_to(self, request: web.Request, rest: str) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": request.query["to"]})

    async def do_hops(self, request: web.Request, rest: str) -> web.StreamResponse:
        target = f"/hops/{int(rest) - 1}" if rest != "1" else "/ok"
        return web.Response(status=301, headers={"Location": target})

    async def do_with(self, request: web.Request, rest: str) -> web.StreamResponse:
        headers = CIMultiDict(map(tuple, json.loads(request.query["headers"])))
        return web.Response(body=PICTURE, headers=headers)

    async def do_odd(self, request: web.Request, rest: str) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: \xff\xfe\r\nContent-Length: 1\r\n\r\nx")
        request.transport.close()
        return web.Response()

    async def do_garbage(self, request: web.Request, rest: str) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"\x00\x01 this is not HTTP\r\n\r\n")
        request.transport.close()
        return web.Response()

    async def do_echo(self, request: web.Request, rest: str) -> web.StreamResponse:
        return web.Response(body=request.raw_path.encode())

    async def do_large(self, request: web.Request, rest: str) -> web.StreamResponse:
        return web.Response(body=MEGABYTE)


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    running = Server()
    running.start()
    try:
        yield running
    finally:
        running.stop()


def build(**options: Any) -> FetchOptions:
    return FetchOptions.model_validate(
        {"allow_private_addresses": LOOPBACK, "timeout_seconds": 5, "nameservers": NAMESERVERS} | options
    )


def get(*urls: Any, desk: Desk | None = None, **options: Any) -> list[Fetched]:
    """What came of each row; each exactly once."""

    async def collect() -> dict[int, Fetched]:
        found: dict[int, Fetched] = {}
        async for row, fetched in fetch(urls, build(**options), desk):
            assert row not in found
            found[row] = fetched
        return found

    found = asyncio.run(collect())
    assert sorted(found) == list(range(len(urls)))
    for fetched in found.values():
        assert fetched.status in STATUS or fetched.status[:5] == "http_"
        assert (fetched.body is not None) == (fetched.status == "success")
        assert (fetched.error is None) == (fetched.status == "success")
    return [found[row] for row in range(len(urls))]
