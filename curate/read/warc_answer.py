"""What a web server answered, from a response in a WARC file: status, type, and the body without its codings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Bytes of a body once it is unpacked; what is behind them is cut off.
MOST_BODY = 32 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """status: of HTTP, 0 where there is none. content_type: in lower case, without parameters."""

    status: int
    content_type: str
    charset: str | None
    body: bytes


def answer_of(block: bytes) -> Answer | None:
    """The answer that a record holds; None for what is no HTTP.

    Crawlers store bodies as they came or decoded, and servers declare codings that they did not use: where the declared
    one does not fit, the bytes are taken as they are.
    """
    return _parsed(block, "all") or _parsed(block, "none")


def _parsed(block: bytes, decoded: str) -> Answer | None:
    from fastwarc.warc import WarcRecord

    try:
        record: Any = WarcRecord()
        record.set_bytes_content(block)
        record.is_http = True
        record.parse_http(auto_decode=decoded, quirks_mode=True)
        body = record.reader.read(MOST_BODY)
        status = int(record.http_headers.status_code or 0)
        return Answer(status, str(record.http_content_type or "").lower(), record.http_charset, body)
    except BaseException as error:
        # The library's own panic is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            return None
        raise
