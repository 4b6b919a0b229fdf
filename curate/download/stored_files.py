"""Rows whose url is a file: in an object store, or under a folder, where the user has named that file system.

A list from the web must never make a crawler read its own disk. So nothing is read here without `allow_filesystems`; of
the local disk only what lies, links followed, under one of `file_roots`; and a url has one protocol, no chain of them.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fsspec

from curate.alike.web_url import without_blanks
from curate.download.attempt import Fetched, storable
from curate.download.backoff import seconds_to_wait
from curate.download.file_faults import Refused, status_of
from curate.download.options import FILE, FetchOptions

#: Files that are read at the same time; each is in memory whole.
AT_ONCE = 8


def protocol_of(text: str | None, options: FetchOptions) -> str | None:
    """The file system of a row's url; None where it is none that the user named.

    >>> named = FetchOptions(allow_filesystems=("s3", "file"), file_roots=("/data",))
    >>> protocol_of("s3://bucket/a.jpg", named), protocol_of("/etc/passwd", named), protocol_of("gs://b/a.jpg", named)
    ('s3', 'file', None)
    """
    if not options.allow_filesystems or not isinstance(text, str):
        return None
    url = without_blanks(text)
    head, mark, _ = url.partition("://")
    protocol = head.lower() if mark else FILE if url.startswith("/") and not url.startswith("//") else ""
    return protocol if protocol in options.allow_filesystems else None


async def read_files(
    files: Mapping[str, Sequence[int]], options: FetchOptions
) -> AsyncGenerator[tuple[int, Fetched], None]:
    """Yield (row, Fetched) once for every row of the files, in any order."""
    loop = asyncio.get_running_loop()
    waiting, running = list(files)[::-1], dict[asyncio.Future[Fetched], str]()
    pool = ThreadPoolExecutor(min(AT_ONCE, options.concurrency))
    try:
        while waiting or running:
            while waiting and len(running) < min(AT_ONCE, options.concurrency):
                url = waiting.pop()
                running[asyncio.ensure_future(_read(url, options, loop, pool))] = url
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                url = running.pop(future)
                for row in files[url]:
                    yield row, future.result()
    finally:
        for future in running:
            future.cancel()
        # A read that hangs is not waited for: its row has its status.
        pool.shutdown(wait=False, cancel_futures=True)


async def _read(url: str, options: FetchOptions, loop: asyncio.AbstractEventLoop, pool: ThreadPoolExecutor) -> Fetched:
    """One file, with the attempts that a passing failure is worth."""
    attempts, seconds = 0, 0.0
    while True:
        attempts, began = attempts + 1, time.perf_counter()
        status, problem, body = await _attempt(url, options, loop, pool)
        seconds += time.perf_counter() - began
        wait = seconds_to_wait(url, attempts, first=options.backoff_seconds, longest=options.max_backoff_seconds)
        if not _passes(status) or attempts > options.retries or wait is None:
            retrieved = time.time() if body is not None else None
            return Fetched(
                status,
                storable(problem),
                body,
                seconds=seconds,
                final_url=storable(url),
                attempts=attempts,
                retrieved=retrieved,
            )
        await asyncio.sleep(wait)


def _passes(status: str) -> bool:
    return status in ("timeout", "connect", "http_429") or status.startswith("http_5")


async def _attempt(
    url: str, options: FetchOptions, loop: asyncio.AbstractEventLoop, pool: ThreadPoolExecutor
) -> tuple[str, str | None, bytes | None]:
    try:
        return "success", None, await asyncio.wait_for(_body(url, options, loop, pool), options.timeout_seconds)
    except asyncio.TimeoutError:
        return "timeout", f"not read within {options.timeout_seconds:g} s", None
    except Exception as problem:  # noqa: BLE001 - object stores have error classes of their own
        return *status_of(problem), None


async def _body(url: str, options: FetchOptions, loop: asyncio.AbstractEventLoop, pool: ThreadPoolExecutor) -> bytes:
    """The bytes of a file: of this machine in a thread, of an object store on its library's event loop, where what
    takes too long is cancelled and holds up no other."""
    protocol = _protocol(url, options)
    if protocol == FILE:
        return await loop.run_in_executor(pool, functools.partial(body_of, url, options))
    # Its credentials are looked for when it is made.
    fs = await loop.run_in_executor(pool, functools.partial(fsspec.filesystem, protocol))
    if not getattr(fs, "async_impl", False):
        return await loop.run_in_executor(pool, functools.partial(body_of, url, options))
    reading = asyncio.run_coroutine_threadsafe(_object(fs, str(fs._strip_protocol(url)), options), fs.loop)
    return await asyncio.wrap_future(reading)


async def _object(fs: Any, path: str, options: FetchOptions) -> bytes:
    size = _size(await fs._info(path), options)
    return _whole(bytes(await fs._cat_file(path, start=0, end=size)), size)


def body_of(url: str, options: FetchOptions) -> bytes:
    """The bytes of a file.

    Raises:
        Refused: when it may not be read, is none, is empty, too large, or changed meanwhile.
        OSError, and errors of the file system's own.
    """
    protocol = _protocol(url, options)
    fs = fsspec.filesystem(protocol)
    path = str(fs._strip_protocol(url))
    if protocol == FILE:
        path = _under_a_root(path, options.file_roots)
    size = _size(fs.info(path), options)
    return _whole(bytes(fs.cat_file(path, start=0, end=size)), size)


def _protocol(url: str, options: FetchOptions) -> str:
    protocol = protocol_of(url, options)
    if protocol is None:
        raise Refused("bad_url", f"{url!r:.200}: allow_filesystems does not name its file system")
    return protocol


def _size(about: Mapping[str, Any], options: FetchOptions) -> int:
    """The bytes of a file, by what its file system says of it."""
    size = about.get("size")
    if about.get("type") != "file":
        raise Refused("no_file", "a folder, or no plain file")
    if not size:
        raise Refused("empty", "the file has no bytes")
    if size > options.max_bytes:
        raise Refused("too_large", f"{size} bytes, more than max_bytes {options.max_bytes}")
    return int(size)


def _whole(body: bytes, size: int) -> bytes:
    if len(body) < size:
        raise Refused("truncated", f"{len(body)} of {size} bytes")
    return body


def _under_a_root(path: str, roots: Sequence[str]) -> str:
    """Where a local file is, links followed.

    Raises:
        Refused: when that is outside of the roots.
    """
    real = os.path.realpath(path)
    for root in map(os.path.realpath, roots):
        if os.path.commonpath([real, root]) == root:
            return real
    raise Refused("address_refused", f"{path!r:.200}: outside of file_roots")
