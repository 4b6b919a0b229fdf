"""Whole files or none, identities, the manifest, and the same store on memory:// and on a real S3 API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import fsspec
import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE, column

from curate.annotate.step import annotate
from curate.annotate.tables import folder_for
from curate.catalog import load
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.store.folder import Folder, identity
from curate.store.manifest import Manifest
from curate.store.store import Store
from curate.store.verify import verify
from curate.store.view import View
from curate.write.step import WriteOptions, write


@pytest.fixture(params=["local", "memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/store"
    return str(tmp_path / "store") if request.param == "local" else f"memory://{tmp_path.name}/store"


# ---- whole files or none ----


def test_an_exception_while_writing_leaves_nothing(root):
    folder = Folder(root)
    with pytest.raises(RuntimeError), folder.writing("part/00000.parquet") as file:
        file.write(b"half")
        raise RuntimeError
    assert folder.names("part") == set()
    assert not folder.exists("part/00000.parquet")


def test_an_exception_while_writing_leaves_the_old_file(root):
    folder = Folder(root)
    folder.write_bytes("a/b", b"old")
    with pytest.raises(RuntimeError), folder.writing("a/b") as file:
        file.write(b"new")
        raise RuntimeError
    assert folder.read_bytes("a/b") == b"old"
    assert folder.names("a") == {"b"}


def test_a_file_is_written_replaced_and_removed(root):
    folder = Folder(root)
    for data in (b"first", b"second, which is longer", b"3"):
        folder.write_bytes("a/b", data)
        assert folder.read_bytes("a/b") == data
        assert folder.open("a/b").read() == data
    folder.remove("a")
    folder.remove("a")
    assert folder.names("a") == set()


def test_a_reader_never_sees_a_part_of_a_file(tmp_path):
    folder = Folder(str(tmp_path))
    sizes = (1 << 20, 3 << 20)
    folder.write_bytes("file", b"x" * sizes[0])
    seen, stop = set(), threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.add(len(folder.read_bytes("file")))

    reader = threading.Thread(target=look)
    reader.start()
    for i in range(20):
        with folder.writing("file") as file:
            for _ in range(8):
                file.write(b"y" * (sizes[i % 2] // 8))
                file.flush()
    stop.set()
    reader.join()
    assert seen <= set(sizes)


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_write_leaves_no_part(tmp_path):
    code = """
import sys
from curate.store.manifest import Manifest
from curate.store.store import Store
with Store(sys.argv[1]).writing("words/00007.parquet") as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "writing\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    store = Store(str(tmp_path))
    assert len(store.names("words")) == 1, "the torn temporary file is there, under another name"
    assert store.parts("words") == set()
    store.write_part("words", 7, pa.table({"uid": ["a"]}))
    assert store.parts("words") == {7}


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    folder = Folder(str(tmp_path))
    with folder.writing("file") as first, folder.writing("file") as second:
        first.write(b"1" * 10)
        second.write(b"2" * 20)
    assert folder.read_bytes("file") == b"1" * 10  # the block that ended last
    assert folder.names() == {"file"}


# ---- identity ----


def test_identity_changes_with_each_ingredient():
    base = {"spec": {"op": "score.words", "options": {"a": 1, "b": None}, "version": 1}, "reads": {"text": "records"}}
    others = [
        base,
        {**base, "spec": {**base["spec"], "version": 2}},
        {**base, "spec": {**base["spec"], "options": {"a": 1, "b": 0}}},
        {**base, "spec": {**base["spec"], "options": {"a": 1.5, "b": None}}},
        {**base, "spec": {**base["spec"], "options": {"a": "1", "b": None}}},
        {**base, "reads": {"text": "other"}},
        {**base, "reads": {"url": "records"}},
        {**base, "pool": "x"},
    ]
    names = [identity(**parts) for parts in others]
    assert len(set(names)) == len(names)
    assert identity(b=1, a=2) == identity(a=2, b=1)


def test_a_tables_folder_tells_options_version_weights_and_what_it_read(make_store, monkeypatch):
    view = make_store(3)
    words = load("score.words")
    folder = folder_for(view, words)
    assert folder.startswith("words-")
    assert folder_for(view, load({"score.words": {"batch_size": 3}})) == folder, "how it is computed does not count"
    assert folder_for(view.with_table("other", ["text"]), words) != folder
    assert folder_for(view, words, whole=True) != folder
    cls = type(words)
    monkeypatch.setattr(cls, "version", 2)
    second = folder_for(view, words)
    monkeypatch.setattr(cls, "weights", lambda self: "abc")
    assert len({folder, second, folder_for(view, words)}) == 3


def test_a_pool_changes_with_input_and_keep(make_store):
    view = make_store(3)
    pools = [view.pool()]
    kept, _ = select(view, Filter(name="a", where="text != 'x'"))
    pools.append(kept.pool())
    other, _ = select(view, Filter(name="a", where="text != 'y'"))
    pools.append(other.pool())
    pools.append(make_store(2, root=view.store.url).pool())
    assert len(set(pools)) == 4
    last = View.of(view.store, "keep_a")
    assert view.store.manifest().pools(last.keep) == {View.of(view.store).pool(), last.pool()}


# ---- the manifest ----


def test_an_empty_place_has_an_empty_manifest(root):
    store = Store(root)
    assert store.manifest() == Manifest()
    assert store.manifest().table_folders() == {}
    with pytest.raises(CurateError, match="holds no records"):
        View.of(store)


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 1', b"[]", b"null", b"\xff\xfe\x00", b"{}"])
def test_a_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(CurateError, match=r"manifest\.json is damaged"):
        Store(str(tmp_path)).manifest()


def test_a_newer_format_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 4, "stores": []}))
    with pytest.raises(CurateError, match="format 4; this curate reads 3: upgrade curate"):
        Store(str(tmp_path)).manifest()


def test_an_older_format_is_refused_with_the_command_that_converts_it(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "inputs": [], "tables": {}}))
    with pytest.raises(CurateError, match=r"format 1; this curate reads 3: `curate upgrade .*` converts it"):
        Store(str(tmp_path)).manifest()


def test_a_file_is_no_store(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CurateError, match="is a file, not the folder of a store"):
        Store(str(tmp_path / "file")).manifest()


def test_an_unknown_protocol_is_named():
    with pytest.raises(CurateError, match="cannot open 'nothing://x'"):
        Store("nothing://x").manifest()


def test_the_nearest_table_is_named(make_store):
    view = annotate(make_store(3), [load("score.words")], HERE)
    assert view.store["words"].collect().columns == ["uid", "words", "characters", "words_status"]
    with pytest.raises(CurateError, match=r"no table 'wrds' \(did you mean 'words'\?\); there are: records, words"):
        view.store["wrds"]
    with pytest.raises(CurateError, match=r"no column 'texts' \(did you mean 'text'\?\)"):
        view.read(0, ["texts"])
    with pytest.raises(CurateError, match=r"records/00000\.parquet: no column 'texts' \(did you mean 'text'\?\)"):
        view.store.read_part("records", 0, ["uid", "texts"])
    assert view.store.read_part("records", 0, ["url", "uid"]).column_names == ["url", "uid"]
    assert view.read(0, ["url", "words", "url"]).column_names == ["url", "words"]
    with pytest.raises(CurateError, match="no keep table 'keep_x'; there are: none"):
        View.of(view.store, "keep_x")


def test_uid_belongs_to_the_records_whoever_else_has_it(make_store):
    view = make_store(3, images=[None] * 3)
    assert View.of(view.store).columns["uid"] == "records" == view.columns["uid"]


def test_shards_past_99999_are_found(tmp_path):
    store = Store(str(tmp_path))
    for shard in (7, 99_999, 100_000, 1_234_567):
        store.write_part("words", shard, pa.table({"uid": ["a"]}))
    (tmp_path / "words" / "00007 copy.parquet").write_bytes(b"")
    assert store.parts("words") == {7, 99_999, 100_000, 1_234_567}


def test_a_lazy_frame_has_the_rows_in_order(root):
    store = Store(root)
    store.save(Manifest(current={"t": "t-1"}))
    for shard in range(12):
        store.write_part("records", shard, pa.table({"uid": [f"{shard}-{i}" for i in range(3)]}))
        store.write_part("t-1", shard, pa.table({"x": [shard] * 3}))
    frame = store["t"]
    assert frame.collect()["x"].to_list() == [shard for shard in range(12) for _ in range(3)]
    assert frame.filter(pl.col("x") == 5).select("uid").collect()["uid"].to_list() == ["5-0", "5-1", "5-2"]


# ---- other file systems ----


def test_what_another_process_wrote_is_seen(s3):
    """A listing kept from before would hide a new part, and cut a longer one at its old size."""
    store = Store(f"{s3}/store")
    store.write_part("t", 0, pa.table({"x": [1]}))
    assert store.parts("t") == {0}
    code = """
import sys, pyarrow as pa
from curate.store.manifest import Manifest
from curate.store.store import Store
store = Store(sys.argv[1])
store.write_part("t", 0, pa.table({"x": list(range(5000))}))
store.write_part("t", 1, pa.table({"x": [2]}))
"""
    subprocess.run([sys.executable, "-c", code, store.url], check=True)
    assert store.read_part("t", 0).num_rows == 5000
    assert store.try_part("t", 1).num_rows == 1
    assert store.exists("t/00001.parquet")


@pytest.mark.slow
def test_the_whole_path(root, tmp_path):
    """read, words, select, write: on every kind of storage, and the same bytes come out."""
    from conftest import picture, write_tar

    from curate.read.step import ReadOptions, read

    rows = [{"text": "a b c" if i % 3 else "a", "url": f"http://t/{i}", "uid": f"{i:032x}"} for i in range(25)]
    images = [picture(i) if i % 5 else None for i in range(25)]
    source = tmp_path / "in.tar"
    write_tar(source, rows, images)
    if "://" in root:
        place = root.replace("/store", "/input/in.tar")
        with fsspec.open(place, "wb") as file:
            file.write(source.read_bytes())
    else:
        place = str(source)
    view = read(Store(root), ReadOptions(input=place, rows_per_shard=10), HERE)
    view = annotate(view, [load("score.words"), load("dedupe.exact")], HERE)
    view, counts = select(view, Filter(name="long", where="words > 1 AND dup_url_of IS NULL"))
    assert counts == {"entered": 25, "kept": 16, "dropped": {"fails: words > 1": 9}}
    done = write(view, WriteOptions(samples_per_shard=5, columns=("words",)), HERE)
    assert (done["samples"], done["shards"], done["without_image"]) == (13, 3, {"no_image": 3})
    assert "all as written" in verify(done["to"])
    again = write(view, WriteOptions(samples_per_shard=5, columns=("words",)), HERE)
    assert again == done
    tars = [Folder(done["to"]).read_bytes(f"0000{n}.tar") for n in range(3)]
    key = "tars of the whole path"
    _SEEN.setdefault(key, tars)
    assert tars == _SEEN[key]
    assert column(View.of(Store(root), "keep_long"), "words") == [3 if i % 3 else 1 for i in range(25)]
    assert not [n for n in Folder(root).names("dup_url") if n == ".work"]


_SEEN: dict[str, list[bytes]] = {}


def test_a_damaged_part_is_not_taken_for_a_missing_one(make_store):
    view = make_store(3)
    Path(view.store.url, "records", "00000.parquet").write_bytes(b"torn")
    with pytest.raises(CurateError, match=r"records/00000\.parquet is damaged"):
        view.read(0, ["text"])
