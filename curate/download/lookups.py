"""The two ways to ask for the addresses of a name: c-ares, whose lookups cost nothing while they wait, and threads.

Measured with a name server that never answers for 1,000 names and answers at once for 1,000 others, asked for together
(benchmarks/download.py --names): c-ares has the living ones after 0.6 to 2 s, threads after 11 s, since each dead name
keeps one of 512 for ten seconds; c-ares ends everything after 10 to 12 s, threads after 21 s, and with threads that
outlive their lookups. Both read /etc/hosts, search domains and IPv6; what else nsswitch.conf may name (mDNS, LDAP) only
the system's own resolver asks, which threads call. c-ares asks again more often: a dead name costs 12 packets, not 4.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

#: (family, type, protocol, name, socket address), as getaddrinfo gives it; the port is 0.
AddressInfo = tuple[Any, int, int, str, tuple[Any, ...]]

#: Threads that wait for name servers at most. One that outlasts its lookup's deadline lives on until the system's own.
THREADS = 512
#: c-ares waits at first as long as this many answers took on average, a quarter of a second at least, twice as long
#: each further time: so many times, it has waited 15 s.
TRIES = 6


class DNSError(OSError):
    """The host has no address, or no name server answered in time."""


class Ares:
    """aiodns, of one event loop. nameservers: instead of the system's, each as `address` or `address:port`."""

    def __init__(self, nameservers: Sequence[str] = ()) -> None:
        import aiodns

        self._resolver = aiodns.DNSResolver(nameservers=nameservers or None, timeout=5.0, tries=TRIES)
        self._error = aiodns.error.DNSError
        self._no_answer = aiodns.error.ARES_ETIMEOUT

    async def ask(self, host: str, seconds: float) -> list[AddressInfo]:
        """
        Raises:
            DNSError: for a name without an address.
        """
        try:
            answer = self._resolver.getaddrinfo(host, socket.AF_UNSPEC, port=0, type=socket.SOCK_STREAM)
            return [_info(node) for node in (await _within(answer, host, seconds)).nodes]
        except self._error as problem:
            if problem.args[0] == self._no_answer:
                raise _no_answer(host, seconds) from None
            raise DNSError(f"{host}: {problem.args[-1]}") from None
        except UnicodeError as problem:
            raise DNSError(f"{host}: {problem}") from None

    async def close(self) -> None:
        await self._resolver.close()


class Threads:
    """The system's getaddrinfo, in threads. The deadline of a lookup runs from the moment when one is free."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(THREADS)

    async def ask(self, host: str, seconds: float) -> list[AddressInfo]:
        """As Ares does."""

        def ask() -> list[AddressInfo]:
            flags = socket.AI_ADDRCONFIG
            return list(socket.getaddrinfo(host, 0, socket.AF_UNSPEC, socket.SOCK_STREAM, flags=flags))

        await self._free.acquire()
        try:
            infos: list[AddressInfo] = await _within(_threaded(ask, self._free.release), host, seconds)
            return infos
        except DNSError:
            raise
        except (OSError, UnicodeError) as problem:
            raise DNSError(f"{host}: {problem}") from None

    async def close(self) -> None:
        pass


async def _within(answer: asyncio.Future[Any], host: str, seconds: float) -> Any:
    """Not `asyncio.wait_for`: in Python 3.10 and 3.11 it loses a cancellation that comes as the answer does."""
    try:
        done, _ = await asyncio.wait([answer], timeout=seconds)
    finally:
        if not answer.done():
            answer.cancel()
    if not done:
        raise _no_answer(host, seconds)
    return answer.result()


def _no_answer(host: str, seconds: float) -> DNSError:
    return DNSError(f"{host}: no name server answered within {seconds:g} s")


def _info(node: Any) -> AddressInfo:
    address = node.addr[0].decode()
    place = (address, 0, 0, 0) if node.family == socket.AF_INET6 else (address, 0)
    return (socket.AddressFamily(node.family), socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place)


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
