"""URLs as keys: two spellings of one address give one key. For comparing only; download asks for the original."""

from __future__ import annotations

import re
from urllib.parse import quote

import polars as pl

from curate.alike.web_url import normal, without_blanks

#: Parameters that say where a visitor came from, never which image is meant. Sizes (w=, h=, resize=) stay: they name
#: different renditions.
TRACKERS = r"(?i:utm_[^=&]*|gclid|gclsrc|dclid|gbraid|wbraid|fbclid|msclkid|yclid|igshid|mc_cid|mc_eid)"

# An address in the standard's spelling; schemes beside http(s) are kept in the key.
_PARTS = re.compile(r"(https?|ftp|wss?):(//[^/?#]*)([^?#]*)(?:\?([^#]*))?")

# The dot at the end of a host: the same name.
_LAST_DOT = re.compile(r"(?<=[^./@])\.(?=(?::[0-9]+)?\Z)")

# Printable ASCII that may stand in a path or query as it is (RFC 3986), `%` beside it.
_LEGAL = "!*'();:@&=+$,/?[]-._~"

# http(s) URLs that are their own key, but for the scheme: found without a Python call per row. The host's last label
# is no number; no escapes, no dot segments, no coded labels, at most one query parameter.
_PLAIN = (
    r"^https?://(?:[a-z0-9-]+\.)*[a-z][a-z0-9-]*/[A-Za-z0-9!*'();:@&=+$,/_~.-]*(?:\?[A-Za-z0-9!*();:@=+$,/?_~.-]+)?$"
)
_NOT_PLAIN = rf"/\.\.?(?:[/?]|$)|[./]xn--|\?{TRACKERS}(?:=|$)"


def url_key(url: str) -> str:
    """The key of one URL; a text that is no URL of a host is its own key, less blanks at its ends. Never an error.

    The URL is read as fetching reads it (the WHATWG standard: case, IDNA, default ports, dot segments, hosts written
    as numbers, backslashes). Beyond that http and https are one; the dot at a host's end, the fragment and needless
    escapes go, other escapes are in upper case; query parameters are sorted by name, trackers dropped. The path keeps
    its case. A key is its own key. Beyond the standard this is a normalisation of our own (published pipelines compare
    the raw text).

    >>> url_key("HTTP://Example.COM:80/a/../b%7Ec?utm_source=x&b=2&a=1#f")
    '//example.com/b~c?a=1&b=2'
    >>> url_key("https://example.com") == url_key("http://example.com/") == "//example.com/"
    True
    """
    text = without_blanks(url)
    split = _PARTS.match(_normal(text))
    if split is None:
        return text
    scheme, authority, path, query = (part or "" for part in split.groups())
    key = f"{_LAST_DOT.sub('', authority)}{_escapes(path)}"
    if scheme not in ("http", "https"):
        key = f"{scheme}:{key}"
    query = _query(query)
    return f"{key}?{query}" if query else key


def _normal(text: str) -> str:
    """The standard's spelling; empty for what it does not take."""
    try:
        if not text.startswith("//"):
            return normal(text)
        # Without its scheme, as a key is: no port is a default one.
        return max((normal(scheme + text) for scheme in ("https:", "http:")), key=len)
    except ValueError:
        return ""


def url_keys(urls: pl.Series) -> pl.Series:
    """`url_key` of every value; null stays null."""
    # Whether a pattern is there is known in a seventh of the time that what it caught takes.
    plain = urls.str.contains(_PLAIN) & ~urls.str.contains(_NOT_PLAIN)
    keys = urls.str.strip_prefix("https:").str.strip_prefix("http:")
    rows = (~plain).fill_null(False).arg_true()
    if not len(rows):
        return keys
    return keys.scatter(rows, pl.Series(list(map(url_key, urls.gather(rows).to_list())), dtype=pl.String))


def _escapes(text: str) -> str:
    """Unreserved characters unescaped, all others that may not stand there escaped, hex digits in upper case."""

    def one(match: re.Match[str]) -> str:
        digits = match[1]
        if not digits:
            return "%25"  # a stray %: left alone it could join digits behind it and be unescaped the next time
        character = chr(int(digits, 16))
        plain = character.isascii() and (character.isalnum() or character in "-._~")
        return character if plain else f"%{digits.upper()}"

    if "%" in text:
        text = re.sub(r"%([0-9A-Fa-f]{2})?", one, text)
    return quote(text, safe=_LEGAL + "%", errors="surrogatepass")


def _query(query: str) -> str:
    parameters = [p for p in _escapes(query).split("&") if p and not re.fullmatch(TRACKERS, p.partition("=")[0])]
    # By name only: among parameters of one name, the order can mean something.
    return "&".join(sorted(parameters, key=lambda p: p.partition("=")[0]))
