"""sha256 of a file that an identity depends on, hashed again only when the file was changed."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from typing import BinaryIO

import fsspec

_BLOCK_BYTES = 1 << 20


def file_sha256(path: str) -> str:
    """64 hex digits, of a local file or any fsspec URL.

    A file may be rewritten while the process lives (a notebook, a long driver): the digest is kept under the file's
    size, times and inode, or under what the object store says of its version.

    Raises:
        OSError: when the file cannot be read.
    """
    fs, place = fsspec.core.url_to_fs(path, use_listings_cache=False)
    protocol = fs.protocol
    if "file" in ([protocol] if isinstance(protocol, str) else protocol):
        facts = os.stat(place)
        return _sha256(path, (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino))
    return _sha256(path, (str(fs.ukey(place)),))


@lru_cache(maxsize=1024)
def _sha256(path: str, version: tuple[object, ...]) -> str:
    with fsspec.open(path, "rb") as file:
        return sha256_of(file)


def sha256_of(file: BinaryIO) -> str:
    """64 hex digits of the rest of an open file, read block by block."""
    digest = hashlib.sha256()
    for block in iter(lambda: file.read(_BLOCK_BYTES), b""):
        digest.update(block)
    return digest.hexdigest()
