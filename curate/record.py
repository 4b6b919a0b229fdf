"""A record: one (image URL, caption) pair as a row of an Arrow table, and its uid."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import pyarrow as pa

#: Columns that every record has; an input's other columns follow unchanged.
SCHEMA = pa.schema([("uid", pa.string()), ("url", pa.large_string()), ("text", pa.large_string())])

UID = re.compile(r"[0-9a-f]{32}\Z")

#: Names under which published datasets keep the image URL, the caption and the pair's id.
URL_NAMES = ("url", "URL", "image_url", "img_url", "imageUrl", "image_link", "Url")
TEXT_NAMES = ("text", "TEXT", "caption", "CAPTION", "alt", "alt_text", "alttext", "Caption", "title", "txt")
UID_NAMES = ("uid", "UID")


def uid(url: str | None, text: str | None) -> str:
    """md5 of caption then url, as cc2dataset and DataComp make it: 32 lower-case hex characters.

    A missing value counts as the empty string; lone surrogates are kept, not refused.

    >>> uid("http://a/b.jpg", "a dog")
    '0a7cb640c0568921e17b25c59387290b'
    """
    joined = ((text or "") + (url or "")).encode("utf-8", "surrogatepass")
    return hashlib.md5(joined, usedforsecurity=False).hexdigest()


def uids(urls: pa.ChunkedArray, texts: pa.ChunkedArray) -> pa.Array:
    """`uid` for every row, in order."""
    pairs = zip(urls.to_pylist(), texts.to_pylist(), strict=True)
    return pa.array([uid(url, text) for url, text in pairs], pa.string())


def sample_key(shard: int, row: int, rows_per_shard: int) -> str:
    """img2dataset's sample key: shard number then row number, zero-padded (methods of img2dataset's writer).

    >>> sample_key(12, 34, 10_000)
    '000120034'
    """
    digits = len(str(max(rows_per_shard - 1, 1)))
    return f"{shard:05d}{row:0{digits}d}"


def find(kind: str, names: Iterable[str], candidates: tuple[str, ...]) -> str | None:
    """The first candidate among the input's column names, else a candidate that differs only in case."""
    have = list(names)
    for candidate in candidates:
        if candidate in have:
            return candidate
    lowered = {name.lower(): name for name in reversed(have)}
    return next((lowered[c.lower()] for c in candidates if c.lower() in lowered), None)
