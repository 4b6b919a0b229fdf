"""What Hugging Face's `save_to_disk` writes, and Arrow's file format."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pytest
from conftest import HERE, column, picture

from curate.errors import CurateError
from curate.read.inputs import arrow
from curate.read.step import ReadOptions, read
from curate.store.store import Store
from curate.store.view import View

ROWS = [{"url": f"http://a/{n}.jpg", "text": f"caption {n}", "n": n} for n in range(25)]


def in_store(tmp_path: Path, place: Path) -> View:
    return read(Store(str(tmp_path / "store")), ReadOptions(input=str(place), rows_per_shard=4), HERE)


def write_stream(path: Path, batch: int = 10) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch)


@pytest.mark.slow
def test_a_dataset_of_hugging_face_with_images(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    rows = [{"image": {"bytes": picture(n), "path": None}, "text": f"caption {n}"} for n in range(7)]
    data = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict({"train": data, "test": data.select([6, 5])}).save_to_disk(str(tmp_path / "saved"))
    view = in_store(tmp_path, tmp_path / "saved")
    assert column(view, "text") == [f"caption {n}" for n in (6, 5, 0, 1, 2, 3, 4, 5, 6)]
    assert column(view, "status", "width") == [("success", 16)] * 9


def test_both_formats_hold_the_same_rows(tmp_path: Path) -> None:
    write_stream(tmp_path / "a.arrow")
    pyarrow.feather.write_feather(pa.Table.from_pylist(ROWS), tmp_path / "b.feather")
    for name in ("a.arrow", "b.feather"):
        file = str(tmp_path / name)
        assert pa.Table.from_batches(arrow.read(file)).to_pylist() == ROWS
        assert arrow.count(file) == 25 and arrow.schema(file).names == ["url", "text", "n"]
        rest = list(arrow.read(file, 13, 4))
        assert [row for batch in rest for row in batch.to_pylist()] == ROWS[13:]
        assert max(batch.num_rows for batch in rest) <= 4


@pytest.mark.parametrize("lost", [1, 8, 30, 500])
def test_a_stream_that_was_cut_off_is_an_error(lost: int, tmp_path: Path) -> None:
    """Between two batches, too, where the rest reads well."""
    write_stream(tmp_path / "a.arrow")
    (tmp_path / "a.arrow").write_bytes((tmp_path / "a.arrow").read_bytes()[:-lost])
    with pytest.raises(CurateError, match=r"a\.arrow' is cut off"):
        in_store(tmp_path, tmp_path / "a.arrow")


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 5000, b"ARROW1\0\0" + b"x" * 100])
def test_what_is_no_arrow_is_an_error_with_its_name(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.arrow").write_bytes(data)
    with pytest.raises(CurateError, match=r"a\.arrow"):
        in_store(tmp_path, tmp_path / "a.arrow")
