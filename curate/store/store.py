"""A dataset on disk: tables by shard, one tar per shard, a manifest.

    <root>/records/00042.parquet            uid, url, text, the input's other columns
    <root>/<name>-<identity>/00042.parquet  the columns of one op, same rows in the same order
    <root>/<name>-<identity>/learned.parquet    what an op learned from all rows, where others go on with it
    <root>/images-<identity>/00042.tar      the downloaded images of a shard, beside their status rows
    <root>/inputs/00000.parquet             the files that were read, one list for each input
    <root>/write_notes/<identity>.json      a write step that has ended: what it wrote, and what it said
    <root>/removed/00001.parquet            what was removed, as keys that hold no content, see curate.store.removal
    <root>/manifest.json                    what made each table, see curate.store.manifest

A part is written to a temporary name and renamed, or put in one request: if it exists, it is complete. Every file
carries checksums: a part in itself (curate.store.part_file), with the identity of the records that its rows belong to.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
from pydantic import ValidationError

from curate.errors import CurateError, unknown
from curate.messages.remarks import Remarks
from curate.store import part_file
from curate.store.cost import Cost
from curate.store.folder import Folder, shard_name
from curate.store.manifest import FORMAT, Keep, Manifest, Table
from curate.store.placed_part import bytes_of, in_place
from curate.store.scan import scan_files
from curate.store.shard_rows import ShardRows
from curate.store.verdict import ledger_columns

#: The file of a table with what its op learned from all rows.
LEARNED = "learned.parquet"

#: The folder with a note for each write step that has ended, see curate.write.finished.
WRITTEN = "write_notes"

#: Stores whose lease may no longer be this process's: another took it over, or storage did not answer for a while. What
#: tells whether it still is: unless it does, the manifest must not be changed.
DOUBTFUL: dict[str, Callable[[], bool]] = {}

#: Stores whose lease this process holds, each with its manifest once read: nobody else changes it.
HELD: dict[str, Manifest | None] = {}

#: Stores in which this process removes rows: nobody else may look at what is half removed.
REMOVING: set[str] = set()


@dataclass(frozen=True)
class Store(Folder):
    """A dataset under `url`: see the module's docstring for the layout."""

    def __getstate__(self) -> dict[str, Any]:
        # A worker opens the file system anew.
        return {"url": self.url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    # ---- the manifest: written by the driver only ----

    def manifest(self) -> Manifest:
        """What the store holds; an empty one when nothing was read yet.

        Raises:
            CurateError: when the file is damaged or of another format, or rows are being removed.
        """
        manifest = HELD.get(self.url) or self._read_manifest()
        if manifest.removing and self.url not in REMOVING:
            raise CurateError(
                f"{self.url}: rows are being removed, or the command that did it was stopped: "
                f"`curate remove {self.url}` goes on with it"
            )
        if self.url in HELD:
            HELD[self.url] = manifest
        return manifest

    def _read_manifest(self) -> Manifest:
        try:
            data = self.read_json("manifest.json")
        except FileNotFoundError:
            return Manifest()
        except NotADirectoryError as error:
            raise CurateError(f"'{self.url}' is a file, not the folder of a store") from error
        except CurateError:
            self._refuse_other_format()
            raise
        if data.get("format") != FORMAT:
            self._refuse_other_format()
        try:
            return Manifest.model_validate(data)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            raise CurateError(f"{self.url}/manifest.json is damaged: {place}: {fault['msg']}") from error

    def _refuse_other_format(self) -> None:
        """
        Raises:
            CurateError: when the manifest is that of a store of another format.
        """
        with contextlib.suppress(ValueError):
            data = json.loads(self.read_bytes("manifest.json"))
            if isinstance(data, dict) and isinstance(data.get("format"), int) and data["format"] != FORMAT:
                step = f"`curate upgrade {self.url}` converts it" if data["format"] < FORMAT else "upgrade curate"
                raise CurateError(f"{self.url} has format {data['format']}; this curate reads {FORMAT}: {step}")

    def save(self, manifest: Manifest) -> None:
        """
        Raises:
            CurateError: when another command took over this one's lease.
        """
        if (still_held := DOUBTFUL.get(self.url)) and not still_held():
            raise CurateError(f"{self.url}: another command has taken the lease of this one, which was not heard of")
        self.write_json("manifest.json", manifest.json_tree())
        if self.url in HELD:
            HELD[self.url] = manifest

    def note_table(self, folder: str, entry: Table | Keep) -> None:
        """Record what made a table and make it the one that its name means from now on; see Manifest.note."""
        manifest = self.manifest()
        manifest.note(folder, entry)
        self.save(manifest)

    def note_change(self, folder: str) -> None:
        """Record, before it happens, that final values of a table change: what was made from them is made anew; see
        Manifest.note_change."""
        manifest = self.manifest()
        if manifest.note_change(folder):
            self.save(manifest)

    def note_unfinished(self, costs: Mapping[str, Cost]) -> None:
        """Record what a step cost that is stopped before its end; see Manifest.note_unfinished."""
        manifest = self.manifest()
        manifest.note_unfinished(costs)
        self.save(manifest)

    # ---- shards ----

    def shard_rows(self) -> ShardRows:
        """Shard number to row count, in order."""
        return self.manifest().shard_rows()

    def parts(self, table: str) -> set[int]:
        """Shards for which `table` has a complete part."""
        return {int(n[:-8]) for n in self.names(table) if n.endswith(".parquet") and n[:-8].isdecimal()}

    def part(self, table: str, shard: int) -> str:
        return f"{table}/{shard_name(shard)}.parquet"

    def read_part(self, table: str, shard: int, columns: Iterable[str] | None = None) -> pa.Table:
        """Columns of a part, their checksums compared.

        Raises:
            FileNotFoundError: when the part is not there.
            CurateError: for a column that the part does not have, or bytes that are not as they were written; for a
                part that is not there yet, since its rows were added after the table was made.
        """
        try:
            return self.read_file(self.part(table, shard), columns)
        except FileNotFoundError:
            self.manifest().check_made(table, shard, self.url)
            raise

    def read_file(self, name: str, columns: Iterable[str] | None = None, filters: Any = None) -> pa.Table:
        """As `read_part`, of any file that `write_file` wrote."""
        names = None if columns is None else list(columns)
        with self.opened(name) as part:
            for column in names or ():
                if column not in part.schema.names:
                    raise unknown("column", column, part.schema.names, f"{self.url}/{name}")
            return part.read(names, filters)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[part_file.Part]:
        """A part to read columns of; what is damaged in it is an error that says how to mend it."""
        try:
            if self.local:
                with pa.memory_map(self.path(name)) as mapped:
                    size = mapped.size()
                    data = memoryview(mapped.read_buffer(size)) if size else memoryview(b"")
                    yield in_place(part_file.Part(size, lambda start, end: data[start:end]), name)
            else:
                place = self.path(name)
                size = int(self.fs.size(place))
                part = part_file.Part(size, lambda start, end: self.fs.cat_file(place, start=start, end=end))
                yield in_place(part, name)
        except part_file.Damaged as error:
            raise CurateError(
                f"{self.url}/{name} is damaged: {error} is not as it was written. `curate verify {self.url}` lists all "
                "such files; delete them and run the same command again: what they held is made anew"
            ) from error

    def try_part(self, table: str, shard: int) -> pa.Table | None:
        try:
            return self.read_file(self.part(table, shard))
        except FileNotFoundError:
            return None

    def write_part(
        self,
        table: str,
        shard: int,
        rows: pa.Table,
        about: Mapping[bytes, bytes] | None = None,
        records: pa.Table | None = None,
        owner: str = "",
    ) -> int:
        """Write a part; returns its bytes.

        about: more to be kept in the part's metadata. records: those of the shard, where they are written later.
        owner: the identity of the records, where it was read already.

        The rows are those of the records, in their order: a table holds no uid, but the identity of its records.
        """
        more = dict(about or {})
        if table != "records":
            rows = rows.drop_columns("uid") if "uid" in rows.column_names else rows
            if records is not None:
                owner = part_file.digest(bytes_of(records, self.part("records", shard)))
            owner = owner or self.rows_digest(shard)
            if owner:
                more[part_file.ROWS_OF] = owner.encode()
        return self.write_file(self.part(table, shard), rows.replace_schema_metadata(more))

    def write_file(self, name: str, rows: pa.Table, **options: Any) -> int:
        """Write a parquet file with checksums; returns its bytes."""
        data = bytes_of(rows, name, **options)
        self.write_bytes(name, data)
        return len(data)

    def rows_digest(self, shard: int) -> str:
        """The identity of a shard's records; "" when they are not there."""
        try:
            with self.opened(self.part("records", shard)) as part:
                return part.digest
        except FileNotFoundError:
            return ""

    # ---- remarks: beside the part that they are about, so that a restarted run has those of every shard ----

    def write_remarks(self, table: str, shard: int, remarks: Remarks) -> None:
        """Keep what a worker has to say of a shard; called before its part is written, which makes it final."""
        name = f"{table}/{shard_name(shard)}.remarks.json"
        if remarks:
            self.write_json(name, remarks.to_json())
        else:
            self.remove(name)

    def remarks(self, table: str, shards: range | None = None) -> Remarks:
        """The sum over all shards of a table, or over some."""
        names = sorted(name for name in self.names(table) if name.endswith(".remarks.json"))
        places = [f"{table}/{name}" for name in names if shards is None or int(name.partition(".")[0]) in shards]
        total = Remarks()
        for remarks in self.read_jsons(places):
            total.merge(Remarks.from_json(remarks))
        return total

    # ---- for people: tables by name ----

    def __getitem__(self, name: str) -> pl.LazyFrame:
        """A table as a polars lazy frame, all shards in order.

        Raises:
            CurateError: for a name that is not there; the message lists the tables.
        """
        return self.scan(self.manifest().table_folder(name, self.url))

    def scan(self, folder: str) -> pl.LazyFrame:
        """A table by its folder's name, with the uid of its rows; a keep table as people read its verdicts."""
        shards = sorted(self.parts(folder))
        if not shards:
            raise CurateError(f"{self.url}/{folder} holds no parts yet")
        table = self._scan(folder, shards)
        if folder == "records":
            return table
        if folder.startswith("keep_"):
            table = table.select(ledger_columns(table.collect_schema().names()))
        return pl.concat([self._scan("records", shards).select("uid"), table], how="horizontal")

    def _scan(self, folder: str, shards: Iterable[int]) -> pl.LazyFrame:
        names = [self.part(folder, shard) for shard in shards]
        with self.opened(names[0]) as first:
            if pa.list_(pa.float16()) in first.schema.types:
                return scan_files(self, names)
        parts = [self.path(name) for name in names]
        if self.local:
            return pl.scan_parquet(parts, hive_partitioning=False)
        # Imported here: it brings pandas along, a third of a second for every command.
        import pyarrow.dataset as ds

        return pl.scan_pyarrow_dataset(ds.dataset(parts, format="parquet", filesystem=self.fs))
