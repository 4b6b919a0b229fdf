"""Stored images of a shard: bytes by tar, offset and size."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import fsspec

from curate.errors import CurateError
from curate.store.fetched import Fetched, Place, fetch_range, is_object_store
from curate.store.folder import shard_name
from curate.store.part_file import hashed
from curate.store.store import Store

#: Where an image lies; `tar` null means the shard's own tar, a bare name one beside it.
LOCATION = ("status", "tar", "offset", "size", "checksum")

#: Where a part's metadata holds the digests of the tars that belong to it: a JSON object by the tar's name.
TARS = b"curate.tars"

#: Most bytes of one read of several images, and most bytes between two of them: reading on costs less than a new start.
_READ_BYTES, _GAP_BYTES = 1 << 20, 1 << 14


class ImageReader:
    """Bytes of a shard's images, read in the order of the rows: one sequential pass over each tar.

    From an object store the rows that `coming` names are fetched ahead, others in one request each.
    """

    def __init__(self, store: Store, folder: str, shard: int):
        self.store, self.folder, self.shard = store, folder, shard
        self.where = store.read_part(folder, shard, LOCATION).to_pydict()
        self._open: tuple[str | None, BinaryIO] | None = None
        self._fetched: Fetched | None = None
        self._remote: dict[str | None, bool] = {}

    def __len__(self) -> int:
        return len(self.where["status"])

    def coming(self, rows: Iterable[int]) -> None:
        """Which rows will be asked for, in this order. Rows without an image may be among them."""
        places = [
            Place(self.where["tar"][row] or "", offset, offset + self.where["size"][row])
            for row in rows
            if (offset := self.where["offset"][row]) is not None and self.where["status"][row] == "success"
        ]
        remote = {tar for tar in {place.file for place in places} if self._is_remote(tar or None)}
        self._forget()
        if remote:
            self._fetched = Fetched(self._fetch, [place for place in places if place.file in remote])

    def bytes(self, row: int) -> bytes | None:
        """The stored file of a row, untouched; None when it has none.

        Raises:
            CurateError: when it is not as it was stored.
        """
        if self.where["status"][row] != "success":
            return None
        where = {name: self.where[name][row] for name in LOCATION if name != "status"}
        return self.read(f"the image of row {row}", **where)

    def in_turn(self, rows: Sequence[int]) -> Iterator[memoryview]:
        """As `bytes` of each of the rows, all of which have an image; those that lie close together are read at once.

        Raises:
            CurateError: when one is not as it was stored.
        """
        self.coming(rows)
        for several in self._close_together(rows):
            tar, start = self.where["tar"][several[0]], self.where["offset"][several[0]]
            end = self.where["offset"][several[-1]] + self.where["size"][several[-1]]
            whole = memoryview(self._bytes(tar, start, end))
            for row in several:
                place, size = self.where["offset"][row] - start, self.where["size"][row]
                data = whole[place : place + size]
                self._check(data, f"the image of row {row}", tar, size, self.where["checksum"][row])
                yield data

    def _close_together(self, rows: Sequence[int]) -> Iterator[list[int]]:
        """The rows in runs that one read gets: of one tar, one behind the other."""
        run: list[int] = []
        start = end = 0
        for row in rows:
            place, size = self.where["offset"][row], self.where["size"][row]
            goes_on = (
                bool(run)
                and not self._is_remote(self.where["tar"][row])  # fetched ahead, it is at hand row by row
                and self.where["tar"][row] == self.where["tar"][run[0]]
                and end <= place <= end + _GAP_BYTES
                and place + size - start <= _READ_BYTES
            )
            if run and not goes_on:
                yield run
            if not goes_on:
                run, start = [], place
            run.append(row)
            end = place + size
        if run:
            yield run

    def read(self, what: str, tar: str | None, offset: int, size: int, checksum: int | None) -> builtins.bytes:
        """Bytes at a place that the images table names: an image, or another file of its sample.

        Raises:
            CurateError: when they are not as they were stored.
        """
        data = builtins.bytes(self._bytes(tar, offset, offset + size))
        self._check(data, what, tar, size, checksum)
        return data

    def _bytes(self, tar: str | None, start: int, stop: int) -> builtins.bytes | memoryview:
        if self._is_remote(tar):
            place = Place(tar or "", start, stop)
            return self._fetched.read(place) if self._fetched else self._fetch(*place)
        file = self._file(tar)
        file.seek(start)
        return file.read(stop - start)

    def _check(
        self, data: builtins.bytes | memoryview, what: str, tar: str | None, size: int, checksum: int | None
    ) -> None:
        if len(data) != size:
            raise self._damaged(what, tar, "is cut off")
        if hashed(data) != checksum:
            raise self._damaged(what, tar, "is not as it was stored (its checksum differs)")

    def _damaged(self, what: str, tar: str | None, how: str) -> CurateError:
        if tar and "/" in tar and not tar.startswith("../"):
            mend = f"'{tar}' is not as it was read: put the old file back, or read the new one into a new root"
        else:
            part = f"{self.store.url}/{self.store.part(self.folder, self.shard)}"
            mend = f"`curate verify {self.store.url}` lists all; delete {part} and run again: they are fetched anew"
        return CurateError(f"{self.store.url}: {what} of shard {self.shard} {how}; {mend}")

    def _is_remote(self, tar: str | None) -> bool:
        if tar not in self._remote:
            self._remote[tar] = is_object_store(self._located(tar)[0])
        return self._remote[tar]

    def _fetch(self, tar: str, start: int, stop: int) -> builtins.bytes:
        return fetch_range(*self._located(tar or None), start, stop)

    def _located(self, tar: str | None) -> tuple[fsspec.AbstractFileSystem, str]:
        if tar and "/" in tar and not tar.startswith("../"):
            fs, path = fsspec.core.url_to_fs(tar)
            return fs, path
        name = f"{self.folder}/{tar or f'{shard_name(self.shard)}.tar'}"
        if tar and tar.startswith("../"):  # another table's
            name = tar.removeprefix("../")
        return self.store.fs, self.store.path(name)

    def _file(self, tar: str | None) -> BinaryIO:
        if self._open is None or self._open[0] != tar:
            self._shut()
            fs, path = self._located(tar)
            self._open = (tar, fs.open(path, "rb"))
        return self._open[1]

    def close(self) -> None:
        self._shut()
        self._forget()

    def _shut(self) -> None:
        if self._open:
            self._open[1].close()
            self._open = None

    def _forget(self) -> None:
        if self._fetched:
            self._fetched.close()
            self._fetched = None
