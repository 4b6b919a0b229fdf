"""`curate get`: a list of URLs to a folder of images, with img2dataset's options by their names."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import picture
from PIL import Image
from typer.testing import CliRunner
from web_server import Server, serving

import curate
from curate.cli import app
from curate.errors import CurateError
from curate.store.store import Store
from curate.url_list import FIXED, names, pipeline_of

#: img2dataset 1.47's `download`: every argument with its default.
THEIRS: dict[str, Any] = {
    "url_list": "urls.txt", "image_size": 256, "output_folder": "images", "processes_count": 1, "resize_mode": "border",
    "resize_only_if_bigger": False, "upscale_interpolation": "lanczos", "downscale_interpolation": "area",
    "encode_quality": 95, "encode_format": "jpg", "skip_reencode": False, "output_format": "files",
    "input_format": "txt", "url_col": "url", "caption_col": None, "bbox_col": None, "thread_count": 256,
    "number_sample_per_shard": 10000, "extract_exif": True, "save_additional_columns": None, "timeout": 10,
    "enable_wandb": False, "wandb_project": "img2dataset", "oom_shard_count": 5, "compute_hash": "sha256",
    "verify_hash": None, "distributor": "multiprocessing", "subjob_size": 1000, "retries": 0,
    "disable_all_reencoding": False, "min_image_size": 0, "max_image_area": float("inf"),
    "max_aspect_ratio": float("inf"), "incremental_mode": "incremental", "max_shard_retry": 1,
    "user_agent_token": None, "disallowed_header_directives": None,
}  # fmt: skip

#: A value of each option that is refused, which img2dataset takes.
REFUSED: dict[str, Any] = {
    "extract_exif": True, "enable_wandb": True, "wandb_project": "mine", "oom_shard_count": 6,
    "compute_hash": "md5", "verify_hash": ["md5", "md5"], "distributor": "pyspark", "subjob_size": 10,
    "incremental_mode": "extend", "max_shard_retry": 3, "output_format": "tfrecord",
}  # fmt: skip

#: The command's own arguments.
ARGUMENTS = {"url_list", "output_folder"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("web_server.PICTURE", picture(1))
    with serving() as running:
        yield running


LOCAL: dict[str, Any] = {"allow_private_addresses": ["127.0.0.0/8"], "image_size": 16}


# ---- every option of img2dataset ----


def test_the_signature_is_img2dataset_s() -> None:
    img2dataset = pytest.importorskip("img2dataset")
    from inspect import signature

    assert {n: p.default for n, p in signature(img2dataset.download).parameters.items()} == {
        **THEIRS, "url_list": signature(img2dataset.download).parameters["url_list"].empty
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(THEIRS.keys() - ARGUMENTS))
def test_every_option_is_accepted_or_explained(name: str) -> None:
    assert (name in names()) != (name in FIXED)
    if name not in REFUSED or name == "output_format":
        assert pipeline_of("urls.txt", "images", {name: THEIRS[name]}).steps
    if name in REFUSED:
        with pytest.raises(CurateError, match=rf"get: {name}: .* is refused: \w+"):
            pipeline_of("urls.txt", "images", {name: REFUSED[name]})
    if name in FIXED:
        assert name in REFUSED
        for usual in FIXED[name][0]:
            assert pipeline_of("urls.txt", "images", {name: usual}).steps


def test_options_become_those_of_the_steps() -> None:
    changed = {
        "timeout": 3, "thread_count": 8, "retries": 2, "image_size": 512, "resize_mode": "center_crop",
        "encode_format": "webp", "encode_quality": 80, "number_sample_per_shard": 50, "url_col": "link",
        "caption_col": "alt", "input_format": "tsv.gz", "output_format": "webdataset",
        "save_additional_columns": ["score"], "user_agent_token": "lab", "disallowed_header_directives": [],
        "max_aspect_ratio": 3, "per_host": 2, "bbox_col": "boxes",
    }  # fmt: skip
    read, download, write = (step.options for step in pipeline_of("a.tsv.gz", "out", changed).steps)  # type: ignore[attr-defined]
    assert (read.format, read.rows_per_shard, read.columns) == ("csv", 50, {"url": "link", "text": "alt"})
    assert (download.timeout_seconds, download.concurrency, download.retries, download.per_host) == (3, 8, 2, 2)
    assert (download.image_size, download.resize_mode, download.encode_format) == (512, "center_crop", "webp")
    assert (download.user_agent_token, download.disallowed_header_directives) == ("lab", ())
    assert download.max_aspect_ratio == 3
    assert (write.to, write.output_format, write.samples_per_shard) == ("out", "webdataset", 50)
    assert write.faces == "boxes"
    assert write.columns == ("score", "width", "height", "original_width", "original_height", "sha256")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"image_sise": 1}, "no option 'image_sise' .did you mean 'image_size'"),
        ({"resize_mode": "crop"}, "resize_mode"),
        ({"timeout_seconds": 3}, "'timeout_seconds' is called 'timeout' here"),
        ({"input_format": "xlsx"}, "no input_format 'xlsx'"),
        ({"output_format": "zip"}, "output_format"),
    ],
)
def test_what_there_is_not(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(CurateError, match=fault):
        pipeline_of("urls.txt", "images", options)


# ---- inputs and outputs ----


def written(folder: Path, form: str, rows: list[dict[str, str]]) -> str:
    path = folder / f"urls.{form}"
    frame = pl.DataFrame(rows)
    text = io.StringIO()
    if form == "parquet":
        frame.write_parquet(path)
    elif form == "json":
        path.write_text(json.dumps(rows))
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "txt":
        path.write_text("".join(row["url"] + "\n" for row in rows))
    else:
        table = csv.DictWriter(text, list(rows[0]), delimiter="\t" if "tsv" in form else ",")
        table.writeheader()
        table.writerows(rows)
        data = text.getvalue().encode()
        path.write_bytes(gzip.compress(data) if form.endswith(".gz") else data)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parquet", "csv", "tsv", "txt", "json", "jsonl", "csv.gz"])
def test_every_input_format(tmp_path: Path, server: Server, form: str) -> None:
    rows = [{"url": f"{server.url}/{'ok' if n else 'code/404'}?{n}", "caption": f"picture {n}"} for n in range(5)]
    to = str(tmp_path / "images")
    result = curate.get(written(tmp_path, form, rows), to, input_format=form, **LOCAL)
    assert (result.rows, result.images, result.without) == (5, 4, {"http_404": 1})
    names = sorted(path.name for path in (tmp_path / "images" / "00000").iterdir())
    endings = ["jpg", "json"] if form == "txt" else ["jpg", "json", "txt"]
    assert names == [f"{n:09d}.{ending}" for n in range(4) for ending in endings]
    about = json.loads((tmp_path / "images/00000/000000000.json").read_text())
    assert about["url"] == rows[1]["url"]
    if form != "txt":
        assert (tmp_path / "images/00000/000000003.txt").read_text() == "picture 4"
    assert Image.open(tmp_path / "images/00000/000000002.jpg").size == (16, 16)


@pytest.mark.slow
def test_outputs_hold_the_same_images(tmp_path: Path, server: Server) -> None:
    import tarfile

    rows = [
        {
            "url": f"{server.url}/ok?{n}",
            "caption": f"picture {n}",
            "score": n,
            "more": "x",
            "boxes": [[0.1, 0.1, 0.5, 0.5]],
        }
        for n in range(7)
    ]
    urls = written(tmp_path, "parquet", rows)  # type: ignore[arg-type]
    options = {**LOCAL, "number_sample_per_shard": 3, "save_additional_columns": ["score"]}
    options["bbox_col"] = "boxes"
    for form in ("files", "webdataset", "parquet"):
        curate.get(urls, str(tmp_path / form), output_format=form, **options)
        assert curate.verify(str(tmp_path / form)).endswith("all as written")
    files = {path.name: path.read_bytes() for path in (tmp_path / "files").glob("*/*")}
    tars: dict[str, bytes] = {}
    for path in (tmp_path / "webdataset").glob("*.tar"):
        with tarfile.open(path) as tar:
            tars |= {m.name: tar.extractfile(m).read() for m in tar.getmembers()}  # type: ignore[union-attr]
    assert len(files) == 21 and files == tars
    frame = pl.read_parquet(tmp_path / "parquet" / "*.parquet")
    assert dict(zip(frame["key"], frame["jpg"], strict=True)) == {
        name[:-4]: data for name, data in files.items() if name.endswith("jpg")
    }
    measures = ["width", "height", "original_width", "original_height", "sha256"]
    assert frame.columns == ["key", "uid", "url", "text", "score", *measures, "jpg"]
    assert frame["score"].to_list() == list(range(7))
    beside = pl.read_parquet(tmp_path / "files" / "*.parquet")
    assert beside.equals(frame.drop("jpg")) and beside.equals(pl.read_parquet(tmp_path / "webdataset" / "*.parquet"))


@pytest.mark.slow
def test_damage_of_files_is_found(tmp_path: Path, server: Server) -> None:
    urls = written(tmp_path, "txt", [{"url": f"{server.url}/ok?{n}"} for n in range(3)])
    curate.get(urls, str(tmp_path / "images"), **LOCAL)
    image = tmp_path / "images/00000/000000001.jpg"
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    (tmp_path / "images/00000/mine.jpg").write_bytes(b"x")
    with pytest.raises(CurateError, match=r"000000001.jpg: differs.*|mine.jpg: is not of these shards") as caught:
        curate.verify(str(tmp_path / "images"))
    assert "2 faults" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["files", "webdataset", "parquet"])
def test_a_second_call_asks_for_nothing_and_one_after_a_retry_has_more(
    tmp_path: Path, server: Server, form: str
) -> None:
    urls = written(tmp_path, "txt", [{"url": f"{server.url}/{path}"} for path in ("busy/0", "ok/1", "ok/2")])
    to = tmp_path / "images"
    first = curate.get(urls, str(to), output_format=form, **LOCAL)
    assert (first.images, first.without) == (2, {"http_429": 1})
    times = {path: path.stat().st_mtime_ns for path in to.rglob("*")}
    assert curate.get(urls, str(to), output_format=form, **LOCAL) == first
    assert server.asked == {"busy/0": 1, "ok/1": 1, "ok/2": 1}
    assert {path: path.stat().st_mtime_ns for path in to.rglob("*")} == times, "nothing was written again"
    curate.retry(first.store, ["http_429"], workers=0)
    (to / "mine.txt").write_text("mine")
    assert curate.get(urls, str(to), output_format=form, **LOCAL).images == 3
    assert server.asked == {"busy/0": 2, "ok/1": 1, "ok/2": 1}
    assert (to / "mine.txt").read_text() == "mine"
    (to / "mine.txt").unlink()
    assert curate.verify(str(to)).endswith("all as written")


@pytest.mark.slow
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, server: Server) -> None:
    urls = written(tmp_path, "txt", [{"url": f"{server.url}/ok/1"}])
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "00000.parquet").write_bytes(b"theirs")
    with pytest.raises(CurateError, match="holds files that are not of these shards"):
        curate.get(urls, str(tmp_path / "images"), **LOCAL)


# ---- the command line ----


@pytest.mark.slow
def test_the_command_as_img2dataset_is_called(tmp_path: Path, server: Server) -> None:
    rows = [{"url": f"{server.url}/{'ok' if n else 'code/503'}?{n}", "alt": f"picture {n}"} for n in range(4)]
    urls = written(tmp_path, "parquet", rows)
    to = str(tmp_path / "images")
    words = [
        *("get", f"--url_list={urls}", f"--output_folder={to}", "--input_format", "parquet", "--caption_col", "alt"),
        *("--output_format=webdataset", "--image_size", "16", "--number_sample_per_shard=2", "--thread-count", "8"),
        *("--resize_only_if_bigger", "--allow_private_addresses", "127.0.0.0/8"),
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.exception
    assert result.stdout.splitlines()[-3:] == [
        "3 images of 4 rows; without one: 1 http_503",
        f"{to}: webdataset, 2 shards",
        f"curate retry {to}.store --status http_503   then the same command again",
    ]
    assert Store(f"{to}.store").manifest().rows == 4


@pytest.mark.parametrize("words", [[], ["--image_size", "8"]])
def test_a_call_without_a_list(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["get", *words])
    assert "name a list of URLs: curate get urls.parquet --to images" in str(result.exception)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["a.txt", "--retries", "1", "b.txt"], "'url_list' stands twice: 'a.txt' and 'b.txt'"),
        (["a.txt", "--retries", "1", "--retries", "2"], "'retries' stands twice: 1 and 2"),
        (["a.txt", "--retries"], "--retries lacks its value"),
        (["a.txt", "--imge_size", "2"], "did you mean 'image_size'"),
    ],
)
def test_words_that_are_no_options(words: list[str], fault: str) -> None:
    assert fault in str(CliRunner().invoke(app, ["get", *words]).exception)


@pytest.mark.slow
def test_every_option_of_several_names_takes_one(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("http://127.0.0.1/1.jpg\n")
    (tmp_path / "hosts.txt").write_text("127.0.0.1\n")
    ended = CliRunner().invoke(
        app, ["get", str(tmp_path / "urls.txt"), "--to", str(tmp_path / "to"), "--opt_out", str(tmp_path / "hosts.txt")]
    )
    assert "1 row opted_out" in ended.output.replace("\n", " ")


@pytest.mark.slow
def test_a_folder_of_which_all_is_removed_is_whole(tmp_path: Path, server: Server) -> None:
    (tmp_path / "urls.txt").write_text(f"{server.url}/ok/1\n")
    curate.get(str(tmp_path / "urls.txt"), str(tmp_path / "to"), **LOCAL)
    assert curate.remove(str(tmp_path / "to"), urls=[f"{server.url}/ok/1"]).rows == 1
    assert "all as written" in curate.verify(str(tmp_path / "to"))
