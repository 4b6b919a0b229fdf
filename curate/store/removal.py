"""Where a store keeps what was removed from it, and how a removed row looks.

    removed/00001.parquet   tombstones of the first removal, see curate.refuse.tombstones
    removed/00001.json      its certificate, and the same in words in 00001.txt
    .removing/              a removal under way: which rows, and what its files were before

A removed row keeps its place, so that all other rows keep their numbers: its values are null in every table, its status
is `removed`, and its verdict in every keep table, too. The part of its records names it in the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from curate.store.folder import shard_name

#: The folder of tombstones and certificates; also the status of a removed row, and the step of its verdict.
REMOVED = "removed"

#: The folder of keys of opt-out lists, see curate.refuse.opt_out.
OPT_OUT = "opt_out"

#: The folder of a removal that is under way.
UNDER_WAY = ".removing"

#: Where the metadata of a records' part holds the numbers of its rows that are out from the beginning: a JSON object by
#: the word for it, `removed` or `opted_out`.
OUT = b"curate.out"


class Removal(BaseModel):
    """A removal, as the manifest has it. rules: rows by the rule that named them; its certificate says more."""

    model_config = ConfigDict(extra="forbid")

    version: int
    when: str
    rows: int
    rules: dict[str, int]


def tombstones_name(version: int) -> str:
    return f"{REMOVED}/{shard_name(version)}.parquet"


def words_of(schema: pa.Schema, rows: int) -> np.ndarray:
    """object[n]: the word for each row that is out from the beginning, None for others.

    schema: of a shard's records, of so many rows.
    """
    words: np.ndarray = np.full(rows, None, object)
    for word, numbers in json.loads((schema.metadata or {}).get(OUT, b"{}")).items():
        words[numbers] = word
    return words


def noted(words: np.ndarray) -> dict[bytes, bytes]:
    """Metadata of a records' part, as `words_of` reads it."""
    known = sorted({word for word in words.tolist() if word})
    out = {word: np.flatnonzero(words == word).tolist() for word in known}
    return {OUT: json.dumps(out).encode()} if out else {}


def without_rows(table: pa.Table, removed: np.ndarray, instead: Mapping[str, str] | None = None) -> pa.Table:
    """The same rows with null in each column of the removed ones, and their values in no buffer.

    removed: bool[n]. instead: text columns that say something of a removed row.
    """
    if not removed.any():
        return table
    numbers = np.arange(len(removed))
    places = pa.Array.from_buffers(
        pa.int64(),
        len(numbers),
        [pa.py_buffer(np.packbits(~removed, bitorder="little")), pa.py_buffer(numbers)],
    )
    columns = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], field.type)
        if pa.types.is_dictionary(field.type):
            # A dictionary would keep the values that no row has any more.
            taken = array.cast(field.type.value_type).take(places).dictionary_encode().cast(field.type)
        else:
            taken = array.take(places)
        if instead and field.name in instead:
            words = taken.to_pylist()
            for row in np.flatnonzero(removed).tolist():
                words[row] = instead[field.name]
            taken = pa.array(words, field.type)
        columns[field.name] = taken
    schema = pa.schema([field.remove_metadata() for field in table.schema], table.schema.metadata)
    return pa.table(columns, schema)
