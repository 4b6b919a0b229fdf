"""URLs as lists and redirects spell them, turned into what can be asked for, or refused with the reason."""

import re

from yarl import URL

from curate.web.address import numeric_host

# Already a URI: sent as it is, since re-quoting would break signed URLs. Anything else is quoted as a browser does.
_URI = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")


class BadURL(ValueError):
    """No URL, no host, or not http(s)."""


def parse_url(text: str | None, base: URL | None = None) -> URL:
    """The URL to ask for; `text` is a redirect's target when `base` is given. Raises BadURL.

    >>> parse_url("http://example.com/a%2Fb"), parse_url("http://0x7f.1/a b")
    (URL('http://example.com/a%2Fb'), URL('http://127.0.0.1/a%20b'))
    """
    try:
        if not text:
            raise ValueError("no URL")
        url = URL(text, encoded=_URI.fullmatch(text) is not None)
        url = base.join(url) if base else url
        if url.scheme not in ("http", "https"):
            raise ValueError("not http or https")
        if not url.raw_host:
            raise ValueError("no host")
        dotted = numeric_host(url.raw_host)
        return url.with_host(dotted) if dotted else url
    except ValueError as problem:
        raise BadURL(f"{'redirect to ' if base else ''}{text!r:.200}: {problem}") from None


def host_of(url: URL) -> str:
    """The host as a key: the same for every spelling of a host."""
    return (url.raw_host or "").lower().rstrip(".")
