"""Reading: any input as records in shards, streamed; a file that was read is never read twice."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import fsspec
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from curate import inputs, record
from curate.cluster import Cluster
from curate.errors import CurateError, unknown
from curate.inputs.webdataset import IMAGE, IMAGE_FIELDS
from curate.store import Store, identity
from curate.view import View

#: Shards that one task reads from a file that can be entered anywhere.
SHARDS_PER_TASK = 32


class ReadOptions(BaseModel):
    """How to read an input.

    input: a file, folder or glob, local or any fsspec URL.
    format: auto (by extension), or the name of an input format.
    columns: our name to the input's, e.g. {url: image_link}; found by the usual names where not given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str
    format: str = "auto"
    columns: dict[str, str] = {}
    rows_per_shard: int = Field(10_000, ge=1, le=1_000_000)


@dataclass(frozen=True)
class Source:
    """Files of one format, their columns, and how these become a record's."""

    format: str
    files: list[str]
    names: list[str]
    sizes: list[int]
    fields: pa.Schema
    mapping: dict[str, str]

    @property
    def module(self) -> ModuleType:
        return inputs.formats()[self.format]


def open_source(options: ReadOptions) -> Source:
    """Find the input and settle its columns, before any work.

    Raises:
        CurateError: nothing there, not readable, or no column that holds captions or urls.
    """
    format_name, files = inputs.find(options.input, options.format)
    module = inputs.formats()[format_name]
    fs, path = fsspec.core.url_to_fs(options.input)
    root = path.rstrip("/") if fs.isdir(path) else path.rpartition("/")[0]
    plain = [fsspec.core.url_to_fs(f)[1] for f in files]
    names = [p.removeprefix(root).lstrip("/") for p in plain]
    with ThreadPoolExecutor(8) as pool:
        try:
            schemas = list(pool.map(module.schema, files))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CurateError(f"cannot read '{options.input}' as {format_name}: {error}") from error
        sizes = list(pool.map(lambda p: int(fs.size(p) or 0), plain))
    fields = _union(schemas)
    return Source(format_name, files, names, sizes, fields, _mapping(options, fields, format_name))


def _union(schemas: list[pa.Schema]) -> pa.Schema:
    kinds: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            known = kinds.setdefault(field.name, field.type)
            if known != field.type:
                kinds[field.name] = pa.large_string()
    return pa.schema(list(kinds.items()))


def _mapping(options: ReadOptions, fields: pa.Schema, format_name: str) -> dict[str, str]:
    names = [n for n in fields.names if not n.startswith(IMAGE)]
    found = {}
    for ours, candidates in (("url", record.URL_NAMES), ("text", record.TEXT_NAMES), ("uid", record.UID_NAMES)):
        match = record.find(ours, names, candidates)
        if match:
            found[ours] = match
    for ours, theirs in options.columns.items():
        if theirs not in names:
            raise unknown("column", theirs, names, f"input '{options.input}'")
        found[ours] = theirs
    needed = ["text"] if format_name == "webdataset" else ["url", "text"]
    for ours in needed:
        if ours not in found:
            raise CurateError(
                f"input '{options.input}' has no column for '{ours}'; it has: {', '.join(names)}. "
                f"Name it: columns: {{{ours}: ...}}"
            )
    return found


@dataclass(frozen=True)
class Slice:
    """Consecutive shards that one task writes, beginning inside one file."""

    first_shard: int
    shards: int
    file: int
    skip: int


def plan(rows: list[int], rows_per_shard: int, first_shard: int, seekable: bool) -> list[Slice]:
    """Tasks that read every file about once: the shards that begin in a file belong to that file's task.

    >>> plan([5, 7], 4, 0, seekable=False)
    [Slice(first_shard=0, shards=2, file=0, skip=0), Slice(first_shard=2, shards=1, file=1, skip=3)]
    """
    slices, begin = [], 0
    for file, count in enumerate(rows):
        first = -(-begin // rows_per_shard)
        last = -(-(begin + count) // rows_per_shard)
        step = SHARDS_PER_TASK if seekable else max(last - first, 1)
        for shard in range(first, last, step):
            size = min(step, last - shard)
            slices.append(Slice(first_shard + shard, size, file, shard * rows_per_shard - begin))
        begin += count
    return slices


@dataclass
class ReadSlice:
    """Work: the records (and the place of images that came along) of a run of shards."""

    store: Store
    source: Source
    slices: list[Slice]
    rows: dict[int, int]
    images: str
    types: pa.Schema

    def __call__(self, number: int) -> dict[str, Any]:
        part = self.slices[number]
        wanted = range(part.first_shard, part.first_shard + part.shards)
        batches = self._batches(part)
        left: pa.Table | None = None
        for shard in wanted:
            pieces, need = ([left] if left is not None and left.num_rows else []), self.rows[shard]
            have = sum(p.num_rows for p in pieces)
            while have < need:
                batch = next(batches, None)
                if batch is None:
                    raise CurateError(f"input changed while it was read: shard {shard} misses {need - have} rows")
                pieces.append(self._records(batch))
                have += batch.num_rows
            table = pa.concat_tables(pieces)
            self._write(shard, table.slice(0, need))
            left = table.slice(need)
        return {"rows": sum(self.rows[s] for s in wanted)}

    def _batches(self, part: Slice) -> Iterator[pa.RecordBatch]:
        skip = part.skip
        for file in self.source.files[part.file :]:
            yield from self.source.module.read(file, skip)
            skip = 0

    def _records(self, batch: pa.RecordBatch) -> pa.Table:
        """A batch with our names and the store's types; what a file lacks is null."""
        columns = {ours: batch[theirs] for ours, theirs in self.source.mapping.items() if theirs in batch.schema.names}
        taken = set(self.source.mapping.values())
        for name in batch.schema.names:
            if name not in taken:
                columns.setdefault(name, batch[name])
        for field in self.types:
            values = columns.get(field.name)
            if values is None:
                columns[field.name] = pa.nulls(batch.num_rows, field.type)
            elif values.type != field.type:
                columns[field.name] = _cast(values, field.type)
        images = {n: v for n, v in columns.items() if n.startswith(IMAGE)}
        ordered = {field.name: columns[field.name] for field in self.types}
        return pa.table(ordered | images)

    def _write(self, shard: int, table: pa.Table) -> None:
        images = [n for n in table.column_names if n.startswith(IMAGE)]
        given = table["uid"]
        if given.null_count:
            made = record.uids(table["url"], _identifying(table))
            filled = [g if g is not None else m for g, m in zip(given.to_pylist(), made.to_pylist(), strict=True)]
            table = table.set_column(table.column_names.index("uid"), "uid", pa.array(filled, pa.string()))
        if images:
            about = {"uid": table["uid"], **{n.removeprefix(IMAGE): table[n] for n in images}}
            about |= {n: pa.nulls(table.num_rows, k) for n, k in IMAGE_FIELDS.items() if n not in about}
            self.store.write_part(self.images, shard, pa.table(about).select(["uid", *IMAGE_FIELDS]))
        self.store.write_part("records", shard, table.drop_columns(images))


def _identifying(table: pa.Table) -> pa.ChunkedArray:
    """The caption; where a sample has no url, its key stands in, so that equal captions stay two pairs."""
    if "key" not in table.column_names or table["url"].null_count == 0:
        return table["text"]
    rows = zip(table["url"].to_pylist(), table["key"].to_pylist(), table["text"].to_pylist(), strict=True)
    return pa.chunked_array([pa.array([f"{t or ''}{k or ''}" if u is None else t for u, k, t in rows], pa.large_string())])


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if pa.types.is_large_string(kind) or pa.types.is_string(kind):
            return pa.array([None if v is None else str(v) for v in values.to_pylist()], kind)
        raise


def read(store: Store, options: ReadOptions, cluster: Cluster) -> View:
    """Records of an input, appended to what the store has; files already read are left alone.

    Raises:
        CurateError: when a file that was read has changed since, or the input is empty.
    """
    manifest = store.manifest()
    source = open_source(options)
    known = {file["name"]: file for group in manifest["inputs"] for file in group["files"]}
    fresh = []
    for i, (name, size) in enumerate(zip(source.names, source.sizes, strict=True)):
        if name not in known:
            fresh.append(i)
        elif known[name]["size"] != size:
            raise CurateError(
                f"'{name}' had {known[name]['size']} bytes when {store.url} read it and has {size} now: "
                "use a new root, or give the changed file another name"
            )
    for group in manifest["inputs"]:
        if group["rows_per_shard"] != options.rows_per_shard:
            raise CurateError(
                f"{store.url} was read with rows_per_shard: {group['rows_per_shard']}, not {options.rows_per_shard}"
            )
    if fresh:
        _plan_group(store, manifest, source, fresh, options)
        manifest = store.manifest()
    for group in manifest["inputs"]:
        _read_group(store, group, source, cluster)
    return records_view(store)


def records_view(store: Store) -> View:
    """The store as reading left it: what later steps make is theirs to add, in the order of the pipeline."""
    groups = store.manifest()["inputs"]
    view = View(store).with_table("records", groups[0]["columns"])
    images = next((g["images"] for g in groups if g["images"]), None)
    return View(store, view.with_table(images, IMAGE_FIELDS).columns, None, images) if images else view


def _plan_group(
    store: Store, manifest: dict[str, Any], source: Source, fresh: list[int], options: ReadOptions
) -> None:
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(source.module.count, [source.files[i] for i in fresh]))
    if not sum(counts):
        raise CurateError(f"input '{options.input}' holds no rows")
    files = [
        {"name": source.names[i], "size": source.sizes[i], "rows": rows} for i, rows in zip(fresh, counts, strict=True)
    ]
    types = _types(store, source)
    columns = types.names
    images = any(n.startswith(IMAGE) for n in source.fields.names)
    manifest["inputs"].append(
        {
            "input": options.input,
            "format": source.format,
            "columns": columns,
            "mapping": source.mapping,
            "files": files,
            "first_shard": sum(g["shards"] for g in manifest["inputs"]),
            "shards": -(-sum(counts) // options.rows_per_shard),
            "rows": sum(counts),
            "rows_per_shard": options.rows_per_shard,
            "images": f"images-{identity(adopted=source.format)}" if images else None,
        }
    )
    store.save(manifest)


def _types(store: Store, source: Source) -> pa.Schema:
    """Types of the records' columns; appended input takes those that the store has."""
    if store.manifest()["inputs"] and 0 in store.parts("records"):
        return store.read_part("records", 0).schema
    kinds = {ours: source.fields.field(theirs).type for ours, theirs in source.mapping.items()}
    taken = set(source.mapping.values())
    for field in source.fields:
        if field.name not in taken and not field.name.startswith(IMAGE):
            kinds.setdefault(field.name, field.type)
    own = {f.name: f.type for f in record.SCHEMA}
    return pa.schema(list((own | {n: k for n, k in kinds.items() if n not in own}).items()))


def _read_group(store: Store, group: dict[str, Any], source: Source, cluster: Cluster) -> None:
    names = [file["name"] for file in group["files"]]
    shards = range(group["first_shard"], group["first_shard"] + group["shards"])
    missing = set(shards) - store.parts("records")
    if missing:
        gone = [name for name in names if name not in source.names]
        if gone:
            raise CurateError(f"'{gone[0]}' was not read to its end and is no longer in the input")
        places = [source.names.index(name) for name in names]
        own = Source(
            source.format, [source.files[i] for i in places], names, [], source.fields, source.mapping
        )
        rows = {s: r for s, r in store.shard_rows().items() if s in set(shards)}
        seekable = bool(source.module.SEEKABLE)
        slices = plan([f["rows"] for f in group["files"]], group["rows_per_shard"], group["first_shard"], seekable)
        todo = [i for i, s in enumerate(slices) if missing & set(range(s.first_shard, s.first_shard + s.shards))]
        work = {
            "store": store,
            "source": own,
            "slices": slices,
            "rows": rows,
            "images": group["images"],
            "types": _types(store, source),
        }
        sizes = {i: sum(rows[s] for s in range(c.first_shard, c.first_shard + c.shards)) for i, c in enumerate(slices)}
        for _ in cluster.each("read", ReadSlice, work, todo, sizes):
            pass
    if group["images"] and store.manifest()["current"].get("images") != group["images"]:
        store.note_table(group["images"], name="images", op="read", columns=["uid", *IMAGE_FIELDS])
