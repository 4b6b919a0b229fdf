"""The process that decodes doubtful files, one after the other, and may die of one: `decoders` starts and asks it.

It reads from a socket that is its standard input: a line of JSON (`task`, `options`, `bytes`, `seconds`,
`working_bytes`) and the file; it answers with a line of JSON and what it made. Memory and processor time of each task
are limited by the kernel: past the first, libraries are told that there is none; past the second the process ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.pictures.decoded import Decoded, decode, strips
from curate.pictures.picture_file import TooCostly, no_memory

#: Beside the working set: the file, what Python and libraries set aside, rounded up.
SPARE_BYTES = 150_000_000


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the process that asks will end this one
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _first_to_go()
    _imported()
    channel = socket.socket(fileno=os.dup(0))
    file, seconds = channel.makefile("rwb"), 0.0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # whoever asked has ended
        while line := file.readline():
            request = json.loads(line)
            data = file.read(request["bytes"])
            with _limits(request["working_bytes"], len(data), request["seconds"]):
                answer, parts = TASKS[request["task"]](data, request)
                # Since the last answer: sending that one is among them.
                before, seconds = seconds, time.process_time()
                _send(file, {**answer, "seconds": seconds - before}, parts)


def _send(file: Any, answer: dict[str, Any], parts: Iterator[Any]) -> None:
    file.write(json.dumps(answer).encode() + b"\n")
    for part in parts:
        file.write(part)
    file.flush()


def _decoded(data: bytes, request: dict[str, Any]) -> tuple[dict[str, Any], Iterator[Any]]:
    """Height and width, and the pixels row by row; or why there are none."""
    try:
        image = decode(data, max_working_bytes=request["working_bytes"])
    except TooCostly as problem:
        return {"status": problem.status, "error": str(problem)}, iter(())
    except Exception as problem:  # noqa: BLE001 - any damage is the status of a row
        if no_memory(problem):
            return {"status": "too_large_to_decode", "error": "decoding took more memory than its header tells"}, iter(
                ()
            )
        return {"status": "undecodable", "error": type(problem).__name__}, iter(())
    height, width = _size(image)
    return {"status": "ok", "height": height, "width": width}, strips(image)


def _size(image: Decoded) -> tuple[int, int]:
    if "pixels" in vars(image):
        return image.pixels.shape[0], image.pixels.shape[1]
    return image.image.height, image.image.width


def _resized(data: bytes, request: dict[str, Any]) -> tuple[dict[str, Any], Iterator[Any]]:
    from dataclasses import asdict

    from curate.pictures.resize import Resize
    from curate.pictures.resize_options import ResizeOptions

    options = ResizeOptions.model_validate({**request["options"], "max_working_bytes": request["working_bytes"]})
    answer = asdict(Resize(options).here(data))
    body = answer.pop("body")
    answer["bytes"] = None if body is None else len(body)
    return answer, iter(() if body is None else (body,))


TASKS = {"decode": _decoded, "resize": _resized}


@contextlib.contextmanager
def _limits(working_bytes: int, file_bytes: int, seconds: float) -> Iterator[None]:
    """A signal that nothing handles ends the process, whatever code it is in."""
    used = _address_space()
    if used:
        most = used + working_bytes + 2 * file_bytes + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        if used:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _address_space() -> int:
    """Bytes that are mapped; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return 0


def _first_to_go() -> None:
    """When a machine runs out of memory, it is to end this process and not the one that asks."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _imported() -> None:
    """Whatever decoding loads later, and one thread for each library: a worker has one core."""
    from PIL import Image

    Image.init()
    with contextlib.suppress(ImportError):
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    with contextlib.suppress(ImportError):
        import cv2

        cv2.setNumThreads(1)


if __name__ == "__main__":
    main()
