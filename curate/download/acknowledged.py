"""Whether the other side's machine has taken what was written to a connection.

A server closes a kept connection whenever it likes, and a request may cross that on its way. To ask again is right
where no byte of it arrived, and wrong where the server read it and hung up: it would be asked twice where the user
allowed once. TCP knows which it was: bytes that arrived are acknowledged, also by a socket that is closed right behind
them. Linux counts them for each socket (tcpi_bytes_acked of TCP_INFO, tcp(7)).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable, Iterator

#: Where this machine can tell.
CAN_TELL = sys.platform == "linux"

#: struct tcp_info of linux/tcp.h: eight bytes, 24 numbers of 4, pacing rate and its limit of 8; then bytes_acked.
_BYTES_ACKED = 8 + 24 * 4 + 2 * 8


def bytes_acked(sock: socket.socket) -> int | None:
    """Bytes of this side that the other has acknowledged; None where that cannot be known."""
    try:
        about = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
    except (OSError, AttributeError):
        return None
    return int(struct.unpack_from("=Q", about, _BYTES_ACKED)[0]) if len(about) >= _BYTES_ACKED + 8 else None


@contextlib.contextmanager
def unread(transport: asyncio.Transport) -> Iterator[Callable[[], bool]]:
    """For a block that writes: whether it is certain that none of it has arrived, once the connection has ended."""
    sock = transport.get_extra_info("socket")
    try:
        # The event loop closes its own as soon as the connection ends.
        probe = sock.dup() if CAN_TELL and sock is not None else None
    except OSError:
        probe = None
    try:
        before = bytes_acked(probe) if probe else None
        yield lambda: before is not None and probe is not None and bytes_acked(probe) == before
    finally:
        if probe:
            probe.close()
