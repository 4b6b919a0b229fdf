"""An aiohttp session fit for fetching strangers' URLs: guarded addresses, no proxies, no cookies, no queues inside."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from curate.web.address import Network, guarded_socket


class _Resolver(AbstractResolver):
    """getaddrinfo with a thread for every URL in flight.

    The event loop's own pool has as few as five threads: a handful of dead name servers would fill it, and the
    deadline of every other row would run out in the queue.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        ask = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._pool, ask)
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=flags)
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def http_session(
    *, user_agent: str, allowed: Sequence[Network] = (), verify_tls: bool = True, dns_threads: int = 64
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session without limits or deadlines of its own: the caller has exact ones.

    A connector's queue (per host or in all) would run a row's deadline down while it waits.
    """
    resolver = _Resolver(dns_threads)
    connector = aiohttp.TCPConnector(
        resolver=resolver,
        socket_factory=guarded_socket(allowed),
        limit=0,
        keepalive_timeout=1,  # idle sockets of thousands of hosts would use up the file descriptors
        ttl_dns_cache=60,
        ssl=verify_tls,
    )
    # identity: images are compressed already, and a size limit and the declared length then mean the same bytes.
    headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=None)
    jar = aiohttp.DummyCookieJar()
    try:
        async with aiohttp.ClientSession(
            connector=connector, headers=headers, timeout=timeout, cookie_jar=jar, trust_env=False
        ) as session:
            yield session
    finally:
        await resolver.close()
