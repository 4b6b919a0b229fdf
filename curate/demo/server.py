"""A small web server for a demo pool, on this machine only: it serves pictures, and the troubles of the real web."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

_HOST = "127.0.0.1"
_DRIP_SECONDS, _DRIP_EVERY_SECONDS = 60.0, 0.5
_LARGE_BYTES = 24 * 1024 * 1024
_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
_PAGE = b"<!doctype html><html><head><title>Gone away</title></head><body><p>Please log in.</p></body></html>"
# Status, headers and body of the answers that need no file.
_MADE_UP: dict[str, tuple[int, dict[str, str], bytes]] = {
    "404": (404, {"Content-Type": "text/plain"}, b"not found"),
    "410": (410, {"Content-Type": "text/plain"}, b"gone"),
    "500": (500, {"Content-Type": "text/plain"}, b"server error"),
    "empty": (200, {"Content-Type": "image/jpeg"}, b""),
    "html": (200, {"Content-Type": "text/html"}, _PAGE),
    "html-as-jpeg": (200, {"Content-Type": "image/jpeg"}, _PAGE),
    "redirect-metadata": (302, {"Location": "http://169.254.169.254/latest/meta-data/"}, b""),
    "redirect-file": (302, {"Location": "file:///etc/passwd"}, b""),
}

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.contextmanager
def serve(folder: str | Path, port: int = 0, *, delay_seconds: float = 0.0) -> Iterator[str]:
    """Serves the pool of `folder` from a thread while the block runs, and gives its base url; port 0 finds a free port.

    The first part of a url's path says how the server behaves, the rest names a file below `folder/files`; files are
    looked up when they are asked for, so the pool may be built after the server has started. Every answer waits
    `delay_seconds` first. Raises OSError where the port is taken.

    - `ok`, `noai` (forbids use for AI in a header), `redirect` (to `ok`), `slow` (drips for a minute)
    - `truncated` (half a file, said to be whole), `cut` (whole file announced, half sent), `empty`
    - `404`, `410`, `500`, `html`, `html-as-jpeg`, `large` and `large-declared` (24 MB without and with a length)
    - `redirect-metadata`, `redirect-file` (to places that no crawler should go)
    """
    site = _Site(Path(folder), delay_seconds)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="demo web server", daemon=True)
    thread.start()
    try:
        bound = asyncio.run_coroutine_threadsafe(site.start(port), loop).result()
        yield f"http://{_HOST}:{bound}"
    finally:
        asyncio.run_coroutine_threadsafe(site.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def stats(base_url: str) -> dict[str, Any]:
    """What the server at `base_url` was asked for so far.

    `requests` and `max_concurrent` over all, and the same two for each path under `paths`; a request counts as running
    until its last byte is sent or its client leaves.
    """
    with urllib.request.urlopen(f"{base_url}/_stats", timeout=10) as answer:
        counted: dict[str, Any] = json.load(answer)
    return counted


class _Count:
    def __init__(self) -> None:
        self.requests = self.max_concurrent = self._running = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.requests += 1
        self._running += 1
        self.max_concurrent = max(self.max_concurrent, self._running)
        try:
            yield
        finally:
            self._running -= 1

    def plain(self) -> dict[str, int]:
        return {"requests": self.requests, "max_concurrent": self.max_concurrent}


class _Site:
    def __init__(self, folder: Path, delay_seconds: float) -> None:
        self._files = (folder / "files").resolve()
        self._delay_seconds = delay_seconds
        self._all, self._paths = _Count(), dict[str, _Count]()
        app = web.Application(middlewares=[self._counted])
        app.router.add_get("/_stats", self._stats)
        app.router.add_get("/{behaviour}/{name:.+}", self._answer)
        # Without handler_cancellation a drip would go on for a minute after its client has left.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.2)

    async def start(self, port: int) -> int:
        await self._runner.setup()
        await web.TCPSite(self._runner, _HOST, port).start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response({**self._all.plain(), "paths": {p: c.plain() for p, c in self._paths.items()}})

    @web.middleware
    async def _counted(self, request: web.Request, handler: Handle) -> web.StreamResponse:
        if request.path == "/_stats":
            return await handler(request)
        with self._all.running(), self._paths.setdefault(request.path, _Count()).running():
            await asyncio.sleep(self._delay_seconds)
            return await handler(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        behaviour, name = request.match_info["behaviour"], request.match_info["name"]
        if behaviour in _MADE_UP:
            status, headers, body = _MADE_UP[behaviour]
            return web.Response(status=status, headers=headers, body=body)
        if behaviour == "redirect":
            return web.Response(status=302, headers={"Location": f"/ok/{name}"})
        if behaviour in ("large", "large-declared"):
            return await _large(request, declared=behaviour == "large-declared")
        path = (self._files / name).resolve()
        if not path.is_relative_to(self._files) or not path.is_file():
            return web.Response(status=404, text="no such file\n")
        return await _picture(request, behaviour, path)


async def _picture(request: web.Request, behaviour: str, path: Path) -> web.StreamResponse:
    data, kind = path.read_bytes(), _TYPES.get(path.suffix, "application/octet-stream")
    half = data[: len(data) // 2]
    if behaviour in ("ok", "noai"):
        headers = {"X-Robots-Tag": "noai"} if behaviour == "noai" else {}
        return web.Response(body=data, content_type=kind, headers=headers)
    if behaviour == "truncated":
        return web.Response(body=half, content_type=kind)
    if behaviour == "slow":
        return await _stream(request, kind, _drip(data), length=len(data))
    if behaviour == "cut":
        response = await _stream(request, kind, _whole(half), length=len(data))
        if request.transport is not None:
            request.transport.close()
        return response
    return web.Response(status=404, text="no such behaviour\n")


async def _large(request: web.Request, *, declared: bool) -> web.StreamResponse:
    chunk = bytes(64 * 1024)

    async def blocks() -> AsyncIterator[bytes]:
        yield b"\xff\xd8\xff\xe0" + chunk[4:]
        for _ in range(_LARGE_BYTES // len(chunk) - 1):
            yield chunk

    return await _stream(request, "image/jpeg", blocks(), length=_LARGE_BYTES if declared else None)


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _drip(data: bytes) -> AsyncIterator[bytes]:
    step = max(1, round(len(data) * _DRIP_EVERY_SECONDS / _DRIP_SECONDS))
    end = time.monotonic() + _DRIP_SECONDS
    for start in range(0, len(data), step):
        if time.monotonic() > end:
            yield data[start:]
            return
        yield data[start : start + step]
        await asyncio.sleep(_DRIP_EVERY_SECONDS)


async def _stream(
    request: web.Request, content_type: str, blocks: AsyncIterator[bytes], *, length: int | None
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type})
    response.content_length = length
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # the client has had enough
        async for block in blocks:
            await response.write(block)
    return response


def main() -> None:
    """`python -m curate.demo.server FOLDER --port N`: serves until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m curate.demo.server", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="folder of a pool made by curate.demo.pool.build")
    parser.add_argument("--port", type=int, default=8765, help="port on 127.0.0.1; 0 finds a free one (default 8765)")
    parser.add_argument("--delay-seconds", type=float, default=0.0, help="wait before every answer (default 0)")
    options = parser.parse_args()
    server = serve(options.folder, options.port, delay_seconds=options.delay_seconds)
    with contextlib.suppress(KeyboardInterrupt), server as base_url:
        print(f"serving {options.folder} at {base_url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
