"""Decoding in processes that may die, kept from file to file: a file that kills one costs its row a status."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curate.pictures.doubtful import HERE_BYTES
from curate.pictures.picture_file import MAX_WORKING_BYTES

#: Seconds of the processor that one file may take. The largest good pictures take four.
SECONDS = 8.0

#: Seconds by the clock: for a process that waits for what never comes, not for one on a busy machine.
CLOCK_SECONDS = 120.0

#: A file is blamed when so many processes died of it: once may be a kill from outside.
DEATHS = 2

#: For the C library: memory of pictures up to some million pixels stays with the process from file to file. To ask the
#: system for it again each time took as long as decoding. And one arena, since each sets aside 64 MB of addresses.
MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "32000000", "MALLOC_TRIM_THRESHOLD_": "64000000"}

COMMAND = (sys.executable, "-W", "ignore", "-m", "curate.pictures.decoder_process")

Answer = dict[str, Any]


class Died(Exception):
    """The process ended. is_late: by the limit of seconds."""

    def __init__(self, why: str, is_late: bool) -> None:
        super().__init__(why)
        self.is_late = is_late


class Decoders:
    """Processes that decode, as many as threads ask at once; each is started when there is none to spare."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self.command = command
        self._idle: list[_Decoder] = []
        self._lock, self._large = threading.Lock(), threading.Lock()
        #: Of the processor, which the processes took for all files; those of one that crashed are not known.
        self.seconds = 0.0

    def ask(
        self,
        task: str,
        data: bytes,
        options: Mapping[str, Any] | None = None,
        working_bytes: int = MAX_WORKING_BYTES,
        is_large: bool = False,
    ) -> tuple[Answer, Any]:
        """The answer, with `status` and `error`, and what came of it, or None: of `decode` the pixels (uint8, height x
        width x 3), of `resize` the stored file (bytes).

        is_large: whether the file is known to take more than HERE_BYTES. Such files are decoded one at a time; of one
        that is not known to be, it is found out by its header.
        """
        if not is_large and working_bytes > HERE_BYTES:
            answer, result = self._tried(task, data, options, HERE_BYTES)
            if answer["status"] != "too_large_to_decode":
                return answer, result
        with self._large if working_bytes > HERE_BYTES else contextlib.nullcontext():
            return self._tried(task, data, options, working_bytes)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for decoder in idle:
            decoder.close()

    def _tried(
        self, task: str, data: bytes, options: Mapping[str, Any] | None, working_bytes: int
    ) -> tuple[Answer, Any]:
        request = {"task": task, "options": options, "working_bytes": working_bytes, "seconds": SECONDS}
        why = ""
        # One that waited may have died of something else (the system ends it first when memory is short), so that only
        # those that were started for this file count.
        waiting = self._spare()
        for spare in [*([waiting] if waiting else []), *[None] * DEATHS]:
            decoder = spare or _Decoder(self.command)
            try:
                reply = decoder.ask(request, data)
            except Died as death:
                decoder.close()
                if death.is_late:
                    self._took(SECONDS)
                    return {"status": "decode_timeout", "error": f"more than {SECONDS:g} s of the processor"}, None
                why = str(death)
                continue
            except BaseException:
                decoder.close()  # an answer that nobody has read must not be the next file's
                raise
            self._took(reply[0].pop("seconds"))
            with self._lock:
                self._idle.append(decoder)
            return reply
        return {"status": "decoder_died", "error": f"the process that decoded it ended {DEATHS} times: {why}"}, None

    def _spare(self) -> _Decoder | None:
        """One that waits."""
        while True:
            with self._lock:
                decoder = self._idle.pop() if self._idle else None
            if decoder is None or decoder.process.poll() is None:
                return decoder
            decoder.close()

    def _took(self, seconds: float) -> None:
        with self._lock:
            self.seconds += seconds


class _Decoder:
    """One process, and the socket to it."""

    def __init__(self, command: Sequence[str]) -> None:
        self.socket, theirs = socket.socketpair()
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)
        with theirs:
            self.process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={**os.environ, **MEMORY, "PYTHONPATH": path},
            )

    def ask(self, request: Mapping[str, Any], data: bytes) -> tuple[Answer, Any]:
        self._end = time.monotonic() + CLOCK_SECONDS
        try:
            self._wait()
            self.socket.sendall(json.dumps({**request, "bytes": len(data)}).encode() + b"\n")
            self.socket.sendall(data)
            answer = json.loads(self._line())
            if answer["status"] == "ok":
                if answer["height"] * answer["width"] * 3 > request["working_bytes"]:
                    raise ValueError("more pixels than it may have")
                pixels = np.empty((answer["height"], answer["width"], 3), np.uint8)
                self._read(pixels.reshape(-1).data)
                return answer, pixels
            if answer.get("bytes") is None:
                return answer, None
            body = bytearray(answer["bytes"])
            self._read(memoryview(body))
            return answer, bytes(body)
        except TimeoutError:
            raise Died("it did not answer", is_late=True) from None
        except (OSError, EOFError):
            raise self._death() from None
        except (ValueError, KeyError):
            raise Died("its answer was none", is_late=False) from None

    def close(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait()

    def _wait(self) -> None:
        self.socket.settimeout(max(0.001, self._end - time.monotonic()))

    def _line(self) -> bytes:
        """Nothing behind it is taken from the socket."""
        line = b""
        while not line.endswith(b"\n"):
            self._wait()
            seen = self.socket.recv(4096, socket.MSG_PEEK)
            if not seen:
                raise EOFError
            line += self.socket.recv(seen.find(b"\n") + 1 or len(seen))
        return line

    def _read(self, place: memoryview) -> None:
        while len(place):
            self._wait()
            count = self.socket.recv_into(place)
            if not count:
                raise EOFError
            place = place[count:]

    def _death(self) -> Died:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(CLOCK_SECONDS)
        self.process.kill()
        code = self.process.wait()
        if code == -signal.SIGPROF:
            return Died("", is_late=True)
        with contextlib.suppress(ValueError):
            return Died(signal.Signals(-code).name, is_late=False)
        return Died(f"exit status {code}", is_late=False)


_lock = threading.Lock()
_decoders: tuple[int, Decoders] | None = None


def decoders() -> Decoders:
    """Those of this process: after a fork, new ones."""
    global _decoders  # noqa: PLW0603 - processes are kept for as long as this one lives
    with _lock:
        if _decoders is None or _decoders[0] != os.getpid():
            _decoders = os.getpid(), Decoders()
            atexit.register(_decoders[1].close)
        return _decoders[1]


def seconds_apart() -> float:
    """Processor seconds that other processes took to decode for this one."""
    return decoders().seconds
