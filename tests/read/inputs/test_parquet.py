"""Parquet: Hugging Face's nested columns, odd types, names that occur twice."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HERE

from curate.errors import CurateError
from curate.read.inputs import parquet
from curate.read.options import ReadOptions
from curate.read.step import read
from curate.store.store import Store


@pytest.mark.parametrize("group", [1, 7, 100])
def test_a_start_inside_any_row_group(tmp_path, group):
    pq.write_table(pa.table({"n": range(30)}), tmp_path / "x.parquet", row_group_size=group)
    for start in range(32):
        for size in (1, 4, 50):
            batches = parquet.read(str(tmp_path / "x.parquet"), start, size)
            assert [n for batch in batches for n in batch["n"].to_pylist()] == list(range(start, 30))


def test_a_name_that_occurs_twice(tmp_path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["n", "n"])
    pq.write_table(table, tmp_path / "x.parquet")
    assert parquet.schema(str(tmp_path / "x.parquet")).names == ["n", "n_2"]
    assert next(parquet.read(str(tmp_path / "x.parquet"))).to_pylist() == [{"n": 1, "n_2": 2}]


def test_no_rows(tmp_path):
    pq.write_table(pa.table({"url": pa.array([], pa.string())}), tmp_path / "x.parquet")
    assert parquet.count(str(tmp_path / "x.parquet")) == 0
    assert list(parquet.read(str(tmp_path / "x.parquet"))) == []


def test_nested_columns_stay(tmp_path):
    rows = [{"image": {"bytes": b"\xff\xd8", "path": None}, "texts": ["a", "b"]}, {"image": None, "texts": []}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    assert next(parquet.read(str(tmp_path / "x.parquet"))).to_pylist() == rows


@pytest.mark.parametrize("group", [0, 1])
def test_a_page_that_its_checksum_does_not_fit_is_never_read(tmp_path, group):
    """Damage that decodes well would be another caption; whoever wrote the checksums wants it found."""
    texts = [f"a caption of number {i}" for i in range(40)]
    table = pa.table({"url": [f"http://a.example/{i}.jpg" for i in range(40)], "text": texts})
    path = tmp_path / "in.parquet"
    options = {"write_page_checksum": True, "compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table, path, row_group_size=20, **options)
    data = path.read_bytes()
    view = read(Store(str(tmp_path / "whole")), ReadOptions(input=str(path)), HERE)
    assert view.frame(0, ["text"])["text"].to_list() == texts
    place = data.rindex(texts[20 * group + 7].encode())
    path.write_bytes(data[:place] + b"A" + data[place + 1 :])
    with pytest.raises(CurateError, match=r"cannot read '.*in\.parquet': .*CRC"):
        read(Store(str(tmp_path / "damaged")), ReadOptions(input=str(path)), HERE)
