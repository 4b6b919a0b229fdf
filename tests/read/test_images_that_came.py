"""Images that are there already: in a table's column, as files that it names, in img2dataset's outputs."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HERE, column, picture

from curate.errors import CurateError
from curate.read.step import ReadOptions, read
from curate.store.images import ImageReader
from curate.store.store import Store
from curate.store.view import View


def took(tmp_path: Path, source: Path | str, rows_per_shard: int = 3, **options: Any) -> View:
    given = ReadOptions(input=str(source), rows_per_shard=rows_per_shard, **options)
    return read(Store(str(tmp_path / "store")), given, HERE)


def bodies(view: View) -> list[bytes | None]:
    found: list[bytes | None] = []
    for shard in view.store.shard_rows():
        reader = ImageReader(view.store, str(view.images), shard)
        found += [reader.bytes(row) for row in range(len(reader))]
        reader.close()
    return found


PICTURES = [picture(i, kind) for i, kind in enumerate(["JPEG", "PNG", "WEBP", "JPEG", "GIF", "BMP", "JPEG"])]
NAMES = ["jpg", "png", "webp", "jpg", "gif", "bmp", "jpg"]


@pytest.mark.parametrize("kind", ["struct", "large struct", "binary", "large_binary", "dictionary"])
def test_bytes_in_a_parquet(tmp_path, kind):
    binary = pa.large_binary() if "large" in kind else pa.binary()
    rows: list[Any] = list(PICTURES)
    values = pa.array(rows, binary)
    if "struct" in kind:
        rows = [{"bytes": body, "path": f"{i}.x" if i % 2 else None} for i, body in enumerate(PICTURES)]
        values = pa.array(rows, pa.struct([("bytes", binary), ("path", pa.string())]))
    elif kind == "dictionary":
        values = values.dictionary_encode()
    table = pa.table({"image": values, "text": [f"c{i}" for i in range(7)], "n": range(7)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=4)
    view = took(tmp_path, tmp_path / "x.parquet")
    assert bodies(view) == PICTURES
    assert column(view, "text", "n", "status") == [(f"c{i}", i, "success") for i in range(7)]
    assert column(view, "extension") == NAMES
    assert column(view, "sha256") == [hashlib.sha256(body).hexdigest() for body in PICTURES]
    assert "image" not in view.columns
    assert view.store.manifest().inputs[0].mapping["image"] == "image"
    assert len(set(column(view, "uid"))) == 7
    if "struct" in kind:
        assert column(view, "image_path") == [f"{i}.x" if i % 2 else None for i in range(7)]


def test_rows_without_or_with_damaged_bytes(tmp_path):
    table = pa.table({"jpg": [PICTURES[0], None, b"no image", b"", PICTURES[1]], "caption": list("abcde")})
    pq.write_table(table, tmp_path / "x.parquet")
    view = took(tmp_path, tmp_path / "x.parquet")
    assert column(view, "status") == ["success", "no_image", "not_an_image", "not_an_image", "success"]
    assert bodies(view) == [PICTURES[0], None, None, None, PICTURES[1]]


def test_the_column_is_named(tmp_path):
    pq.write_table(pa.table({"photo": PICTURES, "text": list("abcdefg")}), tmp_path / "x.parquet")
    view = took(tmp_path, tmp_path / "x.parquet", columns={"image": "photo"})
    assert bodies(view) == PICTURES
    with pytest.raises(CurateError, match=r"no column 'foto' \(did you mean 'photo'\?\)"):
        took(tmp_path, tmp_path / "x.parquet", columns={"image": "foto"})


def image_folder(folder: Path, form: str) -> None:
    (folder / "train" / "a").mkdir(parents=True)
    rows = []
    for i, (body, name) in enumerate(zip(PICTURES, NAMES, strict=True)):
        file = f"a/{i}.{name}" if i % 2 else f"{i}.{name}"
        (folder / "train" / file).write_bytes(body)
        rows.append({"file_name": file, "text": f"c{i}", "n": i})
    rows.append({"file_name": "gone.jpg", "text": "gone", "n": 7})
    rows.append({"file_name": "../../secret.jpg", "text": "outside", "n": 8})
    (folder.parent / "secret.jpg").write_bytes(picture(9))
    target = folder / "train" / f"metadata.{form}"
    if form == "jsonl":
        target.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "csv":
        with target.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, ["file_name", "text", "n"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        pl.DataFrame(rows).write_parquet(target)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_hugging_face_image_folder(tmp_path, form):
    image_folder(tmp_path / "in", form)
    view = took(tmp_path, tmp_path / "in")
    assert bodies(view) == [*PICTURES, None, None]
    assert column(view, "text") == [*(f"c{i}" for i in range(7)), "gone", "outside"]
    assert column(view, "status") == ["success"] * 7 + ["no_image"] * 2
    assert "outside of the input's folder" in column(view, "error_message")[-1]
    assert column(view, "file_name")[1] == "a/1.png"
    # The files stay where they are.
    assert not list((tmp_path / "store").glob("images-*/*.tar"))


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_images_that_rows_name_are_not_said_to_be_left_unread(tmp_path, form):
    image_folder(tmp_path / "in", form)
    (tmp_path / "in" / "train" / "more.npz").write_bytes(b"features")
    remarks = took(tmp_path, tmp_path / "in").store.manifest().inputs[0].remarks
    named = {ending: NAMES.count(ending) for ending in sorted(set(NAMES))}
    assert {kind: about["rows"] for kind, about in remarks.items() if "beside" in kind} == {
        "file(s) beside the input that are not read: .npz": 1
    } | {f"file(s) beside the input, read where a row names them: .{ending}": rows for ending, rows in named.items()}


def test_images_beside_a_table_that_names_none_are_said_to_be_unread(tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"jpg": PICTURES, "text": list("abcdefg")}), tmp_path / "in" / "x.parquet")
    (tmp_path / "in" / "a.png").write_bytes(PICTURES[1])
    remarks = took(tmp_path, tmp_path / "in").store.manifest().inputs[0].remarks
    assert remarks["file(s) beside the input that are not read: .png"]["rows"] == 1


def test_paths_where_urls_are_expected(tmp_path):
    (tmp_path / "in" / "pics").mkdir(parents=True)
    for i, body in enumerate(PICTURES):
        (tmp_path / "in" / "pics" / f"{i}").write_bytes(body)
    paths = [
        "pics/0",
        "./pics/1",
        f"file://{tmp_path}/in/pics/2",
        f"{tmp_path}/in/pics/3",
        "../in/pics/4",
        "http://a/5.jpg",
        None,
    ]
    pl.DataFrame({"url": paths, "text": list("abcdefg")}).write_csv(tmp_path / "in" / "x.csv")
    view = took(tmp_path, tmp_path / "in" / "x.csv", columns={"image": "url"})
    assert bodies(view) == [*PICTURES[:5], None, None]
    assert column(view, "url") == paths
    assert column(view, "extension")[:5] == NAMES[:5]
    # Not asked for, they are urls.
    assert took(tmp_path / "b", tmp_path / "in" / "x.csv").images is None


def img2dataset(folder: Path, form: str) -> list[dict[str, Any]]:
    """Output of img2dataset 1.47 in the formats `files` and `parquet`: shards of three rows, one of them failed."""
    told = []
    for shard in range(2):
        rows = []
        for i in range(3):
            good, body = i != 1, picture(10 * shard + i)
            row = {
                "url": f"http://a/{shard}/{i}.jpg", "caption": f"c{shard}{i}", "key": f"{shard:05d}{i:04d}",
                "status": "success" if good else "failed_to_download", "error_message": None if good else "HTTP 404",
                "width": 16 if good else None, "height": 12 if good else None,
                "original_width": 640 if good else None, "original_height": 480 if good else None,
                "exif": "{}" if good else None, "sha256": "e" * 64 if good else None,
            }  # fmt: skip
            if form == "parquet":
                row["jpg"] = body if good else None
            elif good:
                (folder / f"{shard:05d}").mkdir(parents=True, exist_ok=True)
                for ending, data in (
                    ("jpg", body),
                    ("txt", row["caption"].encode()),
                    ("json", json.dumps(row).encode()),
                ):
                    (folder / f"{shard:05d}" / f"{row['key']}.{ending}").write_bytes(data)
            rows.append(row)
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{shard:05d}.parquet")
        (folder / f"{shard:05d}_stats.json").write_text(json.dumps({"count": 3}))
        told += rows
    return told


@pytest.mark.parametrize("form", ["files", "parquet"])
def test_img2datasets_other_outputs(tmp_path, form):
    told = img2dataset(tmp_path / "in", form)
    view = took(tmp_path, tmp_path / "in")
    assert bodies(view) == [picture(0), None, picture(2), picture(10), None, picture(12)]
    assert column(view, "text") == [row["caption"] for row in told]
    assert column(view, "status") == [row["status"] for row in told]
    assert column(view, "error_message") == [row["error_message"] for row in told]
    assert column(view, "original_width") == [row["original_width"] for row in told]


def test_columns_of_folders(tmp_path):
    for lang, day in (("en", "1"), ("de", "__HIVE_DEFAULT_PARTITION__"), ("a%20b", "3")):
        folder = tmp_path / "in" / f"lang={lang}" / f"day={day}"
        folder.mkdir(parents=True)
        pl.DataFrame({"url": [f"http://a/{lang}.jpg"], "text": ["x"]}).write_parquet(folder / "part-0.parquet")
    view = took(tmp_path, tmp_path / "in")
    assert sorted(column(view, "lang", "day"), key=str) == [("a b", "3"), ("de", None), ("en", "1")]


def test_the_same_store_after_a_stop(tmp_path):
    """Parts that are lacking are read again, and the same bytes come."""
    pq.write_table(pa.table({"image": PICTURES, "text": list("abcdefg")}), tmp_path / "x.parquet", row_group_size=2)
    view = took(tmp_path, tmp_path / "x.parquet")
    root = Path(view.store.url)
    before = {file: file.read_bytes() for file in root.rglob("*") if file.suffix in (".tar", ".parquet")}
    for file in before:
        if "00001" in file.name:
            file.unlink()
    took(tmp_path, tmp_path / "x.parquet")
    assert {file: file.read_bytes() for file in before} == before
