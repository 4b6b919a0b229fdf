"""A dataset on disk: tables by shard, one tar per shard, a manifest.

    <root>/records/00042.parquet            uid, url, text, the input's other columns
    <root>/<name>-<identity>/00042.parquet  uid and the columns of one op, same rows in the same order
    <root>/images-<identity>/00042.tar      the downloaded images of a shard, beside their status rows
    <root>/manifest.json                    what made each table

A part is written to a temporary name and renamed, or put in one request: if it exists, it is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO, cast

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.causes import explained
from curate.errors import CurateError, unknown
from curate.remarks import Remarks

FORMAT = 1
#: Columns of values that hardly repeat: with a dictionary they take a third longer to write and three times to read.
_DISTINCT = {"uid", "url", "text", "sha256", "key"}
_WRITE: dict[str, Any] = {"compression": "zstd", "write_statistics": True, "store_schema": True}


def identity(**parts: Any) -> str:
    """Twelve hex characters that name what made a table; any difference in `parts` changes them."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def shard_name(shard: int) -> str:
    return f"{shard:05d}"


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

    def read_bytes(self, name: str) -> bytes:
        return cast(bytes, self.fs.cat_file(self.path(name)))

    def names(self, folder: str = "") -> set[str]:
        """Names in a folder, one listing; empty when the folder is not there. Never cached."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return set()
        return {entry.rstrip("/").rsplit("/", 1)[-1] for entry in found}

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

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(self.path(name), recursive=True)


@dataclass(frozen=True)
class Store(Folder):
    """A dataset under `url`: see the module's docstring for the layout."""

    _shared: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "_shared": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    # ---- the manifest: written by the driver only ----

    def manifest(self) -> dict[str, Any]:
        """What the store holds; an empty one when nothing was read yet.

        Raises:
            CurateError: when the file is damaged or of a newer format.
        """
        try:
            data = json.loads(self.read_bytes("manifest.json"))
        except FileNotFoundError:
            return {"format": FORMAT, "inputs": [], "tables": {}, "current": {}, "runs": {}}
        except NotADirectoryError as error:
            raise CurateError(f"'{self.url}' is a file, not the folder of a store") from error
        except ValueError as error:
            raise CurateError(f"{self.url}/manifest.json is damaged: {error}") from error
        if not isinstance(data, dict) or "format" not in data:
            raise CurateError(f"{self.url}/manifest.json is damaged: it is no manifest of a store")
        if data["format"] != FORMAT:
            raise CurateError(f"{self.url} has format {data['format']}; this curate reads {FORMAT}: upgrade it")
        return cast(dict[str, Any], data)

    def save(self, manifest: dict[str, Any]) -> None:
        self.write_bytes("manifest.json", json.dumps(manifest, indent=1).encode())

    def note_table(self, table: str, **about: Any) -> None:
        """Record what made a table and make it the one that its name means from now on."""
        manifest = self.manifest()
        entry = manifest["tables"].setdefault(table, {})
        seconds = entry.get("seconds", 0.0) + about.pop("seconds", 0.0)
        entry.update(about, seconds=round(seconds, 3))
        # Last used is last in the dict: a column that two tables hold means the later one.
        manifest["current"].pop(entry["name"], None)
        manifest["current"][entry["name"]] = table
        self.save(manifest)

    def note_change(self, table: str) -> None:
        """Record, before it happens, that final values of a table change: what was made from them is made anew."""
        manifest = self.manifest()
        entry = manifest["tables"].get(table)
        if entry is not None:
            entry["changes"] = entry.get("changes", 0) + 1
            if "complete" in entry:
                entry["complete"] = {}
            self.save(manifest)

    # ---- shards ----

    def shard_rows(self) -> dict[int, int]:
        """Shard number to row count, in order."""
        rows: dict[int, int] = {}
        for group in self.manifest()["inputs"]:
            size, left = group["rows_per_shard"], group["rows"]
            for shard in range(group["first_shard"], group["first_shard"] + group["shards"]):
                rows[shard] = min(size, left)
                left -= rows[shard]
        return rows

    def parts(self, table: str) -> set[int]:
        """Shards for which `table` has a complete part."""
        names = (n.removesuffix(".parquet") for n in self.names(table) if n.endswith(".parquet"))
        return {int(name) for name in names if name.isdecimal()}

    def part(self, table: str, shard: int) -> str:
        return f"{table}/{shard_name(shard)}.parquet"

    def read_part(self, table: str, shard: int, columns: Iterable[str] | None = None) -> pa.Table:
        """
        Raises:
            CurateError: for a column that the part does not have.
        """
        wanted = None if columns is None else list(columns)
        with self.open(self.part(table, shard)) as file:
            # Half the time of pq.read_table, which builds a dataset around each file.
            parquet = pq.ParquetFile(file, pre_buffer=not self.local)
            names = parquet.schema_arrow.names
            for name in wanted or ():
                if name not in names:
                    raise unknown("column", name, names, f"{self.url}/{self.part(table, shard)}")
            found = parquet.read(columns=wanted)
            return found if wanted is None else found.select(wanted)

    def try_part(self, table: str, shard: int) -> pa.Table | None:
        try:
            return self.read_part(table, shard)
        except FileNotFoundError:
            return None

    def write_part(self, table: str, shard: int, rows: pa.Table) -> None:
        with self.writing(self.part(table, shard)) as file:
            repeated = [name for name in rows.column_names if name not in _DISTINCT]
            pq.write_table(rows, file, use_dictionary=repeated, **_WRITE)

    # ---- remarks: beside the part that they are about, so that a restarted run has those of every shard ----

    def write_remarks(self, table: str, shard: int, remarks: Remarks) -> None:
        """Keep what a worker has to say of a shard; called before its part is written, which makes it final."""
        name = f"{table}/{shard_name(shard)}.remarks.json"
        if remarks:
            self.write_bytes(name, json.dumps(remarks.to_json(), sort_keys=True).encode())
        else:
            self.remove(name)

    def remarks(self, table: str) -> Remarks:
        """The sum over all shards of a table."""
        total = Remarks()
        for name in sorted(n for n in self.names(table) if n.endswith(".remarks.json")):
            total.merge(Remarks.from_json(json.loads(self.read_bytes(f"{table}/{name}"))))
        return total

    # ---- for people: tables by name ----

    def tables(self) -> dict[str, str]:
        """Table names to the folders they stand for, `records` first."""
        manifest = self.manifest()
        found = {"records": "records"} if manifest["inputs"] else {}
        found.update(manifest["current"])
        return found

    def __getitem__(self, name: str) -> pl.LazyFrame:
        """A table as a polars lazy frame, all shards in order.

        Raises:
            CurateError: for a name that is not there; the message lists the tables.
        """
        tables = self.tables()
        if name not in tables:
            raise unknown("table", name, tables, self.url)
        return self.scan(tables[name])

    def scan(self, folder: str) -> pl.LazyFrame:
        """A table by its folder's name."""
        parts = [self.path(self.part(folder, shard)) for shard in sorted(self.parts(folder))]
        if not parts:
            raise CurateError(f"{self.url}/{folder} holds no parts yet")
        if self.local:
            return pl.scan_parquet(parts, hive_partitioning=False)
        # Imported here: it brings pandas along, a third of a second for every command.
        import pyarrow.dataset as ds

        return pl.scan_pyarrow_dataset(ds.dataset(parts, format="parquet", filesystem=self.fs))

    def columns(self) -> dict[str, str]:
        """Column names to the folder of the table they come from (the latest, when several have one)."""
        manifest = self.manifest()
        found: dict[str, str] = {}
        for group in manifest["inputs"]:
            found.update(dict.fromkeys(group["columns"], "records"))
        for folder in manifest["current"].values():
            entry = manifest["tables"][folder]
            if entry.get("kind") != "keep":
                # Every table has uid; that of the records is the one that identities are made of.
                found.update({name: folder for name in entry["columns"] if name != "uid"})
        return found
