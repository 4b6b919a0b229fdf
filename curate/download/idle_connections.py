"""Connections that are kept from an answer to the next request at the same place, for a moment and not many."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from curate.download.acknowledged import CAN_TELL
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
    sure: bool


class IdleConnections:
    """Servers that say `Connection: keep-alive` are believed. Others keep a connection by HTTP/1.1's default, or close
    it without a word: one request tries that at a place, and where it gets no answer none follows it. Where this
    machine cannot tell whether a request arrived, only a server's word counts."""

    def __init__(self) -> None:
        self._idle: deque[_Idle] = deque()
        #: By place whether it keeps connections of which it says nothing; None while a request tries that.
        self._keeps: dict[Place, bool | None] = {}

    def keep(self, place: Place, connection: Connection, sure: bool) -> None:
        """Keep a connection whose answer was read to its end; sure: the server says that it stays open."""
        may_stay = sure or (CAN_TELL and self._keeps.get(place, True) is not False)
        if may_stay and not connection.has_ended():
            self._idle.append(_Idle(time.monotonic(), place, connection, sure))
        else:
            connection.transport.abort()
        self._close_old()

    def take(self, place: Place) -> Connection | None:
        """A connection that is open as far as this side knows."""
        self._close_old()
        idle = next((one for one in reversed(self._idle) if one.place == place), None)
        if idle is None:
            return None
        self._idle.remove(idle)
        if idle.connection.has_ended() or not (idle.sure or self._keeps.get(place, True)):
            # Also while another request tries it: no more are open at a place than it has turns.
            idle.connection.transport.abort()
            return None
        if not idle.sure:
            self._keeps.setdefault(place, None)
        return idle.connection

    def note(self, place: Place, answered: bool | None) -> None:
        """How a request on a connection that was taken ended; answered: None where nobody knows."""
        if answered is False:
            self._keeps[place] = False
        elif self._keeps.get(place, True) is None:
            self._keeps[place] = True
            if answered is None:
                del self._keeps[place]

    def close(self) -> None:
        for idle in self._idle:
            idle.connection.transport.abort()
        self._idle.clear()

    def _close_old(self) -> None:
        while self._idle and (len(self._idle) > MOST_IDLE or self._idle[0].since < time.monotonic() - IDLE_SECONDS):
            self._idle.popleft().connection.transport.abort()
