"""A name server on loopback for tests: it knows the names it was told, and is silent about some."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator

_A, _AAAA = 1, 28


class NameServer:
    """names: addresses by name. A name without addresses is never answered for; one that is not there does not exist.
    slow: seconds before the answer for names that begin with `slow`."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, slow: float = 0.0) -> None:
        self.names: dict[str, list[str]] = {}
        self._slow = slow
        self._questions: set[tuple[str, bytes]] = set()
        self.packets = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind((host, port))
        self.place = f"{host}:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._answer_all, daemon=True).start()

    @property
    def asked(self) -> Counter[str]:
        """How often each name in .test was asked for; a question that was sent again, unanswered, counts once."""
        return Counter(name for name, _ in self._questions if name.endswith(".test"))

    def stop(self) -> None:
        self._socket.close()

    def _answer_all(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                question, sender = self._socket.recvfrom(4096)
                self.packets += 1
                threading.Thread(target=self._answer, args=(question, sender), daemon=True).start()

    def _answer(self, question: bytes, sender: tuple[str, int]) -> None:
        labels, place = [], 12
        while length := question[place]:
            labels.append(question[place + 1 : place + 1 + length].decode("latin-1"))
            place += length + 1
        name, end = ".".join(labels).lower(), place + 5
        kind = int.from_bytes(question[place + 1 : place + 3], "big")
        if kind == _A:
            self._questions.add((name, question[:2]))
        addresses = self.names.get(name)
        if addresses == []:
            return
        if name.startswith("slow"):
            time.sleep(self._slow)
        parsed = [ipaddress.ip_address(address) for address in addresses or ()]
        packed = [address.packed for address in parsed if address.version == (4 if kind == _A else 6)]
        answers = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data for data in packed)
        flags = b"\x85\x80" if addresses is not None else b"\x85\x83"
        head = question[:2] + flags + struct.pack(">HHHH", 1, len(packed), 0, 0)
        with contextlib.suppress(OSError):
            self._socket.sendto(head + question[12:end] + answers, sender)


@contextlib.contextmanager
def name_serving(host: str = "127.0.0.1", port: int = 0, slow: float = 0.0) -> Iterator[NameServer]:
    running = NameServer(host, port, slow)
    try:
        yield running
    finally:
        running.stop()
