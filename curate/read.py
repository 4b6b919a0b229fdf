"""Reading: any input as records in shards, streamed; a file that was read is never read twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate import record
from curate.cluster import Cluster
from curate.copied_images import CopiedImages
from curate.errors import CurateError
from curate.image_columns import IMAGE, IMAGE_FIELDS, is_image_column
from curate.images import TARS
from curate.progress import console
from curate.remarks import Remarks, say
from curate.source import ReadOptions, Source, common, ends, on_files, open_source, renamed, stored
from curate.store import Store, identity
from curate.view import View

#: Rows that one task reads from a file that can be entered anywhere.
ROWS_PER_TASK = 320_000


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
        step = max(1, ROWS_PER_TASK // rows_per_shard) if seekable else max(last - first, 1)
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
    rows_per_shard: int

    def __call__(self, number: int) -> dict[str, Any]:
        part = self.slices[number]
        wanted = range(part.first_shard, part.first_shard + part.shards)
        batches = self._batches(part)
        left: pa.Table | None = None
        for shard in wanted:
            need, pieces = self.rows[shard], list[pa.Table]()
            with CopiedImages(self.store, self.images, shard, self.rows_per_shard) as copied:
                while need:
                    table = left if left is not None and left.num_rows else next(batches, None)
                    if table is None:
                        raise CurateError(f"input changed while it was read: shard {shard} misses {need} rows")
                    pieces.append(copied.settled(table.slice(0, need)))
                    left = table.slice(need)
                    need -= pieces[-1].num_rows
            self._write(shard, pa.concat_tables(pieces), copied.digests)
        return {"rows": sum(self.rows[s] for s in wanted)}

    def _batches(self, part: Slice) -> Iterator[pa.Table]:
        skip = part.skip
        for number, file in enumerate(self.source.files[part.file :], part.file):
            for batch in self.source.module.read(file, skip):
                yield self._records(_named_samples(batch, self.source.names[number]))
            skip = 0

    def _records(self, batch: pa.RecordBatch) -> pa.Table:
        """A batch with our names and the store's types; what a file lacks is null."""
        theirs = renamed([n for n in batch.schema.names if not is_image_column(n)], self.source.columns)
        columns = {}
        for field in self.types:
            values = batch[theirs[field.name]] if field.name in theirs else pa.nulls(batch.num_rows, field.type)
            columns[field.name] = cast(values, field.type)
        return pa.table(columns | {n: batch[n] for n in batch.schema.names if is_image_column(n)})

    def _write(self, shard: int, table: pa.Table, tars: dict[str, str]) -> None:
        given = table["uid"]
        if given.null_count:
            filled = pc.coalesce(given, record.uids(table["url"], _identifying(table)))
            table = table.set_column(table.column_names.index("uid"), "uid", filled)
        images = [n for n in table.column_names if is_image_column(n)]
        records = table.drop_columns(images)
        if images:
            about = {n.removeprefix(IMAGE): table[n] for n in images}
            self.store.write_remarks(self.images, shard, _remarks(about, shard))
            kept = [*IMAGE_FIELDS, "members"] if "members" in about else [*IMAGE_FIELDS]
            digests = {TARS: json.dumps(tars).encode()}
            self.store.write_part(self.images, shard, pa.table(about).select(kept), digests, records)
        self.store.write_part("records", shard, records)


def _remarks(images: dict[str, Any], shard: int) -> Remarks:
    """What was done with the samples of a shard, as the input's format tells it."""
    remarks = Remarks()
    if "remark" in images and images["remark"].null_count < len(images["remark"]):
        for row, kinds in enumerate(images["remark"].to_pylist()):
            for kind in kinds or ():
                remarks.add(kind, example=images["sample"][row].as_py() or "", place=(shard, row))
    return remarks


def _named_samples(batch: pa.RecordBatch, file: str) -> pa.RecordBatch:
    """Samples named by their file, too: the same key in several tars is several samples."""
    name = f"{IMAGE}sample"
    if name not in batch.schema.names:
        return batch
    samples = pc.binary_join_element_wise(file, batch[name], "/")
    return batch.set_column(batch.schema.get_field_index(name), name, samples)


def _identifying(table: pa.Table) -> pa.ChunkedArray:
    """The caption; where a sample has no url, its name stands in, so that equal captions stay two pairs."""
    if table["url"].null_count == 0:
        return table["text"]
    sample = next((table[n] for n in (f"{IMAGE}sample", "key") if n in table.column_names), None)
    if sample is None:
        return table["text"]
    parts = [cast(column, pa.large_string()).fill_null("") for column in (table["text"], sample)]
    keyed = pc.binary_join_element_wise(*parts, pa.scalar("", pa.large_string()))
    return pc.if_else(table["url"].is_null(), keyed, table["text"])


def cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values as the store keeps them: text is valid UTF-8, nested values in a text column are JSON, nothing raises.

    >>> cast(pa.array([b"caf\\xe9", None]), pa.large_string()).to_pylist()
    ['caf\ufffd', None]
    >>> cast(pa.array([["a dog", "a cat"]]), pa.large_string()).to_pylist()
    ['["a dog", "a cat"]']
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if stored(kind) != pa.large_string():
        try:
            return values.cast(kind)
        except pa.ArrowException:
            return values.cast(kind, safe=False)
    if pa.types.is_nested(values.type):
        texts = [None if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in values.to_pylist()]
        return pa.array(texts, kind)
    if stored(values.type) == pa.large_string():
        # Parquet's strings are not checked when they are read; from bytes they are.
        values = values.cast(pa.large_binary())
    try:
        return values.cast(kind)
    except pa.ArrowException:
        return pa.array([_as_text(v) for v in values.to_pylist()], kind)


def _as_text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None if value is None else str(value)


def read(store: Store, options: ReadOptions, cluster: Cluster) -> View:
    """Records of an input, appended to what the store has; files already read are left alone.

    Raises:
        CurateError: when a file that was read has changed since, or the input is empty.
    """
    groups = store.manifest()["inputs"]
    source = open_source(options)
    for group in groups:
        if group["rows_per_shard"] != options.rows_per_shard:
            raise CurateError(
                f"{store.url} was read with rows_per_shard: {group['rows_per_shard']}, not {options.rows_per_shard}"
            )
    fresh = _fresh(store, source, options)
    # What an earlier run began comes first: its first shard settles the types.
    for group in groups:
        _read_group(store, group, source, cluster)
    if fresh:
        _read_group(store, _plan_group(store, source.subset(fresh), options), source, cluster)
    return records_view(store)


def _fresh(store: Store, source: Source, options: ReadOptions) -> list[str]:
    """Files that the store does not have."""
    groups = store.manifest()["inputs"]
    known = {file["name"]: (file, group) for group in groups for file in group["files"]}
    fresh = []
    for number, (name, size) in enumerate(zip(source.names, source.sizes, strict=True)):
        if name not in known:
            fresh.append(name)
            continue
        file, group = known[name]
        if file["size"] != size:
            raise CurateError(
                f"'{name}' had {file['size']} bytes when {store.url} read it and has {size} now: "
                "use a new root, or give the changed file another name"
            )
        # An input may move; another one must not pass for it.
        if group["input"] != options.input and file["ends"] != ends(source.files[number]):
            raise CurateError(
                f"{store.url} has read another '{name}', from '{group['input']}': use a new root, or rename the file"
            )
    return fresh


def records_view(store: Store) -> View:
    """The store as reading left it: what later steps make is theirs to add, in the order of the pipeline."""
    groups = store.manifest()["inputs"]
    view = View(store).with_table("records", groups[0]["columns"])
    images = next((g["images"] for g in groups if g["images"]), None)
    return View(store, view.with_table(images, IMAGE_FIELDS).columns, None, images) if images else view


def _plan_group(store: Store, source: Source, options: ReadOptions) -> dict[str, Any]:
    """The manifest's entry for files to be read."""
    manifest = store.manifest()
    counts = on_files(source.module.count, source.files)
    if not sum(counts) and not manifest["inputs"]:
        raise CurateError(f"input '{options.input}' holds no rows")
    types = _types(store, source)
    left_out = set(source.types.names) - set(types.names)
    if left_out:
        console.print(f"[yellow]columns that {store.url} began without are left out: {', '.join(sorted(left_out))}")
    files = zip(source.names, source.sizes, counts, on_files(ends, source.files), strict=True)
    group = {
        "input": options.input,
        "format": source.format,
        "columns": types.names,
        "mapping": source.mapping,
        "files": [{"name": name, "size": size, "rows": rows, "ends": hashed} for name, size, rows, hashed in files],
        "first_shard": sum(g["shards"] for g in manifest["inputs"]),
        "shards": -(-sum(counts) // options.rows_per_shard),
        "rows": sum(counts),
        "rows_per_shard": options.rows_per_shard,
        "images": f"images-{identity(adopted=source.format, version=2)}" if source.has_images else None,
    }
    if manifest["inputs"] and manifest["inputs"][0]["images"] != group["images"]:
        which = "without images" if group["images"] is None else "with images"
        raise CurateError(f"'{options.input}' holds pairs {which}, {store.url} the other kind: use a new root")
    manifest["inputs"].append(group)
    store.save(manifest)
    return group


def _types(store: Store, source: Source) -> pa.Schema:
    """Types of the records' columns; appended input takes those that the store has.

    Raises:
        CurateError: when an appended file's column does not fit.
    """
    if 0 not in store.parts("records"):
        return source.types
    types: pa.Schema = store.read_part("records", 0).schema
    for number, file in enumerate(source.files):
        for name, kind in source.types_of(number).items():
            have = types.field(name).type if name in types.names and name not in record.SCHEMA.names else None
            if have is not None and common(have, kind) != have:
                raise CurateError(f"column '{name}' of '{file}' is {kind}, and {have} in {store.url}: use a new root")
    return types


def _read_group(store: Store, group: dict[str, Any], source: Source, cluster: Cluster) -> None:
    names = [file["name"] for file in group["files"]]
    shards = range(group["first_shard"], group["first_shard"] + group["shards"])
    missing = set(shards) - store.parts("records")
    if missing:
        gone = set(names) - set(source.names)
        if gone:
            raise CurateError(f"'{min(gone)}' was not read to its end and is no longer in the input")
        own, size = source.subset(names), group["rows_per_shard"]
        rows = {s: r for s, r in store.shard_rows().items() if s in shards}
        slices = plan([f["rows"] for f in group["files"]], size, group["first_shard"], own.module.SEEKABLE)
        todo = [i for i, s in enumerate(slices) if missing & set(range(s.first_shard, s.first_shard + s.shards))]
        work = {
            "store": store,
            "source": replace(own, schemas=[]),
            "slices": slices,
            "rows": rows,
            "images": group["images"],
            "types": _types(store, own),
            "rows_per_shard": size,
        }
        sizes = {i: sum(rows[s] for s in range(c.first_shard, c.first_shard + c.shards)) for i, c in enumerate(slices)}
        for _ in cluster.each("read", ReadSlice, work, todo, sizes):
            pass
    if group["images"] and store.manifest()["current"].get("images") != group["images"]:
        remarks = store.remarks(group["images"])
        say("read", remarks)
        columns = [*IMAGE_FIELDS]
        store.note_table(group["images"], name="images", op="read", columns=columns, remarks=remarks.to_json())
