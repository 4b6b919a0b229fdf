"""Host names to addresses: each name asked for once, many at a time, and a dead name server holds up nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from curate.download.address import AddressRefused, Network, is_allowed

#: (family, type, protocol, name, socket address), as getaddrinfo gives it; the port is 0.
AddressInfo = tuple[Any, int, int, str, tuple[Any, ...]]

#: Threads that wait for name servers at most. One that outlasts its lookup's deadline lives on until the system's own.
THREADS = 512


class DNSError(OSError):
    """The host has no address, or no name server answered in time."""


class Resolver:
    """Addresses of hosts that a fetch may connect to, remembered for as long as the object lives, failures too.

    A lookup has a deadline of its own, which runs from the moment when a thread is free for it: however many names
    hang, none runs down the time of another.
    """

    def __init__(self, allowed: Sequence[Network], seconds: float) -> None:
        self._allowed, self._seconds = allowed, seconds
        self._known: dict[str, asyncio.Task[list[AddressInfo]]] = {}
        self._threads = asyncio.Semaphore(THREADS)

    async def lookup(self, host: str) -> list[AddressInfo]:
        """
        Raises:
            DNSError: for a name without an address.
            AddressRefused: when none of its addresses is public or was allowed.
        """
        if host not in self._known:
            self._known[host] = asyncio.create_task(self._ask(host))
            self._known[host].add_done_callback(_looked_at)
        # Shielded: others may wait for the same name when the row that asked first runs out of time.
        return await asyncio.shield(self._known[host])

    async def close(self) -> None:
        for task in self._known.values():
            task.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)

    async def _ask(self, host: str) -> list[AddressInfo]:
        infos = _literal(host) or await self._in_thread(host)
        public = [info for info in infos if is_allowed(str(info[4][0]), self._allowed)]
        if not public:
            raise AddressRefused
        return public

    async def _in_thread(self, host: str) -> list[AddressInfo]:
        def ask() -> list[AddressInfo]:
            flags = socket.AI_ADDRCONFIG
            return list(socket.getaddrinfo(host, 0, socket.AF_UNSPEC, socket.SOCK_STREAM, flags=flags))

        await self._threads.acquire()
        try:
            return await asyncio.wait_for(_threaded(ask, self._threads.release), self._seconds)
        except asyncio.TimeoutError:
            raise DNSError(f"{host}: no name server answered within {self._seconds:g} s") from None
        except (OSError, UnicodeError) as problem:
            raise DNSError(f"{host}: {problem}") from None


def _literal(host: str) -> list[AddressInfo]:
    """The address that a host itself is; empty for a name."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return []
    if address.version == 4:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (str(address), 0))]
    return [(socket.AF_INET6, socket.SOCK_STREAM, 0, "", (str(address), 0, 0, 0))]


def _threaded(ask: Callable[[], list[AddressInfo]], after: Callable[[], None]) -> asyncio.Future[list[AddressInfo]]:
    """The answer of a daemon thread: unlike a pool's, it keeps no process from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[AddressInfo]] = loop.create_future()

    def settle(infos: list[AddressInfo] | None, problem: Exception | None) -> None:
        after()
        if not answer.done():
            if infos is None:
                answer.set_exception(problem or OSError("no answer"))
            else:
                answer.set_result(infos)

    def work() -> None:
        infos, problem = None, None
        try:
            infos = ask()
        except Exception as error:  # noqa: BLE001 - handed on
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, infos, problem)

    threading.Thread(target=work, name="dns", daemon=True).start()
    return answer


def _looked_at(task: asyncio.Task[list[AddressInfo]]) -> None:
    """Without this, a failed lookup that nobody waits for any more is reported on the terminal."""
    if not task.cancelled():
        task.exception()
