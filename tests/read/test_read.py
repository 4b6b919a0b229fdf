"""Reading: every row in one place, killed runs, appended files, damaged and hostile input, object stores."""

from __future__ import annotations

import csv
import functools
import hashlib
import http.server
import importlib
import json
import sys
import threading
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import record
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.read import step as reading
from curate.read.source import ReadOptions, open_source
from curate.read.step import ReadSlice, plan, read
from curate.store.file_list import read_file_list
from curate.store.store import Store

sys.path.insert(0, str(Path(__file__).parent / "inputs"))
from test_webdataset import img2dataset_shard, jpeg, tar


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.fixture
def load(tmp_path, source):
    def run(rows_per_shard: int = 10, root: str = "store", **options) -> pl.DataFrame:
        store = Store(str(tmp_path / root))
        options.setdefault("input", str(source))
        read(store, ReadOptions(rows_per_shard=rows_per_shard, **options), Cluster(workers=0))
        frame = store["records"].collect()
        assert frame.height == sum(store.shard_rows().values()) == store.manifest().rows
        assert [store.read_part("records", s).num_rows for s in store.shard_rows()] == list(store.shard_rows().values())
        return frame

    return run


def pairs(start: int, stop: int) -> list[dict]:
    return [{"url": f"http://a/{i}.jpg", "text": f"caption {i}"} for i in range(start, stop)]


def write(file: Path, rows: list[dict], group: int = 4) -> None:
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=group)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with open(file, "w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def hashes(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): hashlib.md5(p.read_bytes()).hexdigest() for p in sorted(root.rglob("0*.parquet"))}


# ---- the plan ----


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 17), st.booleans(), st.integers(1, 60))
def test_every_row_is_in_one_shard_in_order(counts, size, seekable, per_task):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "ROWS_PER_TASK", per_task)
        slices = plan(counts, size, 7, seekable)
    rows = [(file, row) for file, count in enumerate(counts) for row in range(count)]
    found: dict[int, list[tuple[int, int]]] = {}
    for part in slices:
        assert 0 <= part.skip < counts[part.file]
        rest = rows[sum(counts[: part.file]) + part.skip :]
        for n in range(part.shards):
            assert part.first_shard + n not in found
            found[part.first_shard + n] = rest[n * size : (n + 1) * size]
    assert [row for shard in sorted(found) for row in found[shard]] == rows
    assert sorted(found) == list(range(7, 7 + -(-len(rows) // size)))


# ---- files and shards ----


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("rows_per_shard", [1, 7, 10, 1000])
def test_files_that_do_not_align_with_shards(load, source, ending, rows_per_shard):
    for number, (start, stop) in enumerate([(0, 3), (3, 25), (25, 26), (26, 53)]):
        write(source / f"{number}.{ending}", pairs(start, stop))
    frame = load(rows_per_shard)
    assert frame.select("url", "text").to_dicts() == pairs(0, 53)
    assert frame["uid"].to_list() == [record.uid(r["url"], r["text"]) for r in pairs(0, 53)]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_killed_anywhere_and_run_again_gives_the_same_bytes(load, source, tmp_path, ending, monkeypatch):
    monkeypatch.setattr(reading, "ROWS_PER_TASK", 20)
    for number in range(3):
        write(source / f"{number}.{ending}", pairs(number * 17, number * 17 + 17))
    load(6, "whole")
    untouched, original = hashes(tmp_path / "whole"), ReadSlice._write
    for survived in (0, 1, 4, 8):
        written = []

        def dies(self, shard, table, *more, written=written, survived=survived):
            if len(written) == survived:
                raise KeyboardInterrupt
            written.append(shard)
            original(self, shard, table, *more)

        root = f"killed{survived}"
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(ReadSlice, "_write", dies)
            load(6, root)
        # Files that appeared meanwhile, with columns of their own, change nothing of what was begun.
        write(source / f"9.{ending}", [{"url": "new", "text": "new", "extra": "x"}])
        load(6, root)
        (source / f"9.{ending}").unlink()
        of_new_file = ("00009", "inputs/00001")
        assert {
            k: v for k, v in hashes(tmp_path / root).items() if not any(name in k for name in of_new_file)
        } == untouched
        assert Store(str(tmp_path / root)).shard_rows() == dict.fromkeys(range(8), 6) | {8: 3, 9: 1}


def test_new_files_make_new_shards(load, source, tmp_path):
    write(source / "b.parquet", pairs(0, 13))
    load()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "store" / "records").iterdir()}
    write(source / "a.parquet", pairs(13, 15))
    write(source / "c.parquet", pairs(15, 29))
    frame = load()
    assert frame.select("url", "text").to_dicts() == pairs(0, 29)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert Store(str(tmp_path / "store")).shard_rows() == {0: 10, 1: 3, 2: 10, 3: 6}
    write(source / "d.parquet", pairs(0, 1))
    pq.write_table(pa.Table.from_pylist(pairs(0, 1)).slice(1), source / "d.parquet")
    assert load().height == 29


def test_an_appended_file_of_other_columns(load, source, capsys):
    write(source / "a.parquet", [{"URL": "u", "TEXT": "t", "n": 1, "lang": "en"}])
    load()
    write(source / "b.parquet", [{"url": "v", "caption": "c", "n": None, "new": 2.5}])
    assert load().drop("uid").rows() == [("u", "t", 1, "en"), ("v", "c", None, None)]
    assert " ".join(capsys.readouterr().err.split()).endswith("did not begin: new")
    write(source / "c.parquet", [{"url": "v", "caption": "c", "n": 0.5}])
    with pytest.raises(CurateError, match=r"column 'n' of '.*c.parquet' is double, and int64 in .*: use a new root"):
        load()


def test_a_file_that_changed(load, source):
    write(source / "a.parquet", pairs(0, 3))
    load()
    write(source / "a.parquet", pairs(0, 4))
    with pytest.raises(CurateError, match=r"'a.parquet' had \d+ bytes when .* read it and has \d+ now: use a new root"):
        load()


def test_another_file_of_the_same_name_and_size(load, source, tmp_path):
    write(source / "a.jsonl", pairs(0, 3))
    load()
    source.rename(tmp_path / "moved")
    assert load(input=str(tmp_path / "moved")).height == 3
    source.mkdir()
    write(source / "a.jsonl", pairs(3, 6))
    with pytest.raises(CurateError, match=r"has read another 'a.jsonl', from "):
        load(input=str(tmp_path / "in" / "*.jsonl"))


def test_a_file_that_is_gone(load, source, monkeypatch):
    write(source / "a.parquet", pairs(0, 30))
    write(source / "b.parquet", pairs(30, 33))
    with monkeypatch.context() as patch, pytest.raises(CurateError, match="2 of 2 shards failed and were set aside"):
        patch.setattr(ReadSlice, "_write", lambda *_: 1 / 0)
        load()
    (source / "a.parquet").rename(source.parent / "a.parquet")
    with pytest.raises(CurateError, match=r"'a.parquet' was not read to its end and is no longer in the input"):
        load()
    (source.parent / "a.parquet").rename(source / "a.parquet")
    assert load().height == 33
    (source / "a.parquet").unlink()
    assert load().height == 33


def test_rows_per_shard_stays(load, source):
    write(source / "a.parquet", pairs(0, 3))
    load(10)
    with pytest.raises(CurateError, match="was read with rows_per_shard: 10, not 20"):
        load(20)


# ---- columns ----


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize(("url", "text"), [("URL", "TEXT"), ("Image_URL", "Alt"), ("url", "caption")])
def test_columns_are_found(load, source, ending, url, text):
    write(source / f"a.{ending}", [{url: "u", "other": "o", text: "t"}])
    frame = load().drop("malformed", strict=False)
    assert frame.columns == ["uid", "url", "text", "other"]
    assert frame.drop("uid").rows() == [("u", "t", "o")]


def test_columns_are_given(load, source):
    write(source / "a.csv", [{"text": "no", "words": "yes", "pic": "p", "w": "3"}])
    frame = load(columns={"text": "words", "url": "pic", "width": "w"})
    assert frame.drop("uid", "malformed").to_dicts() == [{"url": "p", "text": "yes", "width": "3", "text_input": "no"}]
    with pytest.raises(CurateError, match=r"input .* no column 'wrds' \(did you mean 'words'\?\)"):
        load(columns={"text": "wrds"})


def test_each_file_has_its_own_names(load, source):
    write(source / "a.parquet", [{"URL": "u", "TEXT": "t", "n": 1}])
    write(source / "b.parquet", [{"caption": "c", "url": "v", "n": 2.5}])
    write(source / "c.parquet", [{"url": "w", "alt": None, "n": None}])
    assert load().drop("uid").rows() == [("u", "t", 1.0), ("v", "c", 2.5), ("w", None, None)]


@pytest.mark.parametrize("rows", [[{"picture": "u", "text": "t"}], [{"url": "u", "page_title": "x"}]])
def test_no_such_column(load, source, rows):
    write(source / "b.parquet", rows)
    lacking, names = ("url", "picture, text") if "text" in rows[0] else ("text", "url, page_title")
    message = rf"has no column for '{lacking}'; it has: {names}. Name it: columns: \{{{lacking}: ...\}}"
    with pytest.raises(CurateError, match=rf"input .* {message}"):
        load()
    write(source / "a.parquet", pairs(0, 1))
    with pytest.raises(CurateError, match=rf"b.parquet' {message}"):
        load()


def test_a_tsv_without_a_header_line(load, source):
    (source / "a.tsv").write_text("a dog\thttp://a/b.jpg\na cat\thttp://a/c.jpg\n")
    assert load().select("url", "text").rows() == [("http://a/b.jpg", "a dog"), ("http://a/c.jpg", "a cat")]
    (source / "a.tsv").write_text("1\ta dog\thttp://a/b.jpg\n")
    with pytest.raises(CurateError, match=r"no column for 'text'; it has: column_1, column_2, url"):
        load(root="other")


def test_types_of_all_sorts(load, source):
    urls = pa.array([1, 2, None])
    columns = {
        "url": urls,
        "caption": pa.array(["a", None, "a"]).dictionary_encode(),
        "large": pa.array(["x", "y", None], pa.large_string()),
        "view": pa.array(["x", None, "a long string, not inlined"], pa.string_view()),
        "nothing": pa.nulls(3),
        "meta": pa.array([{"data": b"\xff\xd8", "path": "p"}, None, {"data": None, "path": None}]),
        "texts": pa.array([["a"], [], None]),
        "when": pa.array([0, None, 1], pa.timestamp("us", "UTC")),
        "half": pa.array([0.5, None, 1], pa.float16()),
    }
    pq.write_table(pa.table(columns), source / "a.parquet")
    pq.write_table(pa.table({"url": ["u"], "caption": ["c"], "nothing": [4], "large": [5]}), source / "b.parquet")
    frame = load(3)
    assert frame.columns == ["uid", "url", "text", *list(columns)[2:]]
    assert frame["url"].to_list() == ["1", "2", None, "u"]
    assert frame["text"].to_list() == ["a", None, "a", "c"]
    assert frame["view"].to_list() == ["x", None, "a long string, not inlined", None]
    assert frame["meta"].to_list()[:2] == [{"data": b"\xff\xd8", "path": "p"}, None]
    assert frame["texts"].to_list() == [["a"], [], None, None]
    assert frame["large"].to_list() == ["x", "y", None, "5"]


def test_text_that_is_none(load, source):
    columns = {"url": pa.array([b"\xff.jpg", b"ok"]), "text": pa.array([["one", "two é"], None])}
    pq.write_table(pa.table(columns), source / "a.parquet")
    assert load().drop("uid").rows() == [("\ufffd.jpg", "one", ["one", "two é"]), ("ok", None, None)]


def test_parquet_text_that_is_no_utf8(load, source):
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xe9", b"ok"]).buffers())
    pq.write_table(pa.table({"url": ["u", "v"], "text": bad, "other": bad}), source / "a.parquet")
    assert load().drop("uid").rows() == [("u", "caf\ufffd", "caf\ufffd"), ("v", "ok", "ok")]


def test_captions_of_all_sorts(load, source):
    captions = [None, "", "x" * 2_000_000, "a\tb\nc\r\0d", "🐕‍🦺", "مرحبا \u202e", '"', "\ufeff"]
    pq.write_table(pa.table({"url": ["u"] * 8, "text": captions}), source / "a.parquet")
    write(source / "b.jsonl", [{"url": "u", "text": text} for text in captions])
    for kind in ("parquet", "jsonl"):
        assert load(3, kind, format=kind)["text"].to_list() == captions


def test_uids(load, source):
    given_ = ["0" * 32, "0" * 32, None]
    write(source / "a.parquet", [{"uid": u, "url": "u", "text": "t"} for u in given_])
    assert load()["uid"].to_list() == ["0" * 32, "0" * 32, record.uid("u", "t")]


def test_malformed_lines_are_rows(load, source):
    (source / "a.csv").write_text("url,text\nonly\n")
    (source / "b.csv").write_text('url,text\nu,t\n1,2,3\nv,"w\n')
    frame = load()
    assert frame.drop("uid").rows() == [
        (None, None, "only"),
        ("u", "t", None),
        (None, None, "1,2,3"),
        ("v", '"w', None),
    ]


# ---- nothing there ----


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "holds no rows"),
        ("a.jsonl", b"", "holds no rows"),
        ("a.jsonl", b"\n\n", "holds no rows"),
        ("a.csv", b"url,text\n", "holds no rows"),
        ("a.jsonl", b"[1, 2]\n", "none that jsonl can read"),
        ("a.parquet", b"", "cannot read '.*a.parquet'"),
        ("a.parquet", b"PAR1 and no more", "cannot read '.*a.parquet'"),
        ("a.csv.gz", b"no gzip", "cannot read '.*a.csv.gz'"),
        ("a.jsonl.zst", b"no zstd", "cannot read '.*a.jsonl.zst'"),
        ("a.tar", tar(), "holds no rows"),
        ("a.wat.gz", b"no gzip", "holds no rows: 1 place.s. where WARC files are damaged"),
    ],
)
def test_unreadable(load, source, name, data, message):
    (source / name).write_bytes(data)
    with pytest.raises(CurateError, match=message):
        load()


def test_no_rows_and_empty_files_among_others(load, source):
    pq.write_table(
        pa.table({"url": pa.array([], pa.string()), "text": pa.array([], pa.string())}), source / "a.parquet"
    )
    with pytest.raises(CurateError, match="holds no rows"):
        load()
    for name, data in {"a.jsonl": b"", "b.jsonl": b'{"url": "u", "text": "t"}', "c.jsonl": b"oops"}.items():
        (source / name).write_bytes(data)
    frame = load(format="jsonl")
    assert frame.drop("uid").rows() == [("u", "t", None), (None, None, "oops")]


# ---- images that come along ----


def test_img2dataset_folder(load, source, tmp_path):
    told = img2dataset_shard(source, 0) + img2dataset_shard(source, 1)
    frame = load(3)
    assert frame.select("url", "text", "key").rows() == [(r["url"], r["caption"], r["key"]) for r in told]
    store = Store(str(tmp_path / "store"))
    images = store["images"].collect()
    assert images["uid"].to_list() == frame["uid"].to_list()
    assert images["status"].to_list() == [r["status"] for r in told]
    tars = ["00000.tar", None] * 2 + ["00001.tar", None] * 2
    assert [Path(t).name if t else None for t in images["tar"]] == tars
    for row in images.filter(pl.col("status") == "success").to_dicts():
        assert Path(row["tar"]).read_bytes()[row["offset"] :][: row["size"]] == jpeg()


def test_tars(load, source, tmp_path):
    (source / "a.tar").write_bytes(tar(("1.jpg", jpeg()), ("1.txt", "same"), ("2.jpg", jpeg()), ("2.txt", "same")))
    (source / "b.tar").write_bytes(tar(("1.jpg", jpeg()), ("1.json", '{"n": 3}'))[:700])
    frame = load(2)
    assert frame["text"].to_list() == ["same", "same", None]
    assert frame["uid"].n_unique() == 3
    assert Store(str(tmp_path / "store"))["images"].collect()["status"].to_list() == ["success", "success", "truncated"]
    write(source / "c.parquet", pairs(0, 1))
    with pytest.raises(CurateError, match=r"holds pairs without images, .* the other kind: use a new root"):
        load(2, input=str(source / "c.parquet"), append=True)


# ---- other places ----


def test_memory_file_system():
    import fsspec

    data = "".join(json.dumps(row) + "\n" for row in pairs(0, 25))
    fsspec.filesystem("memory").pipe("/reading/in/x.jsonl", data.encode())
    store = Store("memory://reading/store")
    read(store, ReadOptions(input="memory://reading/in", rows_per_shard=10), Cluster(workers=0))
    assert store["records"].select("url", "text").collect().to_dicts() == pairs(0, 25)


@pytest.mark.slow
def test_http(tmp_path):
    """A csv of links: fsspec takes every file that holds some for a folder."""
    write(tmp_path / "x.csv", pairs(0, 25))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        store = Store(str(tmp_path / "store"))
        read(store, ReadOptions(input=f"{url}/x.csv"), Cluster(workers=0))
        with pytest.raises(CurateError, match="no input at"):
            open_source(ReadOptions(input=f"{url}/none.csv"))
        server.shutdown()
    assert store["records"].select("url", "text").collect().to_dicts() == pairs(0, 25)
    assert read_file_list(store, 0)[0].name == "x.csv"


@pytest.fixture
def bucket(monkeypatch):
    boto3 = importlib.import_module("boto3")
    server = importlib.import_module("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**keys, "AWS_ENDPOINT_URL": url}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=url)
    client.create_bucket(Bucket="pairs")
    import s3fs

    # An instance of an earlier test would ask that test's server.
    s3fs.S3FileSystem.clear_instance_cache()
    yield client
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.slow
def test_s3(bucket, tmp_path):
    write(tmp_path / "x.parquet", pairs(0, 25))
    img2dataset_shard(tmp_path / "shards")
    for name in ("x.parquet", "shards/00000.tar", "shards/00000.parquet", "shards/00000_stats.json"):
        bucket.upload_file(str(tmp_path / name), "pairs", f"in/{name}")
    store = Store("s3://pairs/store")
    options = ReadOptions(input="s3://pairs/in/x.parquet", rows_per_shard=10)
    read(store, options, Cluster(workers=0))
    assert store["records"].select("url", "text").collect().to_dicts() == pairs(0, 25)
    read(store, options, Cluster(workers=0))
    assert store.shard_rows() == {0: 10, 1: 10, 2: 5}
    images = Store("s3://pairs/images")
    read(images, ReadOptions(input="s3://pairs/in/shards"), Cluster(workers=0))
    found = images["images"].collect()
    assert found["tar"].to_list()[0] == "s3://pairs/in/shards/00000.tar"
    with pytest.raises(CurateError, match=r"no input at 's3://pairs/none'"):
        open_source(ReadOptions(input="s3://pairs/none"))
    with pytest.raises(CurateError, match=r"'s3://elsewhere/x.parquet'"):
        open_source(ReadOptions(input="s3://elsewhere/x.parquet"))
