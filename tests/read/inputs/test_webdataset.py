"""WebDataset tars: whole, damaged, and with img2dataset's parquet beside."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import itertools
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curate.errors import CurateError
from curate.read import tar_groups, tar_samples
from curate.read.input_listing import find
from curate.read.inputs import webdataset
from curate.store.part_file import hashed


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
        return [{n: v for n, v in row.items() if v is not None and n != "image:sample"} for row in found]

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
        "json_text": "no",
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
        "image:checksum": hashed(JPEG),
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
        ("c", "three", "success"),
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
        "json_key": 7,
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
    assert plain(rows(WHOLE[: ends[1]])) == plain(rows(WHOLE))
    assert rows(WHOLE[: ends[1]])[-1]["image:remark"] == ["tars without an end mark, which may be cut"]


def test_an_image_that_is_cut(rows):
    (row,) = rows(WHOLE[: 512 + len(JPEG) // 2])
    assert row["image:status"] == "truncated"


def test_a_tar_damaged_in_the_middle(rows):
    image = 512 + len(JPEG) + -len(JPEG) % 512
    damaged = bytearray(WHOLE)
    damaged[image + 1024 : image + 1100] = b"\xff" * 76
    whole, hit = rows(bytes(damaged))
    assert (whole["key"], whole["text"], whole["image:status"]) == ("a", "one", "success")
    assert "malformed" not in whole
    assert (hit["key"], hit.get("text"), hit["image:status"]) == ("b", None, "success")
    assert hit["malformed"] == f"the tar is damaged at byte {image + 1024}: 1024 bytes skipped"


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


# ---- tars as people have them ----


def names(found: list[dict]) -> list[tuple]:
    return [(row["key"], row.get("text"), row["image:status"]) for row in found]


def test_members_that_lie_apart(rows):
    found = rows(
        tar(("0.jpg", JPEG), ("1.jpg", JPEG), ("0.txt", "zero"), ("1.txt", "one"), ("2.jpg", JPEG), ("2.txt", "two"))
    )
    assert names(found) == [("0", "zero", "success"), ("1", "one", "success"), ("2", "two", "success")]
    assert [row.get("image:remark") for row in found] == [[tar_groups.APART], [tar_groups.APART], None]


def test_tars_in_a_row(rows):
    first, second = tar(("0.jpg", JPEG), ("0.txt", "zero")), tar(("0.jpg", JPEG), ("0.txt", "again"), ("1.txt", "one"))
    assert names(rows(first + second)) == [
        ("0", "zero", "success"),
        ("0", "again", "success"),
        ("1", "one", "no_image"),
    ]
    # An image without a caption in one, a caption without an image in the next: two samples.
    assert names(rows(tar(("0.jpg", JPEG)) + tar(("0.txt", "x")))) == [("0", None, "success"), ("0", "x", "no_image")]
    assert names(rows(first + b"\0" * 4096 + b"trailing bytes")) == [("0", "zero", "success")]


def test_two_dots_in_a_name(rows):
    found = rows(tar(("a.input.jpg", JPEG), ("a.outputs.txt", "one"), ("a.json", '{"caption": "json", "n": 3}')))
    assert names(found) == [("a", "one", "success")]
    assert found[0]["n"] == 3
    found = rows(tar(*((f"p.v{i}.{e}", d) for i in range(3) for e, d in (("jpg", JPEG), ("txt", f"{i}")))))
    assert names(found) == [(f"p.v{i}", f"{i}", "success") for i in range(3)]
    (row,) = rows(tar(("a.left.jpg", JPEG), ("a.right.jpg", JPEG), ("a.txt", "both")))
    assert (row["text"], row["image:remark"]) == ("both", [tar_samples.SEVERAL])
    assert [member["name"] for member in row["image:members"]] == ["right.jpg"]


def test_other_members_go_along(rows):
    members = {"cls": b"7", "npy": b"abc", "seg.png": JPEG, "syn.json": b"{}", "url.txt": b"http://a/1.jpg"}
    (row,) = rows(tar(("0.jpg", JPEG), ("0.txt", "x"), *((f"0.{name}", data) for name, data in members.items())))
    assert (row["text"], row["url"]) == ("x", "http://a/1.jpg")
    assert [(m["name"], m["size"]) for m in row["image:members"]] == [(n, len(members[n])) for n in sorted(members)]


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_links(tmp_path, kind):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, data in (("a/0.jpg", JPEG), ("a/0.txt", b"x"), ("a/1.txt", b"y"), ("a/2.txt", b"z")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (("a/1.jpg", "a/0.jpg"), ("a/2.jpg", "a/none.jpg")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target if kind == tarfile.LNKTYPE else target[2:]
            archive.addfile(info)
    found = pa.Table.from_batches(webdataset.read(str(tmp_path / "x.tar"))).to_pylist()
    assert [row["image:status"] for row in found] == ["success", "success", "no_image"]
    assert (found[0]["image:offset"], found[0]["image:size"]) == (found[1]["image:offset"], found[1]["image:size"])
    assert tar_groups.NO_TARGET in found[2]["image:remark"]


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz", ".tar.zst", ".tar.bz2"])
def test_a_compressed_tar(ending, tmp_path):
    packed = {"gz": gzip.compress, "tgz": gzip.compress, "zst": zstandard.compress, "bz2": bz2.compress}
    pack = packed[ending.rpartition(".")[2]]
    file = tmp_path / f"x{ending}"
    whole = tar(
        *((f"{i}.{e}", d) for i in range(5) for e, d in (("jpg", jpeg(i + 1)), ("txt", f"{i}"), ("cls", f"{i}")))
    )
    file.write_bytes(pack(whole))
    assert find(str(file))[0] == "webdataset"
    found = pa.Table.from_batches(webdataset.read(str(file), batch_rows=2)).to_pylist()
    assert [(r["text"], r["image:bytes"]) for r in found] == [(str(i), jpeg(i + 1)) for i in range(5)]
    assert [[m["bytes"] for m in r["image:members"]] for r in found] == [[str(i).encode()] for i in range(5)]
    file.write_bytes(pack(whole)[: len(pack(whole)) * 2 // 3])
    found = pa.Table.from_batches(webdataset.read(str(file))).to_pylist()
    assert not found or "the tar ends here" in found[-1]["malformed"]


FORMATS = {
    **{"avif": "AVIF", "jp2": "JPEG2000", "ppm": "PPM", "jfif": "JPEG", "jpe": "JPEG", "mpo": "MPO", "ico": "ICO"},
    **{"img": "PNG", "bin": "WEBP", "dat": "GIF"},
}


@pytest.mark.parametrize(("ending", "kind"), FORMATS.items())
def test_images_of_any_name(rows, ending, kind):
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (9, 90, 200)).save(out, kind)
    (row,) = rows(tar((f"0.{ending}", out.getvalue()), ("0.txt", "x")))
    assert (row["image:status"], row["image:width"]) == ("success", 16)
    kept = {"jfif": "jpg", "jpe": "jpg", "mpo": "jpg", "img": "png", "bin": "webp", "dat": "gif"}
    assert row["image:extension"] == kept.get(ending, ending)


def test_a_format_that_is_not_read(rows):
    (row,) = rows(tar(("0.heic", b"\0\0\0\x18ftypheic" + bytes(100)), ("0.txt", "x")))
    assert (row["image:status"], row["image:error_message"]) == (
        "not_an_image",
        "heic is no image format that is read here",
    )


def test_captions(rows):
    found = rows(
        tar(
            ("0.json", '{"caption": "in json", "n": 1}'),
            ("1.json", '"a bare text"'),
            ("2.txt", b"\xef\xbb\xbfmarked"),
            ("3.txt", b"caf\xe9"),
        )
    )
    assert [row["text"] for row in found] == ["in json", "a bare text", "marked", "caf\ufffd"]
    assert found[3]["image:remark"] == [tar_samples.NOT_UTF8]


def test_a_header_that_says_less_than_nothing(tmp_path):
    """CPython 3.11.7 goes round for ever."""
    data = bytearray(tar(("0.txt", "zero"), ("1.txt", "one"), ("2.txt", "two")))
    data[1024 + 124 : 1024 + 136] = b"\xff" * 11 + b"\x00"
    data[1024 + 148 : 1024 + 156] = b" " * 8
    data[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(data[1024:1536])
    (tmp_path / "x.tar").write_bytes(data)
    found = pa.Table.from_batches(webdataset.read(str(tmp_path / "x.tar"))).to_pylist()
    assert [(row["key"], row["text"], row["malformed"] is None) for row in found] == [
        ("0", "zero", True),
        ("1", None, False),
        ("2", "two", True),
    ]


# ---- whatever the layout: samples in are rows read and rows named ----

_KINDS = ("jpg", "txt", "json", "cls")


@st.composite
def layouts(draw) -> tuple[int, list[tuple[str, bytes]], int]:
    """Number of samples, members in some order, a format."""
    count = draw(st.integers(1, 6))
    kinds = draw(st.sampled_from([_KINDS, ("jpg",), ("jpg", "txt"), ("txt", "jpg"), ("png", "json")]))
    long = draw(st.sampled_from(["", "d/", "d" * 120 + "/", "ü/"]))
    listed = [(f"{long}{i:04d}.{k}", _content(k, i)) for i in range(count) for k in kinds]
    order = draw(st.sampled_from(["as is", "by kind", "mixed"]))
    if order == "by kind":
        listed.sort(key=lambda member: kinds.index(member[0].rpartition(".")[2]))
    elif order == "mixed":
        listed = draw(st.permutations(listed))
    form = draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    return count, listed, form


def _content(kind: str, number: int) -> bytes:
    if kind in ("jpg", "png"):
        return jpeg(number + 1)
    return {"txt": f"caption {number}", "json": json.dumps({"n": number, "caption": f"caption {number}"})}.get(
        kind, "7"
    ).encode()


def _read(data: bytes, tmp: Path) -> list[dict]:
    file = tmp / "x.tar"
    file.write_bytes(data)
    batches = list(webdataset.read(str(file), batch_rows=3))
    found = pa.Table.from_batches(batches).to_pylist() if batches else []
    assert webdataset.count(str(file)) == len(found)
    return found


@settings(deadline=None, max_examples=150, derandomize=True)
@given(layouts())
def test_any_layout(tmp_path_factory, layout):
    count, listed, form = layout
    try:
        data = tar(*listed, form=form)
    except ValueError:  # too long for USTAR
        return
    found = _read(data, tmp_path_factory.mktemp("x"))
    assert len(found) == count
    assert not any(row["malformed"] for row in found)
    for row in found:
        number = int(row["key"][-4:])
        body = jpeg(number + 1)
        assert data[row["image:offset"] :][: row["image:size"]] == body
        assert (row["text"] if "text" in row else row.get("caption", f"caption {number}")) == f"caption {number}"


@settings(deadline=None, max_examples=150, derandomize=True)
@given(layouts(), st.floats(0, 1), st.booleans(), st.binary(min_size=1, max_size=40))
def test_one_damaged_header(tmp_path_factory, layout, where, zeroed, noise):
    """Every sample is read, or named as damaged; what is whole is as it was."""
    count, listed, _ = layout
    listed = [(name.rpartition("/")[2], data) for name, data in listed]
    data = bytearray(tar(*listed))
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as archive:
        headers = [member.offset for member in archive]
    header = headers[min(int(where * len(headers)), len(headers) - 1)]
    before = bytes(data)
    data[header : header + 512] = bytes(512) if zeroed else bytes(data[header : header + 512 - len(noise)]) + noise
    if not zeroed:
        data[header + 140 : header + 140 + len(noise)] = noise
    if bytes(data) == before or count < 3:  # too few to show which files a sample has
        return
    found = _read(bytes(data), tmp_path_factory.mktemp("x"))
    keys = [name.partition(".")[0] for name, _ in listed]
    together = len(list(itertools.groupby(keys))) == count
    # Where names are gone and files lie about, a row may be told twice; never is one left untold.
    assert len(found) in ((count,) if together or not zeroed else (count, count + 1))
    assert 1 <= sum(row["malformed"] is not None for row in found) <= 2
    for row in found:
        if not row["malformed"]:
            assert data[row["image:offset"] :][: row["image:size"]] == jpeg(int(row["key"]) + 1)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(layouts(), st.floats(0, 1))
def test_a_cut(tmp_path_factory, layout, where):
    count, listed, _ = layout
    data = tar(*[(name.rpartition("/")[2], body) for name, body in listed])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        end = max(member.offset_data + member.size for member in archive)
    cut = int(where * end)
    found = _read(data[:cut], tmp_path_factory.mktemp("x"))
    assert len(found) <= count
    said = found and (found[-1]["malformed"] or found[-1]["image:remark"] or any(row["malformed"] for row in found))
    assert said or not cut


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.binary(max_size=3000), st.integers(0, 5000), st.integers(0, 400))
def test_no_bytes_stop_it(tmp_path_factory, noise, at, cut):
    data = bytearray(tar(*((f"{i}.{k}", _content(k, i)) for i in range(3) for k in _KINDS)))
    data[at : at + cut] = noise
    _read(bytes(data), tmp_path_factory.mktemp("x"))
