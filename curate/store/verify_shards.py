"""Whether one training shard is as it was written, and as a trainer reads it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from curate.store.file_hash import sha256_of
from curate.store.folder import Folder

_BLOCK_BYTES = 1 << 20


def file_digest(folder: Folder, name: str) -> str:
    with folder.reading(name) as file:
        return sha256_of(file)


def shard_fault(folder: Folder, name: str, sha256: str) -> str | None:
    """Read once, for its bytes and as a trainer reads it: webdataset finds as many samples as were written."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    samples, unreadable = 0, ""
    with folder.reading(name) as file:
        hashed = _Hashed(file)
        try:
            samples = sum(1 for _ in group_by_keys(tar_file_expander([{"stream": hashed, "url": name}])))
        except Exception as error:  # noqa: BLE001 - whatever stops webdataset would stop a trainer
            unreadable = f"webdataset cannot read it: {type(error).__name__}: {error}"
        while hashed.read(_BLOCK_BYTES):
            pass
    if hashed.digest.hexdigest() != sha256:
        return "differs"
    expected = json.loads(folder.read_bytes(f"{name.removesuffix('.tar')}_stats.json"))["successes"]
    return unreadable or (None if samples == expected else f"webdataset finds {samples:,} samples, not {expected:,}")


class _Hashed:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: Any) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data: bytes = self.file.read(size)
        self.digest.update(data)
        return data
