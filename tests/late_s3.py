"""A real S3 API on this machine that answers late, breaks off, and counts what it was asked for.

    python tests/late_s3.py SECONDS MEGABYTES

serves until its standard input ends, after a line with its address; each request waits so long, and a range of a tar
comes at so many megabytes a second.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

Environ = dict[str, Any]

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass
class LateS3:
    """late: seconds that each request waits. cut_off: so many answers for ranges of tars end halfway. together: answers
    for ranges of tars wait until so many requests for them are under way, 10 seconds at most. rate: bytes a second of
    each answer with a range of a tar, which then comes from memory: moto reads all of a file to answer with a part.

    asked: the ranges of tars that were asked for, in their order. most: requests for them under way at a time.
    """

    late: float = 0.0
    cut_off: int = 0
    together: int = 0
    rate: float = 0.0
    asked: list[str] = field(default_factory=list)
    most: int = 0
    address: str = ""

    def __enter__(self) -> LateS3:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._turn, self._now = threading.Condition(), 0
        self._tars: dict[str, tuple[bytes, list[tuple[str, str]]]] = {}
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=Quiet)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()

    def __call__(self, environ: Environ, respond: Any) -> Iterable[bytes]:
        time.sleep(self.late)
        if "HTTP_RANGE" not in environ or not environ["PATH_INFO"].endswith(".tar"):
            return self._app(environ, respond)
        with self._turn:
            self.asked.append(environ["HTTP_RANGE"].removeprefix("bytes="))
            self._now += 1
            self.most = max(self.most, self._now)
            self._turn.notify_all()
            self._turn.wait_for(lambda: self.most >= self.together, timeout=10)
            cut = self.cut_off > 0
            self.cut_off -= cut
        answer = self._from_memory(environ, respond) if self.rate else self._app(environ, respond)
        with self._turn:
            self._now -= 1
        return half(answer) if cut else answer

    def _from_memory(self, environ: Environ, respond: Any) -> Iterable[bytes]:
        path, ends = environ["PATH_INFO"], environ.pop("HTTP_RANGE").removeprefix("bytes=")
        if path not in self._tars:
            told: list[Any] = []
            body = b"".join(self._app(environ, lambda _, headers, *rest: told.extend(headers)))
            self._tars[path] = body, [pair for pair in told if pair[0].lower() in ("etag", "last-modified")]
        body, headers = self._tars[path]
        start, stop = int(ends.split("-")[0]), min(int(ends.split("-")[1]) + 1, len(body))
        about = [("Content-Length", str(stop - start)), ("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")]
        respond("206 Partial Content", [*headers, *about])
        return _at_rate(memoryview(body)[start:stop], self.rate)


def _at_rate(body: memoryview, rate: float) -> Iterator[bytes]:
    began, size = time.monotonic(), 1 << 20
    for start in range(0, len(body), size):
        time.sleep(max(0.0, began + min(start + size, len(body)) / rate - time.monotonic()))
        yield bytes(body[start : start + size])


def half(answer: Iterable[bytes]) -> Iterator[bytes]:
    """Of an answer that is cut off."""
    for block in answer:
        yield block[: len(block) // 2]
        return


class Quiet(WSGIRequestHandler):
    """Writes no line for a request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


if __name__ == "__main__":
    with LateS3(late=float(sys.argv[1]), rate=float(sys.argv[2]) * 1e6) as served:
        print(served.address, flush=True)
        sys.stdin.read()
