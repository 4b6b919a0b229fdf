"""Training shards: exact sizes, the same bytes every time, images untouched, and read by those who train."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import json
import math
import os
import subprocess
import sys
import tarfile
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE, importable, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.annotate.step import annotate
from curate.catalog import load
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.read.step import ReadOptions, read
from curate.store.store import Store
from curate.store.tar import BLOCK, TarFile
from curate.store.verify import verify
from curate.store.view import View
from curate.write.plan import plan
from curate.write.step import WriteOptions, write

KINDS = ("JPEG", "PNG", "WEBP")


@pytest.fixture
def files() -> list[bytes | None]:
    return [None if i % 8 == 7 else picture(i) for i in range(47)]


@pytest.fixture
def view(make_store, files) -> View:
    rows = [{"uid": f"{i:032x}", "text": f"caption é {i}", "n": i, "s": i / 7 if i % 5 else None} for i in range(47)]
    view = annotate(make_store(rows, 10, files), [load("score.words")], HERE)
    return select(view, Filter(name="f", where="n != 3"))[0]


def contents(folder: str | Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(Path(folder).iterdir())}


def members(data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        return [(info, tar.extractfile(info).read()) for info in tar]


def to(tmp_path: Path, **options: Any) -> WriteOptions:
    return WriteOptions(**{"to": str(tmp_path / "out"), "samples_per_shard": 6, **options})


# ---- what is written ----


def test_exact_shards_in_the_layout_of_img2dataset(view, tmp_path, files):
    done = write(view, to(tmp_path), HERE)
    kept = [i for i in range(47) if i != 3 and files[i] is not None]
    assert (done["samples"], done["shards"], done["without_image"]) == (len(kept), 7, {"no_image": 5})
    found = contents(done["to"])
    names = [f"{n:05d}{end}" for n in range(7) for end in (".parquet", ".tar", "_stats.json")]
    assert sorted(found) == sorted([*names, "README.md", "manifest.json", "selection.json", "sizes.json"])
    assert json.loads(found["sizes.json"]) == {f"{n:05d}.tar": 6 if n < 6 else 5 for n in range(7)}
    row = iter(kept)
    for n in range(7):
        inside = members(found[f"{n:05d}.tar"])
        assert [info.name for info, _ in inside] == [
            f"{n:05d}{k}.{e}" for k in range(6 if n < 6 else 5) for e in ("jpg", "txt", "json")
        ]
        for info, _ in inside:
            assert (info.mtime, info.mode, info.uid, info.gid, info.uname, info.pax_headers) == (0, 0o644, 0, 0, "", {})
        table = pl.read_parquet(io.BytesIO(found[f"{n:05d}.parquet"]))
        assert table.columns == [
            "key",
            "uid",
            "url",
            "text",
            *sorted(set(table.columns) - {"key", "uid", "url", "text"}),
        ]
        assert {"n", "s", "words", "characters", "width", "height", "sha256"} <= set(table.columns)
        assert not {"status", "tar", "offset", "size", "words_status"} & set(table.columns)
        stats = json.loads(found[f"{n:05d}_stats.json"])
        assert (stats["count"], stats["successes"]) == (len(table), len(table))
        for sample, (image, text, about) in zip(table.to_dicts(), zip(*[iter(inside)] * 3, strict=True), strict=True):
            i = next(row)
            assert image[1] == files[i], "the bytes that were stored"
            assert text[1].decode() == f"caption é {i}" == sample["text"]
            assert json.loads(about[1]) == sample
            assert (sample["n"], sample["uid"]) == (i, f"{i:032x}")
    assert next(row, None) is None


def test_the_same_bytes_every_time(view, tmp_path):
    first = contents(write(view, to(tmp_path), HERE)["to"])
    second = contents(write(view, to(tmp_path, to=str(tmp_path / "other")), HERE)["to"])
    assert first == second
    assert contents(write(view, to(tmp_path), HERE)["to"]) == first


#: A PNG of one pixel: its bytes are of no version of an encoder.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c6360606000000004000127342703"
    "0000000049454e44ae426082"
)


def test_a_shard_has_the_bytes_that_earlier_versions_wrote(make_store, tmp_path):
    odd = [1e16, 1e-7, -0.0, 5e-324, 123456789.125, math.nan, None, 0.1]
    strings = ["a", 'x"y\\z', "\n\t\x01\x7f", "é\u2028😀", "", None, "</b>", "%s"]
    rows = [{"text": s, "f": f, "s": s, "o": {"a": [f], "b": s}} for s, f in zip(strings, odd, strict=True)]
    view = make_store(rows, 3, [PIXEL] * 8)
    data = contents(write(view, to(tmp_path, columns=("f", "s", "o", "width"), samples_per_shard=8), HERE)["to"])
    assert hashlib.sha256(data["00000.tar"]).hexdigest() == (
        "c157e125d1eced913d7b685b03a40a68156b96de9a1b72cbef7cb880c00ccf8a"
    )


def test_the_same_samples_whatever_the_cut_of_the_store(make_store, tmp_path, files):
    written = []
    for per_shard in (10, 47, 3):
        source = make_store([{"uid": f"{i:032x}", "n": i} for i in range(47)], per_shard, files)
        options = to(tmp_path, to=str(tmp_path / f"cut{per_shard}"), columns=("n",))
        done = contents(write(select(source, Filter(name="f", where="n != 3"))[0], options, HERE)["to"])
        written.append({name: data for name, data in done.items() if name.endswith(".tar")})
    assert written[0] == written[1] == written[2]


@pytest.mark.slow
def test_every_file_is_in_the_manifest(view, tmp_path):
    done = write(view, to(tmp_path), HERE)
    found = contents(done["to"])
    manifest = json.loads(found["manifest.json"])
    assert {name: f["sha256"] for name, f in manifest["files"].items()} == {
        name: hashlib.sha256(data).hexdigest() for name, data in found.items() if name != "manifest.json"
    }
    assert done["bytes"] == sum(len(found[name]) for name in manifest["files"])
    assert (manifest["samples"], manifest["shards"]) == (41, 7) == (done["samples"], done["shards"])
    assert verify(done["to"]) == "25 files: all as written"
    path = Path(done["to"], "00003.tar")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    Path(done["to"], "00001.parquet").unlink()
    with pytest.raises(CurateError, match=r"2 faults in 25 files: 00001\.parquet: is missing; 00003\.tar: differs"):
        verify(done["to"])


def test_columns_by_name(view, tmp_path):
    found = contents(write(view, to(tmp_path, columns=("words", "n", "key", "n")), HERE)["to"])
    table = pl.read_parquet(io.BytesIO(found["00000.parquet"]))
    assert table.columns == ["key", "uid", "url", "text", "words", "n"]
    assert table["key"][0] == "000000"
    with pytest.raises(CurateError, match=r"no column 'word' \(did you mean 'words'\?\)"):
        write(view, to(tmp_path, columns=("word",)), HERE)


def test_json_that_any_reader_reads(make_store, tmp_path):
    """NaN and infinities are no JSON."""
    rows = [{"s": value} for value in (math.nan, math.inf, -math.inf, 0.5, None)]
    view = make_store(rows, 10, [picture(i) for i in range(5)])
    data = contents(write(view, to(tmp_path), HERE)["to"])["00000.tar"]

    def refuse(word: str) -> None:
        raise ValueError(word)

    values = [json.loads(d, parse_constant=refuse)["s"] for info, d in members(data) if info.name.endswith("json")]
    assert values == [None, None, None, 0.5, None]


def test_images_of_other_formats_keep_their_bytes(make_store, tmp_path):
    """webdataset's extension tells the format; a file is never opened, so never changed."""
    files = [picture(i, KINDS[i % 3]) for i in range(6)]
    view = make_store(6, 4, files)
    part = view.store.read_part(view.images, 0)
    names = pa.array(["jpg", "png", "webp", "jpg"])
    place = part.column_names.index("extension")
    view.store.write_part(view.images, 0, part.set_column(place, "extension", names))
    data = contents(write(view, to(tmp_path), HERE)["to"])["00000.tar"]
    found = [(info.name, d) for info, d in members(data) if not info.name.endswith(("txt", "json"))]
    assert [d for _, d in found] == files
    assert [name.rpartition(".")[2] for name, _ in found][:4] == ["jpg", "png", "webp", "jpg"]


def test_other_members_of_a_sample_go_out_again(tmp_path):
    """Byte by byte, behind the new key; also those that came in a compressed tar, which reading had to store."""
    several = {"cls": b"7", "seg.png": picture(3, "PNG"), "syn.json": b'{"a": 1}', "npy": bytes(1000)}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for key in ("a", "b"):
            for name, body in {"jpg": picture(1), "txt": b"caption", **several}.items():
                info = tarfile.TarInfo(f"{key}.{name}")
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
    for name, body in (("x.tar", data.getvalue()), ("y.tar.gz", gzip.compress(data.getvalue()))):
        (tmp_path / name).write_bytes(body)
        store = Store(str(tmp_path / f"store-{name}"))
        view = read(store, ReadOptions(input=str(tmp_path / name)), HERE)
        done = contents(write(view, to(tmp_path, to=str(tmp_path / f"out-{name}")), HERE)["to"])
        inside = {info.name: body for info, body in members(done["00000.tar"])}
        assert {n.partition(".")[0] for n in inside} == {"000000", "000001"}
        for key in ("000000", "000001"):
            assert inside[f"{key}.jpg"] == picture(1)
            assert {n: inside[f"{key}.{n}"] for n in several} == several
        assert [json.loads(inside[f"{k}.json"])["key_input"] for k in ("000000", "000001")] == ["a", "b"]


def test_nothing_to_write(make_store, tmp_path):
    with pytest.raises(CurateError, match="nothing to write: the store has no images"):
        write(make_store(3), to(tmp_path), HERE)
    view = make_store(3, images=[picture(i) for i in range(3)])
    none, _ = select(view, Filter(name="none", where="text = 'x'"))
    with pytest.raises(CurateError, match="nothing to write: no row with an image is kept"):
        write(none, to(tmp_path), HERE)
    assert not (tmp_path / "out").exists()


# ---- sizes ----


def oracle(sizes: list[int], samples: int, most: int | None) -> list[list[int]]:
    shards: list[list[int]] = []
    for row, size in enumerate(sizes):
        full = not shards or len(shards[-1]) >= samples
        if full or (most is not None and sum(sizes[r] for r in shards[-1]) + size > most):
            shards.append([])
        shards[-1].append(row)
    return shards


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=6),
    st.integers(1, 7),
    st.one_of(st.none(), st.integers(1, 60)),
)
def test_a_shard_is_full_at_its_samples_or_its_bytes(sizes, samples, most):
    pieces = plan(((shard, np.array(s, np.int64)) for shard, s in enumerate(sizes)), samples, most)
    first = np.cumsum([0, *map(len, sizes)])
    rows = [[int(first[p.shard]) + r for p in shard for r in range(p.start, p.stop)] for shard in pieces]
    assert rows == oracle([size for s in sizes for size in s], samples, most)
    assert all(p.stop > p.start for shard in pieces for p in shard)


def test_bytes_cap_and_an_image_over_it(make_store, tmp_path):
    files = [picture(i, "PNG" if i == 4 else "JPEG", (600, 500) if i == 4 else (16, 12)) for i in range(9)]
    sizes = [len(f) for f in files]
    cap = 2 * max(s for i, s in enumerate(sizes) if i != 4)
    assert sizes[4] > cap
    done = write(make_store(9, 4, files), to(tmp_path, samples_per_shard=3, bytes_per_shard=cap), HERE)
    found = contents(done["to"])
    assert json.loads(found["sizes.json"]) == {f"{n:05d}.tar": k for n, k in enumerate([2, 2, 1, 2, 2])}
    images = [d for n in range(5) for info, d in members(found[f"{n:05d}.tar"]) if info.name.endswith("jpg")]
    assert images == files


@given(st.lists(st.binary(max_size=1200), max_size=30))
@settings(deadline=None, max_examples=50)
def test_tar_is_what_the_standard_library_writes(datas):
    ours, theirs = io.BytesIO(), io.BytesIO()
    archive = TarFile(ours)
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for i, data in enumerate(datas):
            offset = archive.add(f"{i:09d}.jpg", data)
            assert offset == ours.tell() - -(-len(data) // BLOCK) * BLOCK
            info = tarfile.TarInfo(f"{i:09d}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            assert ours.getvalue()[offset : offset + len(data)] == data
    archive.close()
    assert ours.getvalue() == theirs.getvalue()


# ---- stopped and gone on with ----


def test_what_is_lacking_is_written_again_and_nothing_else(view, tmp_path):
    out = Path(write(view, to(tmp_path), HERE)["to"])
    whole = contents(out)
    for name in ("00002_stats.json", "00004.tar", "00005.parquet", "manifest.json", "sizes.json"):
        (out / name).unlink()
    (out / ".00002.tar.abc.123.tmp").write_bytes(b"torn")
    before = {name: (out / name).stat().st_mtime_ns for name in ("00000.tar", "00001.tar", "00003.parquet")}
    write(view, to(tmp_path), HERE)
    assert contents(out) == whole, "and the torn file is gone"
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before


KILLED = """
import os, signal, sys
from conftest import HERE
from curate.store.folder import Folder
from curate.store.store import Store
from curate.store.view import View
from curate.write.step import WriteOptions, write

root, out = sys.argv[1:3]
writing, left = Folder.writing, 11

def killed(self, name):
    global left
    left -= 1
    if not left:
        held = writing(self, name)
        held.__enter__().write(b"torn")
        os.kill(os.getpid(), signal.SIGKILL)
    return writing(self, name)

Folder.writing = killed
write(View.of(Store(root), "keep_f"), WriteOptions(to=out, samples_per_shard=6, columns=("n",)), HERE)
"""


@pytest.mark.slow
def test_killed_in_the_middle_it_ends_with_the_same_bytes(view, tmp_path):
    options = to(tmp_path, columns=("n",))
    undisturbed = contents(write(view, options, HERE)["to"])
    out = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": importable()}
    command = [sys.executable, "-c", KILLED, view.store.url, str(out)]
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    torn = contents(out)
    assert any(name.endswith(".tmp") for name in torn)
    assert "manifest.json" not in torn
    with pytest.raises(CurateError, match="no folder of shards that were written to their end"):
        verify(str(out))
    write(View.of(view.store, "keep_f"), to(tmp_path, to=str(out), columns=("n",)), HERE)
    assert contents(out) == undisturbed


# ---- folders that are refused ----


def test_another_selection_is_refused(view, tmp_path):
    done = write(view, to(tmp_path), HERE)
    before = contents(done["to"])
    others = [
        (view, to(tmp_path, samples_per_shard=7)),
        (view, to(tmp_path, columns=("n",))),
        (select(View.of(view.store), Filter(name="g", where="n != 4"))[0], to(tmp_path)),
    ]
    for other, options in others:
        with pytest.raises(CurateError, match="holds another selection"):
            write(other, options, HERE)
    assert contents(done["to"]) == before


@pytest.mark.parametrize("name", ["00000.tar", "00000_stats.json", "part.parquet", "manifest.json", "selection.json"])
def test_a_folder_with_others_files_is_refused(view, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(b"{}")
    with pytest.raises(CurateError, match="write to another folder"):
        write(view, to(tmp_path), HERE)
    assert contents(out) == {name: b"{}"}


@pytest.mark.parametrize("inside", ["", "records"])
def test_the_store_itself_is_refused(view, tmp_path, inside):
    manifest = view.store.manifest()
    with pytest.raises(CurateError, match="write to another folder"):
        write(view, to(tmp_path, to=f"{view.store.url}/{inside}".rstrip("/")), HERE)
    assert view.store.manifest() == manifest


def test_each_selection_has_its_own_folder(view):
    first = write(view, WriteOptions(samples_per_shard=6), HERE)["to"]
    second = write(view, WriteOptions(samples_per_shard=7), HERE)["to"]
    assert first != second
    assert Path(first).parent == Path(view.store.url)
    assert view.store.shard_rows() == View.of(view.store).store.shard_rows()


# ---- those who train ----


@pytest.mark.slow
def test_webdataset_groups_the_samples(view, tmp_path, files):
    import webdataset

    out = write(view, to(tmp_path), HERE)["to"]
    urls = [f"{out}/{n:05d}.tar" for n in range(7)]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    kept = [i for i in range(47) if i != 3 and files[i] is not None]
    assert len(samples) == len(kept)
    for i, sample in zip(kept, samples, strict=True):
        assert {"jpg", "txt", "json"} == {name for name in sample if not name.startswith("__")}
        assert sample["jpg"] == files[i]
        assert json.loads(sample["json"])["key"] == sample["__key__"]
    decoded = next(
        iter(webdataset.WebDataset(urls[0], shardshuffle=False).decode("pilrgb").to_tuple("jpg", "txt", "json"))
    )
    assert (decoded[0].size, decoded[1], decoded[2]["n"]) == ((16, 12), "caption é 0", 0)


@pytest.mark.slow
def test_open_clip_trains_on_them(view, tmp_path, monkeypatch):
    """An epoch through the loader of open_clip's own training script, open_clip_train.data.get_wds_dataset.

    open_clip asks for webdataset<=0.2.86; later ones put an empty mark after each tar, which its grouping does not
    know (KeyError: 'fname'), so the mark is switched off here.
    """
    from curate.models.open_clip_import import open_clip

    clip = open_clip()
    data = importlib.import_module("open_clip_train.data")
    monkeypatch.setattr(data, "tar_file_expander", partial(data.tar_file_expander, eof_value=None))
    out = write(view, to(tmp_path), HERE)["to"]
    urls = f"{out}/{{00000..00006}}.tar"
    assert data.get_dataset_size(urls) == (41, 7)
    arguments = Namespace(
        train_data=urls,
        train_data_upsampling_factors=None,
        train_num_samples=None,
        dataset_resampled=False,
        seed=0,
        batch_size=8,
        workers=0,
        world_size=1,
        distributed=False,
    )
    preprocess = clip.image_transform(32, is_train=False)
    info = data.get_wds_dataset(arguments, preprocess, is_train=True, tokenizer=clip.get_tokenizer("ViT-B-32"))
    seen = []
    for images, texts in info.dataloader:
        assert tuple(images.shape) == (8, 3, 32, 32)
        assert tuple(texts.shape) == (8, 77)
        seen += [clip.decode(row)[len("<start_of_text>") :].split("<end_of_text>")[0] for row in texts]
    # The tokenizer parts digits.
    assert {words.replace(" ", "") for words in seen} <= {f"captioné{i}" for i in range(47)}
    assert len(seen) == info.dataloader.num_samples == 48, "whole batches: some sample came twice"
    assert len(set(seen)) >= 40
