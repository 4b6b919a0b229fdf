"""A record: one (image URL, caption) pair as a row of an Arrow table, and its uid."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Column that holds what of a line or sample is damaged or fits no column. Such a row is read like any other: what
#: is whole of it is in its columns, the rest is null.
MALFORMED = "malformed"

#: Columns that every record has; an input's other columns follow unchanged.
SCHEMA = pa.schema([("uid", pa.string()), ("url", pa.large_string()), ("text", pa.large_string())])

UID = re.compile(r"[0-9a-f]{32}\Z")

#: Names under which published datasets keep the image URL, the caption and the pair's id. Where there is an image_url
#: beside a url, the url is that of the page.
URL_NAMES = ("image_url", "img_url", "imageUrl", "image_link", "url", "URL", "Url", "image_urls", "urls")
TEXT_NAMES = (
    *("text", "TEXT", "caption", "CAPTION", "alt", "alt_text", "alttext", "Caption", "title", "txt"),
    *("texts", "captions"),
)
UID_NAMES = ("uid", "UID")


def uid(url: str | None, text: str | None) -> str:
    """md5 of caption then url, as cc2dataset and DataComp make it: 32 lower-case hex characters.

    A missing value counts as the empty string; lone surrogates are kept, not refused.

    >>> uid("http://a/b.jpg", "a dog")
    '0a7cb640c0568921e17b25c59387290b'
    """
    joined = ((text or "") + (url or "")).encode("utf-8", "surrogatepass")
    return hashlib.md5(joined, usedforsecurity=False).hexdigest()


def _md5() -> Callable[[bytes], Any]:
    """Python's own md5, which begins a short message in half the time that OpenSSL's takes; some builds lack it."""
    try:
        from _md5 import md5  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return partial(hashlib.md5, usedforsecurity=False)
    own: Callable[[bytes], Any] = md5
    return own


#: Messages that are Python's at a time: few enough to stay in the processor's cache.
_MESSAGES = 1_000


def uids(urls: pa.ChunkedArray, texts: pa.ChunkedArray) -> pa.Array:
    """`uid` for every row, in order."""
    parts = [column.cast(pa.large_binary()) for column in (texts, urls)]
    nothing = pa.scalar(b"", pa.large_binary())
    messages = pc.binary_join_element_wise(*parts, nothing, null_handling="replace", null_replacement=b"")
    md5, digits = _md5(), list[str]()
    for first in range(0, len(messages), _MESSAGES):
        some = messages.slice(first, _MESSAGES).to_pylist()
        digits.append(b"".join([md5(message).digest() for message in some]).hex())
    ends = np.arange(len(messages) + 1, dtype=np.int32) * 32
    letters = "".join(digits).encode()
    return pa.Array.from_buffers(pa.string(), len(messages), [None, pa.py_buffer(ends), pa.py_buffer(letters)])


#: A UUID as it is usually written.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def as_uid(value: Any) -> str | None:
    """A uid as 32 lower-case hex digits: given so, as 16 bytes, or as a UUID; None for any other value.

    >>> as_uid(b"0123456789abcdef"), as_uid("01234567-89AB-cdef-0123-456789abcdef"), as_uid(12)
    ('30313233343536373839616263646566', '0123456789abcdef0123456789abcdef', None)
    """
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, bytes):
        if len(value) == 16:
            return value.hex()
        value = value.decode("ascii", "replace")
    if not isinstance(value, str):
        return None
    digits = value.lower()
    digits = digits.replace("-", "") if _UUID.match(digits) else digits
    return digits if UID.match(digits) else None


def sample_key(shard: int, row: int, rows_per_shard: int) -> str:
    """img2dataset's sample key: shard number then row number, zero-padded (methods of img2dataset's writer).

    >>> sample_key(12, 34, 10_000)
    '000120034'
    """
    digits = len(str(max(rows_per_shard - 1, 1)))
    return f"{shard:05d}{row:0{digits}d}"


def find(kind: str, names: Iterable[str], candidates: tuple[str, ...]) -> str | None:
    """The first candidate among the input's column names, else a candidate that differs only in case."""
    columns = list(names)
    for candidate in candidates:
        if candidate in columns:
            return candidate
    lowered = {name.lower(): name for name in reversed(columns)}
    return next((lowered[c.lower()] for c in candidates if c.lower() in lowered), None)
