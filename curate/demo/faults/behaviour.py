"""How each kind of row, and each robots.txt, is answered."""

from __future__ import annotations

import asyncio
import email.utils
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from curate.demo.faults.answers import BOMBS, BROKEN, CHUNKED, ODD, OK, bomb, code, plain, redirect
from curate.demo.faults.books import Books
from curate.demo.faults.kinds import KINDS
from curate.demo.faults.sites import MOVED, SORTS, UNBOUND, Site
from curate.demo.faults.web import Web

if TYPE_CHECKING:
    from curate.demo.faults.server import Line

_KEEP = b"Connection: keep-alive\r\n"
#: Seconds that pictures of a slow host, and all others, take.
SLOW_SECONDS, SOON_SECONDS = 0.15, 0.005
SLOW = ("slow", "shared", "pausing", "pausing_by_date", "long_pause")
DRIP_SECONDS = 0.5
PAUSE_SECONDS, LONG_SECONDS = 6, 3600
#: Requests that a pausing site answers before it asks for its pause.
BEFORE_PAUSE = 1
LARGE_BYTES, _BLOCK = 1_000_000_000, bytes(256 * 1024)


class Behaviour:
    """Called with a connection, the site and the path that were asked for."""

    def __init__(self, web: Web, bodies: Mapping[tuple[str, int], bytes], books: Books) -> None:
        for coding in BOMBS:
            bomb(coding)  # before anybody waits for an answer
        self._web, self._bodies, self._books = web, bodies, books
        self._asked: Counter[str] = Counter()
        self._other = web.of_sort("robots_star")[0].host
        self._special: dict[str, Callable[[Line, Site, int], Awaitable[bool]]] = {
            "silent": _nothing,
            "drip": _drip,
            "header_drip": _header_drip,
            "header_flood": _header_flood,
            "large_declared": _large_declared,
            "large": _large,
            "large_chunked": _large_chunked,
        }

    async def answer(self, line: Line, site: Site, path: str) -> bool:
        """Whether the connection stays for another request."""
        if path == "/robots.txt":
            return await self._robots(line, site)
        if path == "/moved/robots.txt":
            line.send(MOVED)
            return False
        kind, _, rest = path[1:].partition("/")
        number = int(rest.partition(".")[0].rpartition("/")[2] or 0)
        await asyncio.sleep(SLOW_SECONDS if site.sort in SLOW else SOON_SECONDS)
        if kind in self._special:
            return await self._special[kind](line, site, number)
        stays = kind in ("ok", "slow", "shared") and number % 2 == 0
        line.send(self._wire(site, kind, rest, number, _KEEP if stays else b""))
        return stays

    async def _robots(self, line: Line, site: Site) -> bool:
        if site.sort == "robots_silent":
            return await _nothing(line, site, 0)
        robots = SORTS[site.sort].robots
        line.send(robots(self._web.port, self._other) if robots else code(404))
        return False

    def _wire(self, site: Site, kind: str, rest: str, number: int, headers: bytes) -> bytes:
        if kind.startswith("redirect_") or kind in ("redirect", "hop"):
            return redirect(self._target(kind, rest, number), (301, 302, 303, 307, 308)[number % 5])
        if kind not in KINDS:
            return plain(self._bodies["redirect", number]) if kind == "landed" else code(404)
        if refusal := self._pause(site) or self._failure(site, kind, number):
            return refusal
        data = self._bodies[kind, number]
        if kind in BROKEN:
            return BROKEN[kind][2](data)
        if kind.startswith("odd_"):
            return ODD[kind.removeprefix("odd_")][1](data)
        return plain(data, headers)

    def _failure(self, site: Site, kind: str, number: int) -> bytes | None:
        key = f"{site.host}/{kind}/{number}"
        self._asked[key] += 1
        return code(503) if self._asked[key] <= KINDS[kind].fails else None

    def _target(self, kind: str, rest: str, number: int) -> str:
        plains = self._web.of_sort("plain")
        place = f"http://{{}}:{self._web.port}/landed/{number}.jpg"
        if kind in ("redirect_thrice", "redirect_long"):
            return f"/hop/{2 if kind == 'redirect_thrice' else 6}/{number}"
        if kind == "hop":
            hops = int(rest.partition("/")[0]) - 1
            return f"/hop/{hops}/{number}" if hops else f"/landed/{number}.jpg"
        targets = {
            "redirect": f"/landed/{number}.jpg",
            "redirect_away": place.format(plains[number % len(plains)].host),
            "redirect_loop": f"/redirect_loop/{rest}",
            "redirect_metadata": "http://169.254.169.254/latest/meta-data/",
            "redirect_loopback": place.format("127.0.0.1"),
            "redirect_file": "file:///etc/passwd",
            "redirect_forbidden": place.format(self._other),
            "redirect_refused": place.format(self._web.of_sort(UNBOUND)[0].host),
        }
        return targets[kind]

    def _pause(self, site: Site) -> bytes | None:
        """Once for each pausing site, after its first pictures; always where the pause is long."""
        self._asked[site.host] += 1
        if site.sort == "long_pause":
            if not self._books.is_paused(site.host):
                self._books.pause(site.host, LONG_SECONDS)
            return code(429, b"Retry-After: %d\r\n" % LONG_SECONDS)
        if site.sort not in ("pausing", "pausing_by_date") or self._asked[site.host] != BEFORE_PAUSE + 1:
            return None
        if site.sort == "pausing":
            self._books.pause(site.host, PAUSE_SECONDS)
            return code(429, b"Retry-After: %d\r\n" % PAUSE_SECONDS)
        until = int(time.time()) + PAUSE_SECONDS
        self._books.pause(site.host, until - time.time())
        return code(503, b"Retry-After: %b\r\n" % email.utils.formatdate(until, usegmt=True).encode())


async def _nothing(line: Line, site: Site, number: int) -> bool:
    await asyncio.Event().wait()
    return False


async def _drip(line: Line, site: Site, number: int) -> bool:
    await line.flow(OK + b"Content-Length: 1000000\r\n\r\n")
    for _ in range(1_000_000):
        await line.flow(b"x")
        await asyncio.sleep(DRIP_SECONDS)
    return False


async def _header_drip(line: Line, site: Site, number: int) -> bool:
    await line.flow(OK)
    for one in itertools.count():
        await line.flow(b"X-%d: y\r\n" % one)
        await asyncio.sleep(DRIP_SECONDS)
    return False


async def _header_flood(line: Line, site: Site, number: int) -> bool:
    await line.flow(OK)
    for one in itertools.count():
        await line.flow(b"X-%d: %b\r\n" % (one, b"y" * 10_000))
    return False


async def _large(line: Line, site: Site, number: int, head: bytes = b"", chunk: bytes = _BLOCK) -> bool:
    await line.flow(OK + head + b"\r\n")
    for _ in range(LARGE_BYTES // len(_BLOCK)):
        await line.flow(chunk)
    return False


async def _large_declared(line: Line, site: Site, number: int) -> bool:
    return await _large(line, site, number, b"Content-Length: %d\r\n" % LARGE_BYTES)


async def _large_chunked(line: Line, site: Site, number: int) -> bool:
    return await _large(line, site, number, CHUNKED, b"%x\r\n%b\r\n" % (len(_BLOCK), _BLOCK))
