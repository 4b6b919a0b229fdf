"""A folder on any fsspec file system: whole-file writes, JSON with checksums, names that identities make."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, cast

import fsspec
import xxhash

from curate.errors import CurateError
from curate.messages.causes import explained
from curate.store.fetched import WholeFile, fetch_range, is_object_store

#: Small files that are read at the same time, and those whose contents wait for their reader.
THREADS = 8
AT_A_TIME = 1000

#: Key of the checksum in a JSON file.
CHECKSUM = "checksum"


def identity(**parts: Any) -> str:
    """Twelve hex characters that name what made a table; any difference in `parts` changes them."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def shard_name(shard: int) -> str:
    return f"{shard:05d}"


def json_file(data: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON file with its checksum."""
    return json.dumps({**data, CHECKSUM: _json_checksum(data)}, indent=1).encode()


def _json_checksum(data: Mapping[str, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(data, sort_keys=True).encode())


def is_torn(name: str) -> bool:
    """Whether a file is what `Folder.writing` had of one when its process was killed."""
    return name.startswith(".") and name.endswith(".tmp")


@dataclass(frozen=True)
class Folder:
    """A folder on any fsspec file system, with whole-file writes."""

    url: str

    @cached_property
    def _located(self) -> tuple[fsspec.AbstractFileSystem, str]:
        try:
            # Cached listings would hide, or give the old size of, what another process has written since.
            fs, path = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            raise CurateError(f"cannot open '{self.url}': {explained(error) or error}") from error
        return fs, path.rstrip("/")

    @property
    def fs(self) -> fsspec.AbstractFileSystem:
        return self._located[0]

    @cached_property
    def local(self) -> bool:
        protocol = self.fs.protocol
        return "file" in ([protocol] if isinstance(protocol, str) else protocol)

    def path(self, name: str) -> str:
        return f"{self._located[1]}/{name}" if name else self._located[1]

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(self.path(name)))

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self.fs.open(self.path(name), "rb"))

    def reading(self, name: str) -> BinaryIO:
        """A file that will be read from its beginning to its end: from an object store it is fetched ahead."""
        if not is_object_store(self.fs):
            return self.open(name)
        path = self.path(name)
        return cast(BinaryIO, WholeFile(lambda _, *ends: fetch_range(self.fs, path, *ends), self.fs.size(path)))

    def read_bytes(self, name: str) -> bytes:
        return cast(bytes, self.fs.cat_file(self.path(name)))

    def names(self, folder: str = "") -> set[str]:
        """Names in a folder, one listing; empty when the folder is not there. Never cached."""
        self.fs.invalidate_cache()
        try:
            entries = self.fs.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return set()
        return {entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries}

    def write_bytes(self, name: str, data: bytes) -> None:
        """All of it or nothing: temporary name and rename here, one request on an object store."""
        with self.writing(name) as file:
            file.write(data)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file that appears under `name` when the block ends without an error, and not before."""
        target = self.path(name)
        if self.local:
            os.makedirs(os.path.dirname(target), exist_ok=True)
        folder = os.path.dirname(target) if self.local else None
        # The pid in the name: two attempts at one shard never write into each other's file.
        handle = tempfile.NamedTemporaryFile(  # noqa: SIM115 - renamed while it is known, not deleted
            dir=folder, prefix=f".{os.path.basename(target)}.", suffix=f".{os.getpid()}.tmp", delete=False
        )
        try:
            with handle:
                yield cast(BinaryIO, handle)
                handle.flush()
                if self.local:
                    os.fsync(handle.fileno())
            if self.local:
                os.chmod(handle.name, 0o644)
                os.replace(handle.name, target)
            else:
                self.fs.put_file(handle.name, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(handle.name)

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """An object with its own checksum in it, indented for people."""
        self.write_bytes(name, json_file(data))

    def read_json(self, name: str) -> dict[str, Any]:
        """What `write_json` wrote.

        Raises:
            FileNotFoundError: when there is no such file.
            CurateError: when it is not as it was written.
        """
        data = self.read_bytes(name)
        try:
            content = json.loads(data)
            if content.pop(CHECKSUM) != _json_checksum(content):
                raise ValueError("its checksum is another")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise CurateError(f"{self.url}/{name} is damaged: {type(error).__name__}: {error}") from error
        return cast(dict[str, Any], content)

    def read_jsons(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """As `read_json`, of many files in this order, several at a time: each waits for storage."""
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(names), AT_A_TIME):
                yield from pool.map(self.read_json, names[start : start + AT_A_TIME])

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(self.path(name), recursive=True)


def folder_and_name(path: str) -> tuple[Folder, str]:
    """The folder of a file, and the file's name in it.

    >>> folder_and_name("s3://bucket/a/b.npy"), folder_and_name("b.npy"), folder_and_name("/b.npy")
    ((Folder(url='s3://bucket/a'), 'b.npy'), (Folder(url='.'), 'b.npy'), (Folder(url='/'), 'b.npy'))
    """
    folder, slash, name = path.rpartition("/")
    return Folder(folder or slash or "."), name
