"""URLs as keys: two spellings of one address give one key. For comparing only; download asks for the original."""

from __future__ import annotations

import re
from urllib.parse import quote

import idna
import polars as pl

#: Parameters that say where a visitor came from, never which image is meant. Sizes (w=, h=, resize=) stay: they name
#: different renditions.
TRACKERS = r"(?i:utm_[^=&]*|gclid|gclsrc|dclid|gbraid|wbraid|fbclid|msclkid|yclid|igshid|mc_cid|mc_eid)"

_DEFAULT_PORTS = {"http": "80", "https": "443"}

# Blanks and control characters around the whole.
_ENDS = re.compile(r"\A[\s\x00-\x20]+|[\s\x00-\x20]+\Z")

# Printable ASCII that may stand in a path or query as it is (RFC 3986), `%` beside it.
_LEGAL = "!*'();:@&=+$,/?[]-._~"

# http(s) URLs that are their own key, but for the scheme: found without a Python call per row. No escapes, no dot
# segments, at most one query parameter.
_PLAIN = r"^https?:(//[a-z0-9-]+(?:\.[a-z0-9-]+)*/[A-Za-z0-9!*'();:@&=+$,/_~.-]*(?:\?[A-Za-z0-9!*'();:@=+$,/?_~.-]+)?)$"
_NOT_PLAIN = rf"/\.\.?(?:[/?]|$)|\?{TRACKERS}(?:=|$)"


def url_key(url: str) -> str:
    """The key of one URL; a text that is no hierarchical URL is its own key, less blanks at its ends.

    Blanks at the ends, tabs, line ends and the fragment go; scheme and host in lower case, IDNA; the scheme's own port
    goes, and http and https are one; `.` and `..` are resolved; needless escapes are undone, the others in upper case;
    query parameters sorted by name, trackers dropped. The path keeps its case. A key is its own key.
    Normalisation of our own after RFC 3986, section 6 (published pipelines compare the raw text).

    >>> url_key("HTTP://Example.COM:80/a/../b%7Ec?utm_source=x&b=2&a=1#f")
    '//example.com/b~c?a=1&b=2'
    >>> url_key("https://example.com") == url_key("http://example.com/") == "//example.com/"
    True
    """
    text = _ENDS.sub("", url)
    text = re.sub(r"[\t\n\r]", "", text)
    split = re.match(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?//([^/?#]*)([^?#]*)(?:\?([^#]*))?", text)
    if split is None:
        return text
    scheme, authority, path, query = (part or "" for part in split.groups())
    scheme = scheme.lower()
    host = _authority(authority, scheme)
    key = f"//{host}{_path(path)}"
    if scheme and scheme not in _DEFAULT_PORTS:
        key = f"{scheme}:{key}"
    query = _query(query)
    return f"{key}?{query}" if query else key


def url_keys(urls: pl.Series) -> pl.Series:
    """`url_key` of every value; null stays null."""
    plain = urls.str.extract(_PLAIN, 1)
    ready = (plain.is_not_null() & ~urls.str.contains(_NOT_PLAIN)).fill_null(False)
    rows = (~ready).arg_true()
    made = [None if url is None else url_key(url) for url in urls.gather(rows).to_list()]
    return plain.scatter(rows, pl.Series(made, dtype=pl.String))


def _authority(authority: str, scheme: str) -> str:
    user, at, place = authority.rpartition("@")
    host, _, port = place.rpartition(":")
    # A key has lost its scheme, so what is left of its port is no longer a default one.
    if scheme in _DEFAULT_PORTS and re.fullmatch(r".*:[0-9]*", place, re.S):
        port = port.lstrip("0") or port[:1]
        place = host if port in ("", _DEFAULT_PORTS[scheme]) else f"{host}:{port}"
    host, colon, port = place.rpartition(":") if re.fullmatch(r".*:[0-9]+", place, re.S) else (place, "", "")
    return f"{user}{at}{_host(host)}{colon}{port}"


def _host(host: str) -> str:
    if host.isascii():
        return host.lower()
    try:
        return idna.encode(host, uts46=True).decode().lower()
    except (idna.IDNAError, UnicodeError):
        return quote(host, safe="[]:%", errors="surrogatepass").lower()


def _escapes(text: str) -> str:
    """Unreserved characters unescaped, all others that may not stand there escaped, hex digits in upper case."""

    def one(found: re.Match[str]) -> str:
        digits = found[1]
        if not digits:
            return "%25"  # a stray %: left alone it could join digits behind it and be unescaped the next time
        character = chr(int(digits, 16))
        plain = character.isascii() and (character.isalnum() or character in "-._~")
        return character if plain else f"%{digits.upper()}"

    if "%" in text:
        text = re.sub(r"%([0-9A-Fa-f]{2})?", one, text)
    return quote(text, safe=_LEGAL + "%", errors="surrogatepass")


def _path(path: str) -> str:
    kept: list[str] = []
    segments = _escapes(path).split("/")[1:]
    for number, segment in enumerate(segments, 1):
        if segment == "..":
            del kept[-1:]
        if segment not in (".", ".."):
            kept.append(segment)
        elif number == len(segments):
            kept.append("")
    return "/" + "/".join(kept)


def _query(query: str) -> str:
    parameters = [p for p in _escapes(query).split("&") if p and not re.fullmatch(TRACKERS, p.partition("=")[0])]
    # By name only: among parameters of one name, the order can mean something.
    return "&".join(sorted(parameters, key=lambda p: p.partition("=")[0]))
