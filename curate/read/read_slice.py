"""Reading a run of shards: batches of the input's files as records, images to their table, remarks beside the part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import record
from curate.errors import CurateError
from curate.messages.remarks import Remarks
from curate.read import captions, images_in_columns
from curate.read.columns import is_list, values_of
from curate.read.copied_images import CopiedImages
from curate.read.exact_types import cast, plain, stored
from curate.read.refusing import SAID, Refusals
from curate.read.source import Source
from curate.store.image_columns import IMAGE, IMAGE_FIELDS, is_image_column
from curate.store.images import TARS
from curate.store.removal import noted
from curate.store.store import Store

#: Column of what was done with a row while it was read; it is counted for each shard and goes no further.
REMARK = "read:remark"


@dataclass(frozen=True)
class Slice:
    """Consecutive shards that one task writes, beginning inside one file."""

    first_shard: int
    shards: int
    file: int
    skip: int


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
    lists: str = ""

    def setup(self) -> None:
        self.refusals = Refusals.of(self.store, self.lists)

    def __call__(self, number: int) -> dict[str, Any]:
        part = self.slices[number]
        shards = range(part.first_shard, part.first_shard + part.shards)
        batches = self._batches(part)
        rest: pa.Table | None = None
        for shard in shards:
            need, pieces, refused = self.rows[shard], list[pa.Table](), list[np.ndarray]()
            with CopiedImages(self.store, self.images, shard, self.rows_per_shard) as copied:
                while need:
                    table = rest if rest is not None and rest.num_rows else next(batches, None)
                    if table is None:
                        raise CurateError(f"input changed while it was read: shard {shard} misses {need} rows")
                    piece, words = self.refusals.applied(_with_uids(table.slice(0, need)))
                    refused.append(words)
                    pieces.append(copied.settled(piece))
                    rest = table.slice(need)
                    need -= pieces[-1].num_rows
            self._write(shard, pa.concat_tables(pieces), copied.digests, np.concatenate(refused))
        return {"rows": sum(self.rows[s] for s in shards)}

    def _batches(self, part: Slice) -> Iterator[pa.Table]:
        skip = part.skip
        for number in range(part.file, len(self.source.files)):
            first = skip if self.source.caption != "each" else 0
            for raw in self.source.batches(number, first):
                bare = self.images and f"{IMAGE}status" not in raw.schema.names
                batch = images_in_columns.without(raw) if bare else raw
                table = self._records(_named_samples(batch, self.source.names[number]), number, first)
                first += batch.num_rows
                if self.source.caption == "each":
                    table, skip = table.slice(skip), max(0, skip - table.num_rows)
                yield table
            skip = 0

    def _records(self, batch: pa.RecordBatch, number: int, first: int) -> pa.Table:
        """A batch with our names and the store's types; what a file lacks is null.

        first: the batch's first row in its file.
        """
        names = [n for n in batch.schema.names if not is_image_column(n)]
        theirs = self.source.renamed(names)
        columns = {name: values_of(batch, theirs[name]) for name in theirs}
        remarks: list[list[str] | None] = [None] * batch.num_rows
        if self.source.listed or ("text" in columns and is_list(plain(columns["text"]).type)):
            columns["texts"] = self._lists(batch, names)
            if self.source.caption != "each":
                place = (self.source.seed, self.source.names[number], first)
                columns["text"] = captions.chosen(columns["texts"], self.source.caption, *place)
        if "uid" in columns:
            columns["uid"] = _uids(columns["uid"], remarks)
        own = {f.name: self._cast(columns, f, batch.num_rows, number, remarks) for f in self.types}
        images = {n: batch[n] for n in batch.schema.names if is_image_column(n)}
        table = pa.table(own | images | {REMARK: pa.array(remarks, pa.list_(pa.string()))})
        if self.source.caption == "each" and "texts" in columns:
            rows, texts = captions.each(columns["texts"])
            table = table.take(pa.array(rows))
            table = table.set_column(table.column_names.index("text"), "text", cast(texts, pa.large_string()))
        return table

    def _lists(self, batch: pa.RecordBatch, names: list[str]) -> pa.Array:
        """The captions of each row; of two columns that hold some, the first one's."""
        lists = pa.nulls(batch.num_rows, captions.TEXTS)
        for name in self.source.captions(names):
            values = plain(values_of(batch, name))
            texts = captions.lists(values if is_list(values.type) else cast(values, pa.large_string()))
            lists = pc.if_else(lists.is_null(), texts, lists)
        return lists

    def _cast(self, columns: dict[str, Any], field: pa.Field, rows: int, number: int, remarks: list[Any]) -> pa.Array:
        if field.name not in columns:
            return pa.nulls(rows, field.type)
        values = plain(columns[field.name])
        if field.name == "text" and is_list(values.type):
            return pa.nulls(rows, field.type)
        try:
            array = cast(values, field.type)
        except pa.ArrowException as error:
            raise CurateError(
                f"column '{field.name}' of '{self.source.files[number]}' does not fit {field.type}: {error}. "
                f"As text it does: read: {{as_text: [{field.name}]}}, in a new root"
            ) from error
        if stored(values.type) == pa.large_string() and field.type == pa.large_string():
            _note_damage(values, array, field.name, remarks)
        return array

    def _write(self, shard: int, table: pa.Table, tars: dict[str, str], refused: np.ndarray) -> None:
        images = [n for n in table.column_names if is_image_column(n)]
        records = table.drop_columns([*images, REMARK]).replace_schema_metadata(noted(refused))
        if images:
            about = {n.removeprefix(IMAGE): table[n] for n in images}
            self.store.write_remarks(self.images, shard, _remarks(about, shard))
            kept = [*IMAGE_FIELDS, "members"] if "members" in about else [*IMAGE_FIELDS]
            digests = {TARS: json.dumps(tars).encode()}
            self.store.write_part(self.images, shard, pa.table(about).select(kept), digests, records)
        remarks = _row_remarks(table, shard)
        for word, kind in SAID.items():
            remarks.add(kind, int((refused == word).sum()))
        self.store.write_remarks("records", shard, remarks)
        self.store.write_part("records", shard, records, noted(refused))


def _with_uids(table: pa.Table) -> pa.Table:
    """The rows, each with a uid: of those that came without one, it is made."""
    uids = table["uid"]
    if not uids.null_count:
        return table
    filled = pc.coalesce(uids, record.uids(table["url"], _identifying(table)))
    return table.set_column(table.column_names.index("uid"), "uid", filled)


def _uids(values: pa.Array, remarks: list[Any]) -> pa.Array:
    """uids as 32 hex digits; null, to be made, for what is none."""
    if stored(values.type) == pa.large_string():
        digits = cast(values, pa.large_string())
        if pc.all(pc.match_substring_regex(digits, r"\A[0-9a-f]{32}\z")).as_py() is not False:
            return digits
    texts = plain(values).to_pylist()
    uids = [None if value is None else record.as_uid(value) for value in texts]
    for row, (value, uid) in enumerate(zip(texts, uids, strict=True)):
        if value is not None and uid is None:
            remarks[row] = [*(remarks[row] or []), f"uid(s) that are not 32 hex digits, made anew|{value!r}"]
    return pa.array(uids, pa.string())


def _note_damage(values: pa.Array, text: pa.Array, name: str, remarks: list[Any]) -> None:
    """Rows whose text was no UTF-8: the bytes of these are not those of what they became."""
    raw = values.cast(pa.large_binary())
    changed = pc.not_equal(pc.binary_length(raw), pc.binary_length(text.cast(pa.large_binary()))).fill_null(False)
    for row in np.flatnonzero(changed.to_numpy(zero_copy_only=False)).tolist():
        remark = f"value(s) of '{name}' that are no UTF-8, their broken bytes are U+FFFD|{text[row].as_py()}"
        remarks[row] = [*(remarks[row] or []), remark]


def _row_remarks(table: pa.Table, shard: int) -> Remarks:
    remarks, column = Remarks(), table[REMARK]
    if column.null_count < len(column):
        for row, kinds in enumerate(column.to_pylist()):
            for kind, _, example in (text.partition("|") for text in kinds or ()):
                remarks.add(kind, example=f"row {row} of shard {shard}: {example}", place=(shard, row))
    return remarks


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
