"""A real S3 API on this machine whose answers fail: 503, 500, no answer, half of one, a lost and a late one.

A request fails by a hash of the seed and its number, so that a share of all fails whatever they ask for.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from late_s3 import Quiet, half
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

#: What can happen to a request. `lost`: it is done, and its answer is a 503 all the same. `cut`: half of the answer.
KINDS = ("503", "500", "reset", "lost", "cut", "late")
BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
BROKEN = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


@dataclass
class FaultyS3:
    """share: of the requests, which fail. down: all fail with 503 meanwhile. down_after: so many requests, it is down.

    faults: how many of each kind there were. requests: all of them.
    """

    share: float = 0.0
    seed: int = 0
    late_seconds: float = 0.5
    down_after: int | None = None
    down: bool = False
    faults: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    address: str = ""

    def __enter__(self) -> FaultyS3:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=Quiet)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()

    def _fault(self) -> str | None:
        with self._lock:
            self.requests += 1
            if self.down_after is not None and self.requests > self.down_after:
                self.down = True
            if self.down:
                return "503"
            draw = random.Random(f"{self.seed} {self.requests}")
            kind = draw.choice(KINDS) if draw.random() < self.share else None
            if kind:
                self.faults[kind] += 1
            return kind

    def __call__(self, environ: dict[str, Any], respond: Any) -> Iterable[bytes]:
        kind = self._fault()
        if kind == "late":
            time.sleep(self.late_seconds)
        if kind in ("503", "500"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _fails(respond, kind, environ["REQUEST_METHOD"])
        if kind == "reset":
            # As from a broken network: no answer at all.
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        if kind == "lost":
            list(self._app(environ, lambda *_: None))
            return _fails(respond, "503", environ["REQUEST_METHOD"])
        answer = self._app(environ, respond)
        return half(answer) if kind == "cut" else answer


def _fails(respond: Any, kind: str, method: str) -> list[bytes]:
    status, body = ("503 Slow Down", BUSY) if kind == "503" else ("500 Internal Server Error", BROKEN)
    respond(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [] if method == "HEAD" else [body]
