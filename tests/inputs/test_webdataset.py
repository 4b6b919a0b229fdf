"""WebDataset tars: whole, damaged, and with img2dataset's parquet beside."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.errors import CurateError
from curate.inputs import webdataset


def jpeg(width: int = 4, height: int = 3) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (width, height, 9)).save(out, "JPEG")
    return out.getvalue()


JPEG = jpeg()


def tar(*members: tuple[str, bytes | str], form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            raw = data if isinstance(data, bytes) else data.encode()
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return out.getvalue()


@pytest.fixture
def rows(tmp_path):
    def parse(data: bytes) -> list[dict]:
        file = tmp_path / "x.tar"
        file.write_bytes(data)
        batches = list(webdataset.read(str(file), batch_rows=2))
        found = pa.Table.from_batches(batches).to_pylist() if batches else []
        assert webdataset.count(str(file)) == len(found)
        for row in found:
            if row["image:status"] == "success":
                at = row["image:offset"]
                stored = data[at : at + row["image:size"]]
                assert row["image:sha256"] == hashlib.sha256(stored).hexdigest()
                assert row["image:tar"] == str(file)
        return [{name: value for name, value in row.items() if value is not None} for row in found]

    return parse


def plain(found: list[dict]) -> list[dict]:
    return [{n: v for n, v in row.items() if not n.startswith("image:")} for row in found]


def test_a_sample(rows):
    (row,) = rows(
        tar(("a/b.jpg", JPEG), ("a/b.txt", "a dog 🐕"), ("a/b.json", '{"url": "http://x", "n": 2, "text": "no"}'))
    )
    assert row == {
        "url": "http://x",
        "n": 2,
        "text": "a dog 🐕",
        "key": "a/b",
        "image:status": "success",
        "image:width": 4,
        "image:height": 3,
        "image:original_width": 4,
        "image:original_height": 3,
        "image:original_bytes": len(JPEG),
        "image:format": "jpeg",
        "image:extension": "jpg",
        "image:key": "a/b",
        "image:tar": row["image:tar"],
        "image:size": len(JPEG),
        "image:offset": 512,
        "image:sha256": hashlib.sha256(JPEG).hexdigest(),
    }


def test_sizes_before_a_resize_come_from_the_json(rows):
    about = {"original_width": 900, "original_height": True, "sha256": "short"}
    (row,) = rows(tar(("a.jpg", JPEG), ("a.json", json.dumps(about))))
    assert (row["image:original_width"], row["image:original_height"]) == (900, 3)


def test_samples_that_lack_something(rows):
    found = rows(
        tar(
            ("a.txt", "no image"),
            ("b.jpg", JPEG),
            ("c.jpg", b"not an image"),
            ("c.txt", b"caf\xe9"),
            ("d.json", "{broken"),
            ("e.jpg", b""),
            ("f.PNG", JPEG),
            ("f.caption", "second"),
            ("f.txt", "first"),
        )
    )
    assert [row["image:status"] for row in found] == [
        "no_image",
        "success",
        "not_an_image",
        "no_image",
        "not_an_image",
        "success",
    ]
    assert plain(found) == [
        {"key": "a", "text": "no image"},
        {"key": "b"},
        {"key": "c", "text": "caf\ufffd"},
        {"key": "d", "malformed": "{broken"},
        {"key": "e"},
        {"key": "f", "text": "first", "caption": "second"},
    ]


def test_files_that_are_no_samples_and_names_that_repeat(rows):
    found = rows(
        tar(
            ("README", "x"),
            (".hidden.jpg", JPEG),
            ("a/._b.jpg", "x"),
            ("b.jpg", JPEG),
            ("b.txt", "one"),
            ("b.jpg", JPEG),
            ("b.txt", "two"),
            ("c.v2.jpg", JPEG),
            ("c.txt", "three"),
        )
    )
    assert [(row["key"], row["text"], row["image:status"]) for row in found] == [
        ("b", "one", "success"),
        ("b", "two", "success"),
        ("c", "three", "no_image"),
    ]


def test_long_and_undecodable_names(rows):
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        long = "d" * 200 + "/" + "k" * 120
        (row,) = rows(tar((f"{long}.jpg", JPEG), (f"{long}.txt", "x"), form=form))
        assert row["key"] == long
    (row,) = rows(tar(("caf\udce9.jpg", JPEG), form=tarfile.GNU_FORMAT))
    assert (row["key"], row["image:status"]) == ("caf\ufffd", "success")


def test_json_cannot_pass_for_the_place_of_an_image(rows):
    (row,) = rows(tar(("a.json", '{"image:tar": "/etc/passwd", "image:status": "success", "key": 7}')))
    assert row == {
        "key": "a",
        "image:status": "no_image",
        "malformed": '{"image:status": "success", "image:tar": "/etc/passwd"}',
    }


WHOLE = tar(("a.jpg", JPEG), ("a.txt", "one"), ("b.txt", "two"), ("b.jpg", JPEG))


def test_a_tar_cut_anywhere(rows):
    """Whole samples are whole, the one at the cut says so, and a count is a count."""
    image = 512 + len(JPEG) + -len(JPEG) % 512
    ends = {0: image + 1024, 1: 2 * image + 2048}
    for cut in range(1, ends[1] + 1, 97):
        found = rows(WHOLE[:cut])
        assert len(found) in (1, 2), cut
        for number, row in enumerate(found):
            if cut >= ends[number]:
                assert (row["key"], row["text"], row["image:status"]) == (
                    "ab"[number],
                    ["one", "two"][number],
                    "success",
                )
        assert cut in (image, ends[0], ends[0] + 1024, ends[1]) or "the tar ends here" in found[-1]["malformed"], cut
    assert rows(WHOLE[: ends[1]]) == rows(WHOLE)


def test_an_image_that_is_cut(rows):
    (row,) = rows(WHOLE[: 512 + len(JPEG) // 2])
    assert row["image:status"] == "truncated"


def test_a_tar_damaged_in_the_middle(rows):
    image = 512 + len(JPEG) + -len(JPEG) % 512
    damaged = bytearray(WHOLE)
    damaged[image + 1024 : image + 1100] = b"\xff" * 76
    (row,) = rows(bytes(damaged))
    assert (row["key"], row["text"], row["image:status"]) == ("a", "one", "success")
    assert row["malformed"] == f"the tar ends here: damaged at byte {image + 1024}"


def test_no_tar_at_all(rows):
    (row,) = rows(b"<html>not found</html>" * 100)
    assert "the tar ends here" in row["malformed"]
    assert row["image:status"] == "no_image"


@pytest.mark.parametrize("data", [tar(), b"\0" * 10240])
def test_empty(rows, data):
    assert rows(data) == []


def img2dataset_shard(folder: Path, number: int = 0) -> list[dict]:
    """One shard as img2dataset 1.45 writes it in its webdataset format: a row per url, members of the good ones."""
    rows = []
    for i, (caption, status, error) in enumerate(
        [("one", "success", None), ("two", "failed_to_download", "HTTP Error 404: Not Found"), (None, "success", None),
         ("four", "failed_to_resize", "image decoding error")]
    ):  # fmt: skip
        good = status == "success"
        rows.append({
            "url": f"http://a/{number}/{i}.jpg", "caption": caption, "similarity": 0.25 + i,
            "key": f"{number:05d}{i:04d}",
            "status": status, "error_message": error, "width": 4 if good else None, "height": 3 if good else None,
            "original_width": 640 if good else None, "original_height": 480 if good else None,
            "exif": "{}" if good else None, "sha256": hashlib.sha256(jpeg()).hexdigest() if good else None,
        })  # fmt: skip
    members: list[tuple[str, bytes | str]] = []
    for row in rows:
        if row["status"] == "success":
            members.append((f"{row['key']}.jpg", jpeg()))
            if row["caption"] is not None:
                members.append((f"{row['key']}.txt", row["caption"]))
            members.append((f"{row['key']}.json", json.dumps(row, indent=4)))
    folder.mkdir(exist_ok=True)
    (folder / f"{number:05d}.tar").write_bytes(tar(*members))
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{number:05d}.parquet")
    stats = {"count": 4, "successes": 2, "failed_to_download": 1, "failed_to_resize": 1, "status_dict": {"success": 2}}
    (folder / f"{number:05d}_stats.json").write_text(json.dumps(stats, indent=4))
    return rows


def test_img2dataset(tmp_path):
    told = img2dataset_shard(tmp_path)
    file = str(tmp_path / "00000.tar")
    found = pa.Table.from_batches(webdataset.read(file, batch_rows=3)).to_pylist()
    assert plain(found) == told
    assert webdataset.count(file) == 4
    assert [(row["image:status"], row["image:error_message"]) for row in found] == [
        ("success", None), ("failed_to_download", "HTTP Error 404: Not Found"), ("success", None),
        ("failed_to_resize", "image decoding error"),
    ]  # fmt: skip
    assert [row["image:original_width"] for row in found] == [640, None, 640, None]
    assert [row["key"] for row in plain(pa.Table.from_batches(webdataset.read(file, 3)).to_pylist())] == ["000000003"]


def test_a_sample_that_the_parquet_does_not_list(tmp_path):
    told = img2dataset_shard(tmp_path)
    pq.write_table(pa.Table.from_pylist(told[1:]), tmp_path / "00000.parquet")
    with pytest.raises(CurateError, match=r"holds 1 samples that .* does not list, such as '000000000'"):
        list(webdataset.read(str(tmp_path / "00000.tar")))


def test_a_parquet_without_keys_is_not_the_tars(tmp_path):
    img2dataset_shard(tmp_path)
    pq.write_table(pa.table({"url": ["x"]}), tmp_path / "00000.parquet")
    assert webdataset.count(str(tmp_path / "00000.tar")) == 2
