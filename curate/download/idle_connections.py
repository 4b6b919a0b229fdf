"""Connections that are kept from an answer to the next request at the same place, for a moment and not many."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from curate.download.reader import Reader

#: Seconds that an idle connection is kept, less than servers commonly do (5), and how many are, the latest: sockets of
#: thousands of hosts would use up the file descriptors.
IDLE_SECONDS, MOST_IDLE = 4.0, 256

#: Scheme, host, port.
Place = tuple[str, str, int]


@dataclass
class Connection:
    """An open connection, to write to by its transport and to read from."""

    reader: Reader
    transport: asyncio.Transport

    def has_ended(self) -> bool:
        """Whether the other side has closed it, or has sent what would pass for the next row's answer."""
        return self.reader.has_more() or self.transport.is_closing()


@dataclass
class _Idle:
    since: float
    place: Place
    connection: Connection


class IdleConnections:
    """Connections of servers that said `Connection: keep-alive`."""

    def __init__(self) -> None:
        self._idle: deque[_Idle] = deque()

    def keep(self, place: Place, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end."""
        if connection.has_ended():
            connection.transport.abort()
        else:
            self._idle.append(_Idle(time.monotonic(), place, connection))
        self._close_old()

    def take(self, place: Place) -> Connection | None:
        """A connection that is open as far as this side knows."""
        self._close_old()
        idle = next((one for one in reversed(self._idle) if one.place == place), None)
        if idle is None:
            return None
        self._idle.remove(idle)
        if idle.connection.has_ended():
            idle.connection.transport.abort()
            return None
        return idle.connection

    def close(self) -> None:
        for idle in self._idle:
            idle.connection.transport.abort()
        self._idle.clear()

    def _close_old(self) -> None:
        while self._idle and (len(self._idle) > MOST_IDLE or self._idle[0].since < time.monotonic() - IDLE_SECONDS):
            self._idle.popleft().connection.transport.abort()
