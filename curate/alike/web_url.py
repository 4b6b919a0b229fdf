"""URLs as lists and redirects spell them, read as browsers do (the WHATWG standard), or refused with the reason."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import ada_url

# What may stand around the whole: blanks of any kind, control characters, the mark of byte order.
_ENDS = "".join(map(chr, [*range(33), *(c for c in range(33, 0x10000) if chr(c).isspace()), 0xFEFF]))
# An address as `ada` writes it: every part is escaped, so that it comes apart without a second reading.
_PARTS = re.compile(r"(?P<scheme>[a-z]+)://(?:(?P<user>[^/?#@]*)@)?(?P<host>\[[^\]]*\]|[^/?#:]+)(?::(?P<port>[0-9]+))?")
_WEB = re.compile(r"https?:", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


class BadURL(ValueError):
    """No URL, no host, or not http(s)."""


@dataclass(frozen=True, slots=True)
class WebURL:
    """What is asked for where. `href` is the whole without the fragment, `host` is ASCII (IPv6 in brackets), `target`
    the path and query as they are sent."""

    href: str
    scheme: str
    user: str
    host: str
    port: int
    target: str

    def __str__(self) -> str:
        return self.href

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def authorization(self) -> str | None:
        """The value of the Authorization header of a URL with a user's name in it."""
        if not self.user:
            return None
        name, _, password = self.user.partition(":")
        pair = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
        return "Basic " + base64.b64encode(pair).decode()


def normal(text: str, base: str | None = None) -> str:
    """A URL in the standard's one spelling, relative to `base` where one is given. Raises ValueError.

    >>> normal(" HTTP:\\\\\\\\Ex%41mple.com:80\\\\b c.jpg")
    'http://example.com/b%20c.jpg'
    """
    text = text.strip(_ENDS)
    return ada_url.normalize_url(text) if base is None else ada_url.join_url(base, text)


def without_blanks(text: str) -> str:
    """The text without blanks and control characters at its ends."""
    return text.strip(_ENDS)


def parse_url(text: str | None, base: WebURL | None = None) -> WebURL:
    """The URL to ask for; `text` is a redirect's target when `base` is given. Raises BadURL, and nothing else.

    Browsers are followed throughout: tabs and line ends inside go, a backslash is a slash, host names are IDNA, hosts
    written as numbers are addresses ("0x7f.1" is 127.0.0.1). Escapes of path and query stay as they are written, since
    another spelling would break signed URLs.

    >>> parse_url("http://example.com/a%2Fb").target, parse_url("http://0x7f.1/a b").href
    ('/a%2Fb', 'http://127.0.0.1/a%20b')
    """
    try:
        if not isinstance(text, str) or not without_blanks(text):
            raise ValueError("no URL")
        try:
            href = normal(text, base.href if base else None)
        except ValueError as problem:
            web = base or _WEB.match(without_blanks(text))
            raise ValueError("no valid host or port" if web else "not http or https") from problem
        return _web_url(href.partition("#")[0])
    except ValueError as problem:
        raise BadURL(f"{'redirect to ' if base else ''}{text!r:.200}: {problem}") from None


def _web_url(href: str) -> WebURL:
    parts = _PARTS.match(href)
    if parts is None or parts["scheme"] not in _PORTS:
        raise ValueError("not http or https")
    if not all(0 < len(label) < 64 for label in parts["host"].removesuffix(".").split(".")):
        raise ValueError("no valid host or port")  # a name that no DNS query can carry
    port = int(parts["port"] or _PORTS[parts["scheme"]])
    return WebURL(href, parts["scheme"], parts["user"] or "", parts["host"], port, href[parts.end() :])


def host_of(url: WebURL) -> str:
    """The host as a key: the same for every spelling of a host."""
    return url.host.removesuffix(".")
