"""Stored images of a shard: bytes by tar, offset and size."""

from __future__ import annotations

from typing import BinaryIO

import fsspec

from curate.store import Store, shard_name

#: Where an image lies; `tar` null means the shard's own tar, a bare name one beside it.
LOCATION = ("status", "tar", "offset", "size")


class ImageReader:
    """Bytes of a shard's images, read in the order of the rows: one sequential pass over each tar."""

    def __init__(self, store: Store, folder: str, shard: int):
        self.store, self.folder, self.shard = store, folder, shard
        self.where = store.read_part(folder, shard, LOCATION).to_pydict()
        self._open: tuple[str | None, BinaryIO] | None = None

    def __len__(self) -> int:
        return len(self.where["status"])

    def bytes(self, row: int) -> bytes | None:
        """The stored file of a row, untouched; None when it has none."""
        if self.where["status"][row] != "success":
            return None
        file = self._file(self.where["tar"][row])
        file.seek(self.where["offset"][row])
        data = file.read(self.where["size"][row])
        if len(data) != self.where["size"][row]:
            raise OSError(f"{self.where['tar'][row] or self.folder}: shard {self.shard}, row {row} is cut off")
        return data

    def _file(self, tar: str | None) -> BinaryIO:
        if self._open is None or self._open[0] != tar:
            self.close()
            if tar is None:
                file = self.store.open(f"{self.folder}/{shard_name(self.shard)}.tar")
            elif "/" not in tar:
                file = self.store.open(f"{self.folder}/{tar}")
            else:
                fs, path = fsspec.core.url_to_fs(tar)
                file = fs.open(path, "rb")
            self._open = (tar, file)
        return self._open[1]

    def close(self) -> None:
        if self._open:
            self._open[1].close()
            self._open = None
