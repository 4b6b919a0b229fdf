"""A name server for the fault web: addresses of its hosts, and names that fail in the three ways that names do."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Mapping

from curate.demo.faults.sites import DOMAIN

#: What the first label of a name begins with when it is not there, when the server fails, and when none answers.
MISSING, FAILING, SILENT = "missing", "servfail", "unanswered"

_NXDOMAIN, _SERVFAIL = 3, 2
_A = 1
_TTL_SECONDS = 60


class Names(asyncio.DatagramProtocol):
    """addresses: by name. asked: how often each name was asked for, of any type of record."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self.asked: Counter[str] = Counter()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.answer(data)
        if answer is not None:
            self._transport.sendto(answer, addr)

    def answer(self, question: bytes) -> bytes | None:
        """The answer to a query, None where there is none."""
        name, end = _name(question)
        if end is None:
            return None
        self.asked[name] += 1
        kind = struct.unpack(">H", question[end : end + 2])[0]
        label = name.partition(".")[0]
        address = self._addresses.get(name)
        if address:
            return _reply(question, end, 0, address if kind == _A else None)
        if label.startswith(SILENT):
            return None
        return _reply(question, end, _SERVFAIL if label.startswith(FAILING) or DOMAIN not in name else _NXDOMAIN)


def _name(question: bytes) -> tuple[str, int | None]:
    """The name that is asked for, in lower case, and where its type stands; None for what is no query."""
    labels, at = [], 12
    while at < len(question) and question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]])
        at += 1 + question[at]
    if at + 5 > len(question):
        return "", None
    return b".".join(labels).decode("latin-1").lower(), at + 1


def _reply(question: bytes, end: int, code: int, address: str | None = None) -> bytes:
    """RFC 1035 4: the query's own header and question, and at most one A record."""
    # An answer (1) to a recursive query (1), by a server that recurs (1).
    header = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, int(address is not None), 0, 0)
    record = b""
    if address is not None:
        record = b"\xc0\x0c" + struct.pack(">HHIH", _A, 1, _TTL_SECONDS, 4) + socket.inet_aton(address)
    return header + question[12 : end + 4] + record
