"""Host names to addresses: each name asked for once, many at a time, and a dead name server holds up nobody else."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from curate.download.address import AddressRefused, Network, is_allowed
from curate.download.lookups import AddressInfo, Ares, DNSError, Threads
from curate.messages.packages import missing

__all__ = ["AddressInfo", "DNSError", "Resolver"]


class Resolver:
    """Addresses of hosts that a fetch may connect to, remembered for as long as the object lives, failures too.

    seconds: that a name server has for each name, however many are asked for. nameservers: instead of the system's,
    each as `address` or `address:port`.
    """

    def __init__(self, allowed: Sequence[Network], seconds: float, nameservers: Sequence[str] = ()) -> None:
        self._allowed, self._seconds = allowed, seconds
        self._known: dict[str, asyncio.Task[list[AddressInfo]]] = {}
        self._names: Ares | Threads = Threads() if missing(["aiodns"]) else Ares(nameservers)

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
        await self._names.close()

    async def _ask(self, host: str) -> list[AddressInfo]:
        infos = _literal(host) or await self._names.ask(host, self._seconds)
        public = [info for info in infos if is_allowed(str(info[4][0]), self._allowed)]
        if not public:
            raise AddressRefused
        return public


def _literal(host: str) -> list[AddressInfo]:
    """The address that a host itself is; empty for a name."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return []
    if address.version == 4:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (str(address), 0))]
    return [(socket.AF_INET6, socket.SOCK_STREAM, 0, "", (str(address), 0, 0, 0))]


def _looked_at(task: asyncio.Task[list[AddressInfo]]) -> None:
    """Without this, a failed lookup that nobody waits for any more is reported on the terminal."""
    if not task.cancelled():
        task.exception()
