"""Keys of urls, hosts, files and rows: 16 bytes that tell whether two are the same, and not what they are.

A key is blake2b of the kind and of the text in one spelling. Nobody reads a text out of its key; whoever has the text
can tell whether it is the one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from urllib.parse import urlsplit

import numpy as np
import polars as pl

from curate.errors import CurateError
from curate.messages.packages import lacking

#: What can be named. `host` is a host and all hosts below it; `md5` and `sha256` are of the image file as its host
#: sent it, 32 and 64 hex digits; `uid` is a row's.
KINDS = ("url", "host", "sha256", "md5", "uid")

KEY_BYTES = 16

#: The host in a url's key (`curate.alike.url_key`): behind a user, before a port.
_HOST = r"^(?:[a-z]+:)?//(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:]+)"


def needs_urls(kinds: Iterable[str]) -> list[str]:
    """Modules outside the base install that keys of these kinds take."""
    return ["ada_url"] if {"url", "host"} & set(kinds) else []


def check_packages(what: str, kinds: Iterable[str]) -> None:
    """
    Raises:
        CurateError: when urls are to be compared and the package that reads them is not installed.
    """
    if line := lacking(what, needs_urls(kinds), ["download"]):
        raise CurateError(line)


def keys_of(kind: str, texts: pl.Series) -> np.ndarray:
    """uint64[n, 2]: the key of each text. Urls are compared as `dedupe.exact` does: http and https are one.

    texts: strings without null.
    """
    return _hashed(kind, _spelled(kind, texts).to_list())


def host_of(text: str) -> str:
    """The host that a line of a list names: a host, or a url.

    >>> host_of("Example.COM."), host_of("https://a.example.com:80/b"), host_of("*.example.com"), host_of("[::1]:80")
    ('example.com', 'a.example.com', 'example.com', '[::1]')
    """
    text = text.strip().lower().removeprefix("*.").removeprefix(".")
    from curate.alike.web_url import normal

    try:
        whole = urlsplit(normal(text if "://" in text else f"http://{text}")).netloc
    except ValueError:
        whole = text
    host = whole.rpartition("@")[2]
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return host.removesuffix(".")


def hosts_of(urls: pl.Series) -> pl.Series:
    """The host of each url; null where it has none."""
    from curate.alike.url_key import url_keys

    return url_keys(urls).str.extract(_HOST, 1).str.to_lowercase().str.strip_suffix(".")


def host_keys(host: str) -> np.ndarray:
    """uint64[k, 2]: keys of a host and of every host above it: whoever names one of them names it."""
    labels = host.split(".") if not host.startswith("[") else [host]
    return _hashed("host", [".".join(labels[start:]) for start in range(len(labels))])


def _spelled(kind: str, texts: pl.Series) -> pl.Series:
    if kind == "url":
        from curate.alike.url_key import url_keys

        return url_keys(texts)
    if kind == "host":
        return texts.map_elements(host_of, pl.String) if len(texts) else texts
    plain = texts.str.strip_chars().str.to_lowercase()
    return plain.str.replace_all("-", "", literal=True) if kind == "uid" else plain


def _hashed(kind: str, texts: Iterable[str]) -> np.ndarray:
    blake2b, begin = hashlib.blake2b, f"{kind}\0"
    digests = [
        blake2b((begin + text).encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest() for text in texts
    ]
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2).astype(np.uint64)
