"""A real GCS API on this machine (gcp-storage-emulator), some of whose answers are those of a real one's bad days."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

#: A bucket that nobody may read, and the beginning of names of objects whose answer ends in the middle, or is a 503.
FORBIDDEN, CUT, BUSY = "forbidden", "cut-", "busy-"


class Handler(RequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = unquote(self.path).partition("?")
        name = path.rpartition("/")[2]
        if f"/b/{FORBIDDEN}/" in path:
            self._fails(403, "curate@example.test does not have storage.objects.get access")
        elif name.startswith(BUSY):
            self._fails(503, "We encountered an internal error. Please try again.")
        elif name.startswith(CUT) and "alt=media" in query:
            self.send_response(200)
            self.send_header("Content-Length", "10000")
            self.end_headers()
            self.wfile.write(b"x" * 5000)
            self.close_connection = True
        else:
            self.close_connection = True
            super().do_GET()

    def _fails(self, code: int, message: str) -> None:
        body = json.dumps({"error": {"code": code, "message": message, "errors": [{"message": message}]}}).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def serving(*bucket_names: str) -> Iterator[str]:
    """Its address, with empty buckets of these names."""
    storage: Any = Storage(use_memory_fs=True)
    for name in bucket_names:
        buckets.create_bucket(name, storage)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, storage))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
