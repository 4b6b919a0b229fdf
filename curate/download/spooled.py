"""Bytes of an answer: in memory while they are few, else in a temporary file, so that many large bodies at once fit."""

from __future__ import annotations

import tempfile
from typing import IO

#: Bytes of one body that stay in memory: most images are smaller.
IN_MEMORY = 1 << 20


class Spooled:
    """Filled by `add`, read by `all`; `close` gives its room back, and so does the end of it."""

    def __init__(self, data: bytes = b"") -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by `close`
        self.size = 0
        self.add(data)

    def add(self, block: bytes) -> None:
        self._file.write(block)
        self.size += len(block)

    def all(self) -> bytes:
        self._file.seek(0)
        return self._file.read()

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        self.close()
