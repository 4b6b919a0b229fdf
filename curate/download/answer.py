"""The head of an HTTP/1 answer, read as browsers and urllib read it: what is merely odd costs no picture.

A crawler is no proxy: nobody stands behind it to be misled by an odd header, so that strictness protects nothing here.
Kept are the limits that do: size of the head, size of the body, and where a body ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

#: Bytes that the head of an answer may have, all lines together.
HEAD_BYTES = 256 * 1024

_STATUS_LINE = re.compile(rb"(?:HTTP/(\d)(?:\.(\d+))?|ICY)[ \t]+(\d{3})(?:[ \t]+(.*))?", re.IGNORECASE | re.DOTALL)


class BadAnswer(Exception):
    """What came is no HTTP/1 answer."""


@dataclass(slots=True)
class Head:
    """Status and headers. `fields` are (name in lower case, value) in the order in which they came.

    keeps_alive: the server says that another request may follow on the connection.
    """

    status: int
    reason: str = ""
    keeps_alive: bool = False
    fields: list[tuple[str, bytes]] = field(default_factory=list)

    def raw(self, name: str) -> list[bytes]:
        return [value for known, value in self.fields if known == name]

    def all(self, name: str) -> list[str]:
        """Values as text; bytes that are not UTF-8 become U+FFFD."""
        return [value.decode("utf-8", "replace") for value in self.raw(name)]

    def first(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    def words(self, name: str) -> list[str]:
        """The comma-separated words of all headers of a name, in lower case."""
        return [word.strip().lower() for value in self.all(name) for word in value.split(",") if word.strip()]

    def location(self) -> str | None:
        """Where a redirect leads. Bytes that are not UTF-8 are sent back as they are, escaped, as browsers do."""
        values = self.raw("location")
        if not values:
            return None
        try:
            return values[0].decode("utf-8")
        except UnicodeDecodeError:
            return re.sub(rb"[\x80-\xff]", lambda byte: b"%%%02X" % byte[0][0], values[0]).decode("ascii")

    def is_chunked(self) -> bool:
        return self.words("transfer-encoding")[-1:] == ["chunked"]

    def lengths(self) -> list[int]:
        """The lengths that Content-Length headers declare, each once; none where one of them is not one number."""
        lengths: dict[int, None] = {}
        for value in self.raw("content-length"):
            words = {word.strip() for word in value.split(b",")}
            if len(words) > 1 or not all(re.fullmatch(rb"\+?[0-9]{1,18}", word) for word in words):
                return []
            lengths[int(words.pop())] = None
        return list(lengths)


def head_of(lines: Sequence[bytes]) -> Head:
    """A head from its lines, without the empty one at its end.

    Lines may end with LF alone. A line without a colon says nothing; one that begins with a blank goes on from the one
    before. Names may hold any bytes.

    Raises:
        BadAnswer: when the first line is no status line.

    >>> head_of([b"HTTP/1.1 200 OK\\r\\n", b"no colon\\r\\n", b"Content-Length : 5\\n"]).lengths()
    [5]
    """
    match = _STATUS_LINE.fullmatch(lines[0].strip()) if lines else None
    if match is None:
        raise BadAnswer(f"no HTTP answer: {lines[0][:60] if lines else b''!r}")
    head = Head(int(match[3]), (match[4] or b"").decode("utf-8", "replace").strip())
    for line in lines[1:]:
        text = line.rstrip(b"\r\n")
        if text[:1] in (b" ", b"\t"):
            if head.fields:
                name, value = head.fields[-1]
                head.fields[-1] = (name, (value + b" " + text.strip()).strip())
            continue
        name_bytes, colon, value = text.partition(b":")
        if colon:
            head.fields.append((name_bytes.strip().lower().decode("latin-1"), value.strip()))
    # Only where the server says so, though HTTP/1.1 keeps connections by default: some close without a word, and a
    # request that their machine took cannot be sent again as if it had not been.
    head.keeps_alive = match[1] == b"1" and "keep-alive" in head.words("connection")
    return head
