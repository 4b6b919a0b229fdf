"""Any flipped bit of a store or its shards is found by verify, and reaches no shard unseen."""

from __future__ import annotations

import hashlib
import io
import random
import shutil
import tarfile
from pathlib import Path

import finished_run
import numpy as np
import polars as pl
import pytest
from conftest import HERE

from curate.api import run
from curate.errors import CurateError
from curate.look.report import write_report
from curate.store.folder import CHECKSUM, Folder, json_file
from curate.store.spill import read_spilled, spill, spilled_rows
from curate.store.store import Store
from curate.store.verify import verify
from curate.store.view import View
from curate.write.step import WriteOptions, write

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    root = Path(finished_run.finish(tmp_path_factory.mktemp("verified"), 150))
    write_report(str(root))
    store = Store(str(root))
    # What a stopped whole-dataset step leaves.
    (folder,) = (name for name in store.names() if name.startswith("dup_sha256"))
    frame = pl.DataFrame({"key": np.arange(90), "text": [f"caption {i}" for i in range(90)]})
    spill(store, f"{folder}/.work/groups", 0, frame, np.arange(90) % 3, 3)
    return root


@pytest.fixture
def root(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "store"))


def kinds(root: Path) -> dict[str, list[Path]]:
    """Files by kind: folder's name without identity, and ending."""
    files: dict[str, list[Path]] = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.name != "lease.json"):
        name = path.relative_to(root).as_posix()
        kind = name.split("/")[0].split("-")[0].split(".")[0] + path.suffix
        if "shards-" in name:
            kind = "shards " + path.name.lstrip("0123456789")
        files.setdefault(kind, []).append(path)
    return files


def flip(path: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    place = draw.randrange(8 * len(data))
    data[place // 8] ^= 1 << place % 8
    path.write_bytes(data)


def test_a_whole_store_is_as_written(root):
    assert verify(str(root)).endswith("files: all as written")


def test_200_flipped_bits_over_every_kind_of_file_are_all_found(root):
    draw, files = random.Random(0), kinds(root)
    assert {"records.parquet", "images.tar", "images.parquet", "manifest.json", "report.html"} <= set(files)
    assert any("spill" in kind for kind in files)
    for number in range(200):
        kind = sorted(files)[number % len(files)]
        path = draw.choice(files[kind])
        kept = path.read_bytes()
        flip(path, draw)
        with pytest.raises(CurateError) as caught:
            verify(str(root))
        assert path.name in str(caught.value) or path.name == "manifest.json", kind
        path.write_bytes(kept)
    verify(str(root))


def test_missing_and_extra_files_are_found(root):
    store = Store(str(root))
    table = next(name for name in store.names() if name.startswith("words-"))
    shards = next(name for name in store.names() if name.startswith("shards-"))
    (root / table / "00001.parquet").unlink()
    shutil.copy(root / shards / "00000.tar", root / shards / "00099.tar")
    (root / "notes.txt").write_text("mine")
    with pytest.raises(CurateError) as caught:
        verify(str(root))
    for fault in (f"{table}/00001.parquet: is missing", "00099.tar: is not of these shards", "notes.txt: is not of"):
        assert fault in str(caught.value)


def test_a_part_of_other_records_is_found_and_never_read(root):
    store = Store(str(root))
    table = next(name for name in store.names() if name.startswith("words-"))
    shutil.copy(root / table / "00001.parquet", root / table / "00000.parquet")
    with pytest.raises(CurateError, match=r"00000\.parquet: differs: .* it is 'words/00001\.parquet', under"):
        verify(str(root))
    with pytest.raises(CurateError, match="under another name"):
        View.of(store).read(0, ["words"])


def test_a_part_whose_records_were_replaced_is_found_and_never_read(root):
    store = Store(str(root))
    table = next(name for name in store.names() if name.startswith("words-"))
    records = store.read_part("records", 0)
    store.write_part("records", 0, records.take([*range(1, records.num_rows), 0]))
    with pytest.raises(CurateError, match=rf"{table}/00000\.parquet: belongs to other records"):
        verify(str(root))
    with pytest.raises(CurateError, match="is not of the same records"):
        View.of(store).read(0, ["uid", "words"])


def test_no_flipped_bit_reaches_a_shard(root):
    """Either the shards have the same bytes, or the step stops with an error that names the file."""
    draw, files = random.Random(1), kinds(root)
    sources = [p for kind, paths in files.items() for p in paths if p.suffix in (".parquet", ".tar")]
    sources = [p for p in sources if "shards-" not in str(p)]
    view = View.of(Store(str(root)), "keep_sure")
    expected = written(view, root.parent / "expected")
    stopped = 0
    for number in range(60):
        path = draw.choice(sources)
        kept = path.read_bytes()
        flip(path, draw)
        try:
            assert written(View.of(Store(str(root)), "keep_sure"), root.parent / f"to-{number}") == expected
        except CurateError as error:
            stopped += 1
            assert "damaged" in str(error) or "checksum" in str(error)
        path.write_bytes(kept)
        shutil.rmtree(root.parent / f"to-{number}", ignore_errors=True)
    assert stopped > 10


def test_a_shard_that_a_trainer_cannot_read_is_found(root):
    """Whoever wrote it: its checksum fits, and webdataset finds other samples than the shard says."""
    folder = next(path for path in root.iterdir() if path.name.startswith("shards-"))
    for data, fault in (
        (b"no tar" * 300, "webdataset cannot read it: ReadError"),
        (tar_of({"a.jpg": b"1", "a.txt": b"2", "b.jpg": b"3"}), "webdataset finds 2 samples, not"),
    ):
        (folder / "00000.tar").write_bytes(data)
        about = Folder(str(folder)).read_json("manifest.json")
        about.pop(CHECKSUM, None)
        about["files"]["00000.tar"]["sha256"] = hashlib.sha256(data).hexdigest()
        (folder / "manifest.json").write_bytes(json_file(about))
        with pytest.raises(CurateError, match=rf"00000\.tar: {fault}"):
            verify(str(folder))


def tar_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def written(view: View, to: Path) -> dict[str, bytes]:
    write(view, WriteOptions(to=str(to), samples_per_shard=50), HERE)
    return {path.name: path.read_bytes() for path in sorted(to.glob("0*"))}


def test_no_flipped_bit_of_a_spill_is_read(tmp_path):
    store, draw = Store(str(tmp_path)), random.Random(2)
    frame = pl.DataFrame({"key": np.arange(90), "text": [f"caption {i}" for i in range(90)]})
    spill(store, "t/.work/groups", 0, frame, np.arange(90) % 3, 3)
    path = tmp_path / "t/.work/groups/00000.spill"
    data = path.read_bytes()
    assert spilled_rows(store, "t/.work/groups", range(1), 3).tolist() == [30, 30, 30]
    for _ in range(200):
        flip(path, draw)
        seen = 0
        for reader in range(3):
            try:
                assert read_spilled(store, "t/.work/groups", 1, reader)["key"].to_list() == list(range(reader, 90, 3))
                seen += 1
            except CurateError as error:
                assert "is damaged" in str(error)
        assert seen < 3
        path.write_bytes(data)


def test_tables_of_before_an_input_was_added_are_whole(tmp_path):
    root = str(tmp_path / "store")
    job = tmp_path / "job.yaml"
    steps = "- annotate: [score.words]\n- filter: {name: long, where: words > 1}\n"

    def run_to(steps, name, rows):
        (tmp_path / name).write_text("url,text\n" + "".join(f"http://a.test/{name}/{n}.jpg,{row}\n" for n, row in rows))
        read = f"- read: {{input: {tmp_path / name}, rows_per_shard: 2, append: true}}\n"
        job.write_text(f"steps:\n{read}{steps}")
        return run(job, set={"root": root}, workers=0)

    first, second = [[(n, "a b"), (n + 1, "a")] for n in (0, 2)], [(4, "a b c"), (5, "c")]
    first = [row for rows in first for row in rows]
    assert run_to(steps, "one.csv", first).kept == 2
    (keep,) = (tmp_path / "store").glob("keep_long-*")
    manifest = Store(root).manifest()
    run_to("", "two.csv", second)
    assert verify(root).endswith("files: all as written"), "nothing was made for the new rows yet"
    with pytest.raises(CurateError, match=r"'keep_long' was made before the rows of '.*two.csv' were added: run the"):
        write_report(root)
    assert run_to(steps, "two.csv", second).kept == 3
    assert verify(root).endswith("files: all as written"), "the first keep table is of the first rows, for ever"
    assert [Store(root).manifest().shards_of(folder.name) for folder in (keep,)] == [range(2)]
    assert Store(root).manifest().tables[manifest.current["words"]].shards is None
    (keep / "00001.parquet").unlink()
    (words,) = (tmp_path / "store").glob("words-*")
    (words / "00002.parquet").unlink()
    with pytest.raises(CurateError) as caught:
        verify(root)
    assert "2 faults" in str(caught.value) and f"{words.name}/00002.parquet: is missing" in str(caught.value)
    assert f"{keep.name}/00001.parquet: is missing" in str(caught.value)
