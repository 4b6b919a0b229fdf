"""Files of an input: their names, and how a changed one is told from the one that was read."""

from __future__ import annotations

import hashlib
import os
from typing import Any, BinaryIO, cast

import fsspec

#: A file up to this size is hashed whole; of a larger one, its ends and blocks evenly between them.
WHOLE_BYTES = 8 << 20

#: Bytes of a block, and the number of them.
BLOCK_BYTES, BLOCKS = 1 << 16, 16

#: What file systems tell of a file that changes when it is written: object stores an etag, disks their times.
_MARKS = (
    *("ETag", "etag", "md5Hash", "generation", "VersionId", "content_md5", "LastModified", "last_modified"),
    *("updated", "mtime", "created", "ino"),
)


def content(file: str) -> str:
    """Hash of a file: of all of it, or, where it is large, of 16 blocks from its beginning to its end.

    A file of another size is another one in any case. What can be missed is a change of a large file in place, without
    a change of its size, that leaves the blocks as they are and is hidden from its file system.
    """
    with fsspec.open(file, "rb") as opened:
        handle = cast(BinaryIO, opened)
        size = handle.seek(0, os.SEEK_END)
        handle.seek(0)
        if size <= WHOLE_BYTES:
            return hashlib.sha256(handle.read()).hexdigest()[:16]
        hashed = hashlib.sha256()
        for number in range(BLOCKS):
            handle.seek((size - BLOCK_BYTES) * number // (BLOCKS - 1))
            hashed.update(handle.read(BLOCK_BYTES))
        return hashed.hexdigest()[:16]


def mark(about: dict[str, Any]) -> str:
    """What the file system says of a file's last change, as a hash; "" where it says nothing."""
    marks = {name: str(about[name]) for name in _MARKS if about.get(name) is not None}
    return hashlib.sha256(repr(sorted(marks.items())).encode()).hexdigest()[:16] if marks else ""


def about_file(file: str) -> dict[str, Any]:
    """What the file system says of a file."""
    fs, path = fsspec.core.url_to_fs(file)
    return dict(fs.info(path))
