"""Vectors are read as they were written, to the bit, whichever way a file keeps them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.store.fixed_vectors import as_lists, fixed, lists_schema
from curate.store.part_file import Part, check, written
from curate.store.store import Store

HALF = pa.list_(pa.float16())
ROWS = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float16)
ODD = np.float16([[0.0, -0.0, np.inf, -np.inf, np.nan, 6e-8, 65504, 1]])
WHOLE = pa.array(list(ROWS), HALF)
HOLES = pa.array([None if n % 3 == 1 else row for n, row in enumerate(ROWS)], HALF)


def of(*arrays: pa.Array) -> pa.Table:
    return pa.table({"number": range(sum(map(len, arrays))), "v": pa.chunked_array(list(arrays), HALF)})


FIXED = {
    "whole": of(WHOLE),
    "with_holes": of(HOLES),
    "null_first": of(pa.array([None, ROWS[0]], HALF)),
    "odd_numbers": of(pa.array(list(ODD), HALF)),
    "sliced": of(WHOLE[3:], HOLES[1:20], pa.array([], HALF)),
    "a_slice_of_it": of(WHOLE, HOLES).slice(7, 60),
    "one_number": of(pa.array([[1.0], None], HALF)),
}
LISTS = {
    "no_rows": of(pa.array([], HALF)),
    "no_chunk": of(),
    "all_null": of(pa.array([None, None], HALF)),
    "two_lengths": of(pa.array([[1.0], [1.0, 2.0]], HALF)),
    "empty": of(pa.array([[], []], HALF)),
    "a_null_number": of(pa.array([[1.0, None]], HALF)),
    "a_null_number_at_a_place_of_a_null_list": of(pa.array([None, [None]], HALF)),
}


def bits(table: pa.Table) -> list[bytes | None]:
    return [None if v is None else np.array(v, np.float16).tobytes() for v in table["v"].to_pylist()]


@pytest.mark.parametrize("name", [*FIXED, *LISTS])
def test_what_is_written_is_read(name):
    table = {**FIXED, **LISTS}[name]
    data = written(table, compression="zstd", use_dictionary=["number", "v"])
    check(data)
    part = Part(len(data), lambda start, end: data[start:end])
    assert part.schema.equals(table.schema)
    back = part.read()
    assert back.schema.equals(table.schema)
    assert back["number"].equals(table["number"])
    assert bits(back) == bits(table) if name != "a_null_number" else back["v"].equals(table["v"])
    assert bits(part.read(["v"])) == bits(back)
    stored = pq.read_schema(pa.BufferReader(data)).field("v").type
    assert (stored != HALF) == (name in FIXED), stored


def test_other_columns_stay_as_they_are_and_any_reader_finds_the_numbers():
    more = pa.array([[float(n), None] for n in range(50)])
    table = FIXED["with_holes"].append_column("lists", more).append_column("text", pa.array(["a", "b"] * 25))
    data = written(table, compression="zstd", use_dictionary=["number", "v", "text"])
    plain = pq.read_table(pa.BufferReader(data))
    assert plain.drop_columns("v").equals(table.drop_columns("v"))
    assert np.frombuffer(plain["v"][0].as_py(), np.float16).tolist() == ROWS[0].tolist()
    columns = [pq.read_metadata(pa.BufferReader(data)).row_group(0).column(n) for n in range(4)]
    assert [c.compression for c in columns] == ["ZSTD", "UNCOMPRESSED", "ZSTD", "ZSTD"]
    assert [c.is_stats_set for c in columns] == [True, False, True, True]
    assert [c.has_dictionary_page for c in columns] == [True, False, False, True]


def test_a_table_without_vectors_is_left_alone():
    table = pa.table({"text": ["a"], "wide": pa.array([[1.0]], pa.list_(pa.float32()))})
    same, changed = fixed(table)
    assert same is table and not changed
    assert as_lists(table) is table
    assert lists_schema(table.schema).equals(table.schema)


def test_parts_of_both_kinds_are_one_table(tmp_path):
    """A run begun by an earlier version and ended by this one."""
    store = Store(str(tmp_path))
    tables = [FIXED["with_holes"], LISTS["all_null"], FIXED["odd_numbers"]]
    for shard, table in enumerate(tables):
        store.write_part("records", shard, pa.table({"uid": [f"{shard}-{n}" for n in range(len(table))]}))
        store.write_part("clip-0123456789ab", shard, table)
    _as_earlier_versions_wrote(store, 0, tables[0])
    frame = store.scan("clip-0123456789ab")
    assert dict(frame.collect_schema()) == {"uid": pl.String, "number": pl.Int64, "v": pl.List(pl.Float16)}
    whole = frame.collect()
    assert whole.columns == ["uid", "number", "v"]
    expected = [row for table in tables for row in bits(table)]
    assert bits(whole.select("v").to_arrow()) == expected
    assert bits(pa.concat_tables([store.read_part("clip-0123456789ab", n, ["v"]) for n in range(3)])) == expected
    assert frame.select(pl.len()).collect().item() == 53
    assert frame.head(51).collect().equals(whole.head(51))
    assert frame.filter(pl.col("number") == 49).select("uid").collect().to_series().to_list() == ["0-49"]
    assert frame.select("v").filter(pl.col("v").is_null()).collect().height == whole["v"].null_count()


def _as_earlier_versions_wrote(store: Store, shard: int, table: pa.Table) -> None:
    """A part whose vectors are parquet lists."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.store.part_file.fixed", lambda table: (table, []))
        store.write_part("clip-0123456789ab", shard, table)
    file = store.path(store.part("clip-0123456789ab", shard))
    assert pq.read_schema(file).field("v").type == HALF
