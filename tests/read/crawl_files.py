"""Files as Common Crawl writes them: records of WARC, each a member of gzip."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DATE = "2024-02-20T20:01:02Z"


def warc_record(kind: str, url: str, block: bytes, content_type: str = "application/json") -> bytes:
    """A record, not compressed."""
    head = {
        "WARC-Type": kind,
        "WARC-Target-URI": url,
        "WARC-Date": DATE,
        "WARC-Record-ID": "<urn:uuid:00000000-0000-0000-0000-000000000001>",
        "Content-Type": content_type,
        "Content-Length": len(block),
    }
    lines = ["WARC/1.0", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    return "\r\n".join(lines).encode() + block + b"\r\n\r\n"


def wat_page(url: str, links: Any, base: str | None = None) -> bytes:
    """The record of a page in a WAT file, as ia-web-commons of Common Crawl writes it."""
    head = {"Title": "A page"} | ({"Base": base} if base else {})
    about = {
        "Container": {"Filename": "CC-MAIN-00000.warc.gz", "Offset": "1"},
        "Envelope": {
            "WARC-Header-Metadata": {"WARC-Type": "response", "WARC-Date": DATE, "WARC-Target-URI": url},
            "Payload-Metadata": {"HTTP-Response-Metadata": {"HTML-Metadata": {"Head": head, "Links": links}}},
        },
    }
    return warc_record("metadata", url, json.dumps(about).encode())


def warc_page(url: str, html: bytes, *, status: str = "200 OK", more: str = "", kind: str = "text/html") -> bytes:
    """The record of a page in a WARC file."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}Content-Length: {len(html)}\r\n\r\n"
    return warc_record("response", url, head.encode() + html, "application/http; msgtype=response")


def image(url: str, alt: str | None = None, **texts: str) -> dict[str, Any]:
    """An image's link in a WAT file."""
    named = {name.replace("_", "-"): text for name, text in texts.items()}
    return {"path": "IMG@/src", "url": url} | ({} if alt is None else {"alt": alt}) | named


def members(records: Sequence[bytes]) -> list[bytes]:
    return [gzip.compress(record, mtime=0) for record in records]


def write_crawl(path: Path, records: Sequence[bytes]) -> str:
    path.write_bytes(b"".join(members(records)))
    return str(path)
