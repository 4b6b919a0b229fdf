"""Parts: any reader's parquet, every byte covered, columns read and checked alone."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.store import part_file
from curate.store.part_file import Damaged, Part, check, written

ROWS = 300


def table() -> pa.Table:
    numbers = np.random.default_rng(0).normal(size=ROWS * 8).astype(np.float16)
    return pa.table(
        {
            "text": [f"a caption {i}" for i in range(ROWS)],
            "a.b": pa.array(range(ROWS), pa.uint64()),
            "lists": pa.array([[i, None] for i in range(ROWS)]),
            "structs": pa.array([{"x": i, "y": {"z": "deep"}} for i in range(ROWS)]),
            "maps": pa.array([[("k", i)] for i in range(ROWS)], pa.map_(pa.string(), pa.int32())),
            "words": pa.array(["x", "y", None] * (ROWS // 3)).dictionary_encode(),
            "vectors": pa.FixedSizeListArray.from_arrays(pa.array(numbers), 8),
            "nulls": pa.nulls(ROWS),
            "times": pa.array(range(ROWS), pa.timestamp("ns", "UTC")),
        }
    )


@pytest.fixture(scope="module")
def data() -> bytes:
    return written(table(), compression="zstd", row_group_size=100)


def opened(data: bytes) -> Part:
    return Part(len(data), lambda start, end: data[start:end])


def test_any_reader_reads_it(data):
    assert pq.read_table(pa.BufferReader(data)).equals(table())
    assert pl.read_parquet(data).shape == (ROWS, 9)


@pytest.mark.parametrize("tail_bytes", [100, 3_000, 1 << 20])
def test_columns_are_read_alone_however_little_is_read_at_first(data, tail_bytes, monkeypatch):
    monkeypatch.setattr(part_file, "SMALL_BYTES", 0)
    monkeypatch.setattr(part_file, "TAIL_BYTES", min(tail_bytes, len(data)))
    expected = table()
    for name in expected.column_names:
        assert opened(data).read([name])[name].equals(expected[name])
    assert opened(data).read(["nulls", "text"]).column_names == ["nulls", "text"]
    assert opened(data).read().equals(expected)


def test_only_what_is_asked_for_is_fetched(data, monkeypatch):
    monkeypatch.setattr(part_file, "SMALL_BYTES", 0)
    monkeypatch.setattr(part_file, "TAIL_BYTES", 2_000)
    fetched = 0

    def fetch(start: int, end: int) -> bytes:
        nonlocal fetched
        fetched += end - start
        return data[start:end]

    Part(len(data), fetch).read(["nulls"])
    footer = int.from_bytes(data[-8:-4], "little")
    assert fetched < 2 * footer + 3_000 < len(data)


def test_every_flipped_bit_is_found(data):
    draw = random.Random(0)
    for _ in range(2_000):
        place = draw.randrange(8 * len(data))
        with pytest.raises(Damaged):
            check(memoryview(flipped(data, place)))


def test_a_column_with_a_flipped_bit_is_never_read_and_the_others_are(data):
    expected = table()
    chunks = part_file._chunks(pq.read_metadata(pa.BufferReader(data)))
    start, end = chunks[1]
    for place in range(8 * start, 8 * end, 7):
        broken = flipped(data, place)
        with pytest.raises(Damaged, match=r"column 'a\.b'"):
            opened(broken).read(["a.b"])
        assert opened(broken).read(["text"])["text"].equals(expected["text"])


def test_a_file_that_is_cut_or_no_file_of_ours(data):
    sink = pa.BufferOutputStream()
    pq.write_table(table(), sink)
    for broken in (data[:-1], data[: len(data) // 2], b"", b"PAR1", b"x" * 100, sink.getvalue().to_pybytes()):
        with pytest.raises(Damaged):
            opened(broken)


def test_an_empty_table():
    empty = table().slice(0, 0)
    assert opened(written(empty)).read().equals(empty)
    assert opened(written(pa.table({"a": pa.array([], pa.int8())}))).rows == 0


def test_equal_tables_have_equal_digests_and_others_another():
    one, same, other = (written(table().slice(start)) for start in (0, 0, 1))
    assert part_file.digest(one) == part_file.digest(same) == opened(one).digest
    assert part_file.digest(one) != part_file.digest(other)


def flipped(data: bytes, place: int) -> bytes:
    broken = bytearray(data)
    broken[place // 8] ^= 1 << place % 8
    return bytes(broken)
