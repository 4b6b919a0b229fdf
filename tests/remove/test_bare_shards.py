"""Samples leave training shards without a store: of curate, and of img2dataset in its layouts."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import polars as pl
import pytest
import webdataset
from bytes_on_disk import contents, hashes, leaks
from removal_store import body, pairs, run

from curate import api
from curate.errors import CurateError

PER_SHARD = 5


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bare")
    return Path(run(folder, str(folder / "store"), rows=45).written.to)


def samples(shards: Path) -> dict[str, bytes]:
    urls = sorted(str(path) for path in shards.glob("*.tar"))
    return {one["__key__"]: one["png"] for one in webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)}


def test_shards_of_curate(written, tmp_path):
    shards = Path(shutil.copytree(written, tmp_path / "shards"))
    table = pl.read_parquet(shards / "00000.parquet")
    before = hashes(contents(str(shards)))
    (tmp_path / "uids.txt").write_text("\n".join(table["uid"][[2, 4]]))
    removed = api.remove(str(shards), uids=str(tmp_path / "uids.txt"))
    assert removed.rows == 2
    gone = table[[2, 4]]
    numbers = [int(url[-8:-4]) for url in gone["url"]]
    assert leaks(str(shards), [*gone["url"], *gone["text"], *gone["uid"], *map(body, numbers)]) == []
    after = hashes(contents(str(shards)))
    assert {n for n in before if before[n] != after.get(n)} == {
        *("00000.tar", "00000.parquet", "00000_stats.json"),
        *("sizes.json", "README.md", "manifest.json"),
    }
    assert after.keys() - before.keys() == {f"removed/00001.{ending}" for ending in ("parquet", "json", "txt")}
    assert "all as written" in api.verify(str(shards))
    assert len(samples(shards)) == json.loads((shards / "manifest.json").read_bytes())["samples"]
    assert api.remove(str(shards), uids=str(tmp_path / "uids.txt")).version == 0
    with pytest.raises(CurateError, match="name what is to be removed"):
        api.remove(str(shards))


def make(folder: Path, layout: str, rows: int = 10) -> pl.DataFrame:
    """Shards as img2dataset writes them; every fourth row has failed."""
    folder.mkdir()
    frame = pairs(rows)
    keys = [f"{n // PER_SHARD:05d}{n % PER_SHARD:04d}" for n in range(rows)]
    status = ["failed_to_download" if n % 4 == 3 else "success" for n in range(rows)]
    table = frame.select("url", caption="text").with_columns(
        key=pl.Series(keys), status=pl.Series(status), error_message=pl.Series([None] * rows, dtype=pl.String)
    )
    for shard in range(rows // PER_SHARD):
        part = table[shard * PER_SHARD : (shard + 1) * PER_SHARD]
        images = [body(shard * PER_SHARD + n) if s == "success" else None for n, s in enumerate(part["status"])]
        stats = {"count": 5, "successes": sum(i is not None for i in images), "failed_to_resize": 0}
        stats |= {"failed_to_download": 5 - stats["successes"], "duration": 1.5, "status_dict": {"success": 4}}
        (folder / f"{shard:05d}_stats.json").write_text(json.dumps(stats))
        (part.with_columns(jpg=pl.Series(images)) if layout == "parquet" else part).write_parquet(
            folder / f"{shard:05d}.parquet"
        )
        files = {
            f"{key}.{ending}": data
            for key, text, image in zip(part["key"], part["caption"], images, strict=True)
            if image
            for ending, data in (("png", image), ("txt", text.encode()), ("json", json.dumps({"t": text}).encode()))
        }
        if layout == "files":
            (folder / f"{shard:05d}").mkdir()
            for name, data in files.items():
                (folder / f"{shard:05d}" / name).write_bytes(data)
        if layout == "webdataset":
            with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
                for name, data in files.items():
                    about = tarfile.TarInfo(name)
                    about.size, about.mtime = len(data), 1_700_000_000
                    tar.addfile(about, io.BytesIO(data))
    return table


@pytest.mark.parametrize("layout", ["webdataset", "parquet", "files"])
def test_layouts_of_img2dataset(tmp_path, layout):
    shards = tmp_path / "shards"
    table = make(shards, layout)
    before = hashes(contents(str(shards)))
    removed = api.remove(str(shards), urls=[table["url"][2], table["url"][3]])
    assert removed.rows == 2
    assert leaks(str(shards), [*table["url"][[2, 3]], *table["caption"][[2, 3]], body(2)]) == []
    after = hashes(contents(str(shards)))
    assert {n: d for n, d in before.items() if n.startswith("00001")} == {
        n: d for n, d in after.items() if n.startswith("00001")
    }
    stats = json.loads((shards / "00000_stats.json").read_text())
    assert stats["count"] == 3 and stats["successes"] == 3 and stats["failed_to_download"] == 0
    assert stats["status_dict"] == {"success": 3} and stats["duration"] == 1.5
    rest = pl.read_parquet(shards / "00000.parquet")
    assert rest["key"].to_list() == ["000000000", "000000001", "000000004"]
    if layout == "webdataset":
        stay = [n for n in range(10) if n not in (2, 3, 7)]
        assert list(samples(shards).values()) == [body(n) for n in stay]
        assert list(samples(shards))[:3] == rest["key"].to_list()
    if layout == "files":
        assert sorted({path.stem for path in (shards / "00000").iterdir()}) == rest["key"].to_list()
    with pytest.raises(CurateError, match="its parquet has no column sha256"):
        api.remove(str(shards), sha256=["0" * 64])
    assert api.remove(str(shards), where="caption LIKE '%0009%'").rows == 1


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CurateError, match=r"has no manifest\.json and no shards"):
        api.remove(str(tmp_path / "empty"), uids=["0" * 32])
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.slow
def test_a_list_of_another_kind_is_refused(tmp_path):
    """Who gives the wrong list must not believe that something is gone."""
    (tmp_path / "urls.txt").write_text("http://a.test/1.jpg\n")
    for kind, words in {"uids": "no uid .32 hex digits.", "sha256": "no sha256 .64 hex digits."}.items():
        with pytest.raises(CurateError, match=rf"--{kind}: 'http://a.test/1.jpg' is {words}: nothing is removed"):
            api.remove(str(tmp_path), **{kind: str(tmp_path / "urls.txt")})
