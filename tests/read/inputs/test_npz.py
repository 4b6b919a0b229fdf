"""DataComp's metadata: a parquet, and the vectors of its rows in an .npz beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE, column

from curate.annotate.step import annotate
from curate.catalog import load
from curate.errors import CurateError
from curate.messages.remarks import Remarks
from curate.read.inputs import parquet
from curate.read.step import ReadOptions, read
from curate.store.store import Store
from curate.store.view import View
from curate.write.shard_columns import NPZ, columns_to_write

ROWS = 25


def vectors(width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(ROWS, width)).astype(np.float16)


ARRAYS = {"b32_img": vectors(8, 1), "b32_txt": vectors(8, 2), "l14_img": vectors(12, 3), "l14_txt": vectors(12, 4)}


def datacomp(folder: Path, name: str = "0a1b", **arrays: Any) -> Path:
    folder.mkdir(exist_ok=True)
    rows = pl.DataFrame({"uid": [f"{n:032x}" for n in range(ROWS)], "url": [f"http://a/{n}" for n in range(ROWS)]})
    rows.with_columns(text=pl.lit("a dog")).write_parquet(folder / f"{name}.parquet", row_group_size=7)
    np.savez_compressed(folder / f"{name}.npz", **(arrays or ARRAYS))
    return folder


def in_store(tmp_path: Path, place: Path, **options: Any) -> View:
    return read(Store(str(tmp_path / "store")), ReadOptions(input=str(place), rows_per_shard=4, **options), HERE)


def test_vectors_are_columns_row_by_row(tmp_path: Path) -> None:
    view = in_store(tmp_path, datacomp(tmp_path / "metadata"), npz=("l14_img", "b32_txt"))
    kept = np.array(column(view, "l14_img"), np.float16)
    assert (kept == ARRAYS["l14_img"]).all() and (np.array(column(view, "b32_txt")) == ARRAYS["b32_txt"]).all()
    assert "b32_img" not in view.columns
    assert view.store.read_part("records", 0).schema.field("l14_img").type == pa.list_(pa.float16())


def test_from_any_row_on(tmp_path: Path) -> None:
    file = str(datacomp(tmp_path) / "0a1b.parquet")
    for start in (0, 1, 6, 7, 8, 24, 25, 40):
        rows = [row for batch in parquet.read(file, start, 5, npz=("b32_img",)) for row in batch.to_pylist()]
        assert [row["uid"] for row in rows] == [f"{n:032x}" for n in range(start, ROWS)]
        assert [row["b32_img"] for row in rows] == ARRAYS["b32_img"][start:].tolist()


def test_numbers_and_other_precisions(tmp_path: Path) -> None:
    wide = np.arange(ROWS * 2, dtype=">f4").reshape(ROWS, 2)
    folder = datacomp(tmp_path / "m", score=np.arange(ROWS) / 2, wide=wide)
    view = in_store(tmp_path, folder, npz=("score", "wide"))
    assert column(view, "score") == [n / 2 for n in range(ROWS)]
    assert column(view, "wide") == [[2.0 * n, 2.0 * n + 1] for n in range(ROWS)]


def test_an_op_works_with_them(tmp_path: Path) -> None:
    """Without a model: nothing is computed that DataComp has computed."""
    same = ARRAYS["l14_img"].copy()
    same[20] = same[3]
    view = in_store(tmp_path, datacomp(tmp_path / "m", l14_img=same), npz=("l14_img",))
    clusters = load({"balance.clusters": {"by": "l14_img", "k": 3}})
    view = annotate(view, [clusters, load({"dedupe.semantic": {"by": "l14_img", "eps": 0.001}})], HERE)
    assert len(set(column(view, "l14_img_cluster"))) == 3


def test_vectors_stay_in_the_store(tmp_path: Path) -> None:
    """They are not among the columns of training shards unless they are named there."""
    view = in_store(tmp_path, datacomp(tmp_path / "m"), npz=("l14_img",))
    remarks = Remarks()
    names = [one.name for one in columns_to_write(view, None, (), remarks)]
    assert names == ["uid", "url", "text"] and remarks.counts == {NPZ: 1}
    assert [one.name for one in columns_to_write(view, ("l14_img",), (), remarks)][-1] == "l14_img"


def test_without_being_named_nothing_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view = in_store(tmp_path, datacomp(tmp_path / "m"))
    assert not set(ARRAYS) & set(view.columns)
    assert "1 file(s) beside the input that are not read: .npz" in " ".join(capsys.readouterr().err.split())


def test_what_does_not_fit_is_an_error(tmp_path: Path) -> None:
    folder = datacomp(tmp_path / "m")
    with pytest.raises(CurateError, match=r"no array 'l14_imgs' \(did you mean 'l14_img'\?\)"):
        in_store(tmp_path, folder, npz=("l14_imgs",))
    datacomp(folder, l14_img=ARRAYS["l14_img"][:-1])
    with pytest.raises(CurateError, match=r"0a1b.npz' has 24 rows of l14_img, and .*0a1b.parquet' has 25"):
        in_store(tmp_path, folder, npz=("l14_img",))
    for odd in (
        np.array([{}] * ROWS),
        np.zeros((ROWS, 2, 2)),
        np.array(["a"] * ROWS),
        np.asfortranarray(ARRAYS["l14_img"]),
    ):
        datacomp(folder, l14_img=odd)
        with pytest.raises(CurateError, match="a vector of floats or a number"):
            in_store(tmp_path, folder, npz=("l14_img",))
    datacomp(folder, url=np.zeros(ROWS))
    with pytest.raises(CurateError, match="has a column 'url'"):
        in_store(tmp_path, folder, npz=("url",))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_a_damaged_file_is_an_error_with_its_name(damage: str, tmp_path: Path) -> None:
    file = datacomp(tmp_path / "m") / "0a1b.npz"
    data = bytearray(file.read_bytes())
    data[200] ^= 0xFF
    file.write_bytes({"cut": data[:-100], "flipped": data, "empty": b"", "gone": b""}[damage])
    if damage == "gone":
        file.unlink()
    with pytest.raises(CurateError, match=r"0a1b\.npz"):
        in_store(tmp_path, tmp_path / "m", npz=("b32_img",))


def test_other_arrays_are_another_input(tmp_path: Path) -> None:
    folder = datacomp(tmp_path / "m")
    in_store(tmp_path, folder, npz=("b32_img",))
    with pytest.raises(CurateError, match="was read with npz"):
        in_store(tmp_path, folder)
    datacomp(folder, b32_img=ARRAYS["b32_txt"])
    with pytest.raises(CurateError, match="has changed since"):
        in_store(tmp_path, folder, npz=("b32_img",))
    (tmp_path / "x.jsonl").write_text('{"url": "http://a", "text": "b"}\n')
    with pytest.raises(CurateError, match="is jsonl, no parquet"):
        read(Store(str(tmp_path / "other")), ReadOptions(input=str(tmp_path / "x.jsonl"), npz=("b32_img",)), HERE)
