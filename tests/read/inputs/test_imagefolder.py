"""Folders of images: with classes, with captions beside them, and with a table of Hugging Face's that names them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import fsspec
import pytest
from conftest import HERE, column, picture

from curate.errors import CurateError
from curate.read.step import ReadOptions, read
from curate.read.tar_samples import NOT_UTF8
from curate.store.images import ImageReader
from curate.store.store import Store
from curate.store.view import View


def in_store(tmp_path: Path, place: Path | str, **options: object) -> View:
    return read(Store(str(tmp_path / "store")), ReadOptions(input=str(place), **options), HERE)  # type: ignore[arg-type]


def write(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def test_classes(tmp_path: Path) -> None:
    write(tmp_path / "images" / "train" / "dog", b__png=picture(2, "PNG"), a__JPG=picture(1))
    write(tmp_path / "images" / "train" / "cat", a__jpg=picture(3), readme__md=b"#", _hidden__jpg=b"x")
    write(tmp_path / "images" / "test" / "cat", a__jpg=picture(4))
    view = in_store(tmp_path, tmp_path / "images", rows_per_shard=2)
    assert column(view, "label", "file_name", "text") == [
        ("cat", "a.jpg", None),
        ("cat", "a.jpg", None),
        ("dog", "a.JPG", None),
        ("dog", "b.png", None),
    ]
    assert column(view, "status") == ["success"] * 4
    assert len(set(column(view, "uid"))) == 4
    files = [ImageReader(view.store, view.images or "", shard).bytes(row) for shard in (0, 1) for row in (0, 1)]
    assert files == [picture(4), picture(3), picture(1), picture(2, "PNG")]


def test_a_label_may_be_the_caption(tmp_path: Path) -> None:
    write(tmp_path / "images" / "dog", a__jpg=picture(1))
    assert column(in_store(tmp_path, tmp_path / "images", columns={"text": "label"}), "text") == ["dog"]


def test_captions_beside_the_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(
        tmp_path / "images",
        a__jpg=picture(1),
        a__txt=b"\xef\xbb\xbfa red dog\r\n",
        b__jpg=picture(2),
        c__jpg=picture(3),
        c__txt="caf\u00e9".encode("latin-1"),
        c__json=b"{}",
        d__jpg=b"no image",
        notes__txt=b"about the folder",
    )
    view = in_store(tmp_path, folder)
    assert column(view, "text", "status") == [
        ("a red dog", "success"),
        (None, "success"),
        ("caf\ufffd", "success"),
        (None, "not_an_image"),
    ]
    assert f"1 {NOT_UTF8}" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_table_that_names_the_images_is_the_input(ending: str, tmp_path: Path) -> None:
    """As Hugging Face's imagefolder has it, in one folder or one for each split."""
    import polars as pl

    for split in ("train", "test"):
        folder = write(tmp_path / "images" / split, a__jpg=picture(1), b__jpg=picture(2), c__jpg=picture(3))
        rows = pl.DataFrame([{"file_name": f"{name}.jpg", "text": f"{split} {name}"} for name in "ba"])
        {"jsonl": rows.write_ndjson, "csv": rows.write_csv, "parquet": rows.write_parquet}[ending](
            folder / f"metadata.{ending}"
        )
    view = in_store(tmp_path, tmp_path / "images")
    assert column(view, "text") == ["test b", "test a", "train b", "train a"]
    assert column(view, "status") == ["success"] * 4


def test_hugging_face_reads_the_same_rows(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "images"
    for name in ("cat", "dog"):
        write(folder / name, a__jpg=picture(1), b__jpg=picture(2))
    theirs = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    names = theirs.features["label"].names
    assert column(in_store(tmp_path, folder), "label") == [names[row["label"]] for row in theirs]


def test_a_folder_that_changed_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", a__jpg=picture(1), b__jpg=picture(2))
    in_store(tmp_path, folder)
    in_store(tmp_path, folder)
    data = picture(2)
    (folder / "b.jpg").write_bytes(data[:-1] + b"x")
    os.utime(folder / "b.jpg", (1, 1))
    with pytest.raises(CurateError, match="has changed since"):
        in_store(tmp_path, folder)
    write(folder, c__jpg=picture(3))
    with pytest.raises(CurateError, match="new root"):
        in_store(tmp_path, folder)


def test_an_image_that_goes_while_it_is_read_costs_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "images", a__jpg=picture(1), b__jpg=picture(2))
    whole = fsspec.implementations.local.LocalFileSystem.cat_file

    def goes(self: object, path: str, *rest: object, **more: object) -> bytes:
        if path.endswith("a.jpg"):
            raise FileNotFoundError(path)
        return bytes(whole(self, path, *rest, **more))

    monkeypatch.setattr(fsspec.implementations.local.LocalFileSystem, "cat_file", goes)
    assert column(in_store(tmp_path, folder), "status") == ["no_image", "success"]


def test_other_data_in_a_folder_stays_the_input(tmp_path: Path) -> None:
    folder = write(tmp_path / "pairs", a__jpg=picture(1), list__csv=b"url,text\nhttp://a/1.jpg,a dog\n")
    assert column(in_store(tmp_path, folder), "url") == ["http://a/1.jpg"]
    (folder / "rows.jsonl").write_text(json.dumps({"url": "http://a/2.jpg", "text": "x"}))
    with pytest.raises(CurateError, match="mix of"):
        read(Store(str(tmp_path / "other")), ReadOptions(input=str(folder)), HERE)


def test_from_s3(tmp_path: Path, s3: str) -> None:
    for name in ("cat/a.jpg", "dog/a.jpg"):
        with fsspec.open(f"{s3}/images/{name}", "wb") as handle:
            handle.write(picture(1))
    view = in_store(tmp_path, f"{s3}/images")
    assert column(view, "label", "status") == [("cat", "success"), ("dog", "success")]
    assert [ImageReader(view.store, view.images or "", 0).bytes(row) for row in (0, 1)] == [picture(1)] * 2
