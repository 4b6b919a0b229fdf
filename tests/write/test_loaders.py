"""Shards as those who train load them: Hugging Face `datasets` (from tars, from the folder) and webdataset."""

from __future__ import annotations

import base64
import datetime
import io
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HERE, picture
from PIL import Image

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from curate.annotate.step import annotate
from curate.catalog import load
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.read.step import ReadOptions, read
from curate.store.store import Store
from curate.store.view import View
from curate.write.step import WriteOptions, write

pytestmark = pytest.mark.slow

datasets = pytest.importorskip("datasets", minversion="4")

ROWS = 12


def user_rows() -> list[dict[str, Any]]:
    """Columns as users have them: every type, nulls first, and names that curate and webdataset use, too."""
    return [
        {
            "url": f"http://a/{i}.jpg",
            "text": f"caption number {i}",
            "text_input": f"original {i}",
            "status": "ok",
            "size": i,
            "key": f"k{i}",
            "tar": "a",
            "offset": 9,
            "width": 1000 + i,
            "height": 10,
            "sha256": "e" * 64,
            "format": "photo",
            "words": -i,
            "license_status": "cc",
            "kept": True,
            "reason": "r",
            "late": None if i < 8 else i / 2,
            "rare": None if i != 10 else "x",
            "nan": float("nan") if i % 2 else 0.5,
            "never": None,
            "big": 2**64 - 1 - i,
            "tags": [] if i < 7 else ["a", "b"],
            "face_bboxes": [[0.1, 0.2, 0.3, 0.4]] * (i % 3),
            "meta": {"a": i, "b": None if i < 6 else "deep"},
            "blob": bytes([i]),
            "day": datetime.date(2026, 1, 1 + i),
            "price": Decimal(f"{i}.50"),
            "NSFW": "UNLIKELY",
        }
        for i in range(ROWS)
    ]


KINDS = pa.schema(
    [
        ("big", pa.uint64()),
        ("never", pa.int32()),
        ("late", pa.float32()),
        ("face_bboxes", pa.list_(pa.list_(pa.float64()))),
    ]
)


def store_of(tmp_path: Path, rows: list[dict[str, Any]]) -> View:
    """The rows in a parquet with their images inside, as a Hugging Face dataset keeps them."""
    kinds = {field.name: field.type for field in KINDS}
    full = [{**row, "image": {"bytes": picture(i), "path": None}} for i, row in enumerate(rows)]
    table = pa.table({name: pa.array([row[name] for row in full], kinds.get(name)) for name in full[0]})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "train-00000-of-00001.parquet")
    return read(Store(str(tmp_path / "store")), ReadOptions(input=str(tmp_path / "in"), rows_per_shard=5), HERE)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    view = annotate(
        store_of(tmp_path, user_rows()), [load("score.words"), load("score.phash"), load("dedupe.exact")], HERE
    )
    view, _ = select(view, Filter(name="f", where="words > 1"))
    return Path(write(view, WriteOptions(to=str(tmp_path / "out"), samples_per_shard=5), HERE)["to"])


def expected() -> dict[str, dict[str, Any]]:
    """What JSON has of each row, by url."""
    renamed = {"width": "width_input", "height": "height_input", "sha256": "sha256_input", "format": "format_input"}
    renamed |= {"words": "words_input", "key": "key_input"}
    found = {}
    for given in user_rows():
        row = {renamed.get(name, name): value for name, value in given.items()}
        row |= {"big": str(row["big"]), "blob": base64.b64encode(row["blob"]).decode(), "day": row["day"].isoformat()}
        row |= {"price": str(row["price"]), "nan": None if row["nan"] != row["nan"] else row["nan"], "words": 3}
        found[row["url"]] = row
    return found


def check(samples: list[dict[str, Any]]) -> None:
    want = expected()
    assert len(samples) == ROWS
    assert {sample["json"]["url"] for sample in samples} == set(want)
    for sample in samples:
        about = sample["json"]
        row = want[about["url"]]
        assert {name: about[name] for name in row} == row
        assert sample["txt"] == row["text"]
        assert sample["__key__"] == about["key"]
        assert sample["jpg"].size == (16, 12)
        assert len(about["phash"]) == 16 if about["phash"] else True


def test_hugging_face_from_the_tars(shards, tmp_path):
    files = str(shards / "*.tar")
    found = datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    check(list(found))


def test_hugging_face_from_the_folder(shards, tmp_path):
    found = datasets.load_dataset(str(shards), split="train", cache_dir=str(tmp_path / "cache"))
    check(list(found))
    streamed = datasets.load_dataset(str(shards), split="train", streaming=True)
    check(list(streamed))


def test_webdataset(shards):
    import webdataset

    files = [str(file) for file in sorted(shards.glob("*.tar"))]
    check(list(webdataset.WebDataset(files, shardshuffle=False).decode("pil")))


def test_parquet_keeps_the_types(shards):
    table = pl.read_parquet(shards / "*.parquet").sort("url")
    rows = {row["url"]: row for row in user_rows()}
    for row in table.iter_rows(named=True):
        theirs = rows[row["url"]]
        assert row["meta"] == theirs["meta"]
        assert row["face_bboxes"] == theirs["face_bboxes"]
        assert (row["blob"], row["day"], row["price"]) == (theirs["blob"], theirs["day"], theirs["price"])
        assert (row["width_input"], row["words_input"]) == (theirs["width"], theirs["words"])


def test_what_is_left_out_and_renamed_is_said_once(shards, tmp_path):
    view = View.of(Store(str(tmp_path / "store")), "keep_f")
    done = write(view, WriteOptions(to=str(tmp_path / "again"), leave_out=("blob", "meta")), HERE)
    said = {kind: entry["example"] for kind, entry in done["remarks"].items()}
    assert said["columns left out by name"] == "blob, meta"
    assert any("dup_sha256_of" in example or "dup_" in example for example in said.values())
    assert "format, height, key, sha256, width, words" in said.values()
    names = pl.read_parquet(tmp_path / "again" / "00000.parquet").columns
    assert not {"blob", "meta"} & set(names)
    assert not [name for name in names if name.startswith("dup_")]


def test_other_kinds_of_images(tmp_path):
    """A folder of several kinds loads whole; each sample has the one that it has."""
    (tmp_path / "in").mkdir()
    bodies = [picture(i, kind) for i, kind in enumerate(("JPEG", "PNG", "WEBP", "PNG"))]
    rows = [{"image": {"bytes": body, "path": None}, "text": f"c{i}"} for i, body in enumerate(bodies)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in" / "x.parquet")
    view = read(Store(str(tmp_path / "store")), ReadOptions(input=str(tmp_path / "in")), HERE)
    out = write(view, WriteOptions(to=str(tmp_path / "out")), HERE)["to"]
    found = list(datasets.load_dataset(out, split="train", cache_dir=str(tmp_path / "cache")))
    assert [sorted(k for k in ("jpg", "png", "webp") if s[k] is not None) for s in found] == [
        ["jpg"],
        ["png"],
        ["webp"],
        ["png"],
    ]


def test_a_card_of_the_users_stays(shards, tmp_path):
    (tmp_path / "out2").mkdir()
    (tmp_path / "out2" / "README.md").write_text("mine")
    write(View.of(Store(str(tmp_path / "store")), "keep_f"), WriteOptions(to=str(tmp_path / "out2")), HERE)
    assert (tmp_path / "out2" / "README.md").read_text() == "mine"


def test_images_are_the_stored_bytes(shards):
    import webdataset

    for sample in webdataset.WebDataset([str(f) for f in sorted(shards.glob("*.tar"))], shardshuffle=False):
        number = int(json.loads(sample["json"])["url"].rpartition("/")[2].removesuffix(".jpg"))
        assert sample["jpg"] == picture(number)
        assert Image.open(io.BytesIO(sample["jpg"])).size == (16, 12)
