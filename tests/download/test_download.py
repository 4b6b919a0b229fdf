"""Downloading shards of a store: exact names, workers as asked, hostile urls and columns as rows like any other."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE, MakeStore, column, picture
from name_server import NameServer, name_serving
from picture_files import encoded, exif, p3_profile, scene, see_through
from PIL import Image

from curate.annotate.step import annotate
from curate.balance.one_text import OneText
from curate.cluster.cluster import Cluster
from curate.dedupe.exact import Exact
from curate.dedupe.shared import Shared
from curate.demo.server import serve
from curate.download import step as downloading
from curate.download.one_shard import DownloadShard, is_tar_of
from curate.download.options import DownloadOptions
from curate.download.step import download, folder_of
from curate.filter.step import select
from curate.op import Rows
from curate.pictures import image_kind
from curate.pipeline.steps import NO_IMAGE
from curate.read.step import ReadOptions, read
from curate.store.image_columns import IMAGE_FIELDS
from curate.store.store import Store
from curate.write.step import WriteOptions, write

pytestmark = pytest.mark.slow

LOOPBACK = "127.0.0.0/8"


@pytest.fixture
def names() -> Iterator[NameServer]:
    with name_serving() as running:
        yield running


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.jpg").write_bytes(picture(1))
    with serve(tmp_path) as base_url:
        yield base_url


def options(**more: Any) -> DownloadOptions:
    about = {"allow_private_addresses": [LOOPBACK], "timeout_seconds": 5, "image_size": 16, **more}
    return DownloadOptions.model_validate(about)


def test_a_retry_leaves_the_tars_of_other_shards(make_store: MakeStore, site: str) -> None:
    view = make_store([{"url": f"{site}/ok/a.jpg"}])
    asked = options(retry=["http_404"])
    store, images = view.store, folder_of(asked)
    folder = Path(store.path(images))
    for shard in (10000, 100000):
        store.write_part("records", shard, store.read_part("records", 0))
    work = DownloadShard(view, asked, folder_of(asked), 1, asked.retry)
    work.setup()
    work(10000)
    work(100000)
    others = ["100000-1.tar", "100001.tar", "10000-notes.tar", "10000.tar.gz", "1000.tar", "210000.tar"]
    for name in others:
        (folder / name).write_bytes(b"")
    part = store.read_part(images, 10000)
    at = part.column_names.index("status")
    store.write_part(images, 10000, part.set_column(at, "status", pa.array(["http_404"])))
    work(10000)
    tars = {path.name for path in folder.iterdir() if ".tar" in path.name}
    assert tars == {"10000-1.tar", "100000.tar", *others}
    assert store.read_part(images, 10000)["status"].to_pylist() == ["success"]


def test_names_of_a_shard() -> None:
    assert is_tar_of(7, "00007.tar") and is_tar_of(7, "00007-12.tar")
    assert not any(is_tar_of(7, name) for name in ("00007-.tar", "00007-1", "000071.tar", "00007.tar\n", "00007xtar"))


def test_no_workers_means_this_process(make_store: MakeStore, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Cluster) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(Cluster, "start", refuse)
    after = download(make_store([{"url": f"{site}/ok/a.jpg"}]), options(processes=2), Cluster(workers=0))
    assert after.frame(0, ["status"])["status"].to_list() == ["success"]


def test_processes_keep_what_else_the_cluster_was_told(
    make_store: MakeStore, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Cluster, int | None]] = []
    view, run = make_store([{"url": f"{site}/ok/a.jpg"}]), Cluster("auto", 7, memory=123)
    for name in ("shared", "watched"):
        monkeypatch.setattr(downloading, name, lambda *rest, **options: contextlib.nullcontext())
    monkeypatch.setattr(Cluster, "each", lambda self, *rest, workers=None: seen.append((self, workers)) or iter([]))
    download(view, options(processes=2), run)
    ((cluster, workers),) = seen
    assert cluster is run and workers == 2, "the run's own cluster, with as many workers as there are to be processes"


PARTS = [
    "http://",
    "https:\\\\",
    "//",
    *"[]@:/?#%|",
    "%00",
    "%zz",
    "::1",
    "127.0.0.1",
    "xn--a",
    "99999",
    "0x7f.1",
    "a.b",
]
PARTS += ["0x7f.1", "\t", "\n", "\0", "\u202e", "\ufeff", "\u3002", "\ufffe", "\U0001f600", "e\u0301"]
HOSTILE = ["http://[]@", "http://[", "http://a:b:c/", "http://ex%41mple.com", "http://[]:80", "http://@", "http://%"]


def test_every_hostile_url_is_a_row_from_reading_to_writing(
    make_store: MakeStore, site: str, tmp_path: Path, names: NameServer
) -> None:
    """No text in the url column stops a step: in planning, as a key of duplicates, in the shards."""

    draw = random.Random(7)
    odd = ["".join(draw.choices(PARTS, k=draw.randint(1, 7))) for _ in range(300)]
    urls = [*HOSTILE, "", *odd, *(f"http://{text}" for text in odd)]
    good = [f"{site}/ok/a.jpg?{text}" for text in odd[:50]]
    view = make_store([{"url": url} for url in [*urls, *good, None]], rows_per_shard=400)
    view = annotate(view, [Exact(by="url"), Shared(by="url", distinct="text")], HERE)
    assert len(OneText(by="url").keys(Rows({"url": pa.array([*urls, None])}))) == len(urls) + 1
    view = download(view, options(nameservers=[names.place]), HERE)
    status = Counter(column(view, "status"))
    assert set(status) == {"bad_url", "dns", "address_refused", "connect", "success"}
    assert status.total() == len(urls) + 51 and status["success"] >= 50
    view, _ = select(view, NO_IMAGE)
    write(view, WriteOptions(to=str(tmp_path / "out")), HERE)
    assert set(pl.read_parquet(tmp_path / "out" / "*.parquet")["url"]) >= set(good)


NAMES = ["image:x", "image:", "image:status_of", "Image:status", "image", "status", "\0image:x"]


def test_columns_that_look_like_ours_are_columns(tmp_path: Path) -> None:
    lines = [{"url": f"http://a/{i}", "text": f"t {i}", **dict.fromkeys(NAMES, i), "image:tar": 7} for i in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pl.DataFrame(lines).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(lines).write_csv(tmp_path / "a.csv")
    for name in ("a.jsonl", "a.parquet", "a.csv"):
        store = Store(str(tmp_path / f"store-{name}"))
        read(store, ReadOptions(input=str(tmp_path / name)), HERE)
        columns = store.read_part("records", 0).to_pydict()
        assert [[str(v) for v in columns[n]] for n in NAMES] == [["0", "1", "2"]] * len(NAMES), name
        assert not store.manifest().inputs[0].images, name
        ours = columns.get("image:tar_10") or [json.loads(text)["image:tar"] for text in columns["malformed"]]
        assert list(map(int, ours)) == [7, 7, 7], f"{name}: the one name that is ours is kept, under another one"


def test_a_tar_with_such_columns(make_store: MakeStore) -> None:
    rows = [{"image:status": "mine", "image:x": i} for i in range(2)]
    view = make_store(rows, images=[picture(1), None])
    images = view.store.read_part(view.images or "", 0)
    assert images.column_names == [*IMAGE_FIELDS, "members"]
    assert images["status"].to_pylist() == ["success", "no_image"]
    records = view.store.read_part("records", 0)
    assert records["image:x"].to_pylist() == [0, 1]
    assert [json.loads(text) for text in records["malformed"].to_pylist()] == [{"image:status": "mine"}] * 2


class DeadlyShard(DownloadShard):
    """Dies on some images, as a decoder may."""

    def setup(self) -> None:
        super().setup()
        resize = self.resize

        def deadly(body: bytes, **how: Any) -> Any:
            if body.endswith(b"poison"):
                os.kill(os.getpid(), signal.SIGKILL)
            return resize(body, **how)

        self.resize = deadly  # type: ignore[assignment]


def test_an_image_that_kills_its_worker_costs_no_other(
    make_store: MakeStore, site: str, tmp_path: Path, ray_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files" / "bad.jpg").write_bytes(picture(2) + b"poison")
    urls = [f"{site}/ok/{'bad' if number in (3, 11) else 'a'}.jpg?{number}" for number in range(16)]
    monkeypatch.setattr(downloading, "DownloadShard", DeadlyShard)
    after = download(make_store([{"url": url} for url in urls], 8), options(), ray_cluster)
    status = [word for shard in (0, 1) for word in after.frame(shard, ["status"])["status"]]
    assert status == ["killed_its_worker" if number in (3, 11) else "success" for number in range(16)]
    assert not [name for name in after.store.names(after.images or "") if name.startswith(".")]


class DeadlyHere(DownloadShard):
    """Dies while it decodes some images itself."""

    def setup(self) -> None:
        super().setup()
        here = self.resize.here

        def deadly(body: bytes) -> Any:
            if body.endswith(b"poison"):
                os.kill(os.getpid(), signal.SIGKILL)
            return here(body)

        self.resize.here = deadly  # type: ignore[method-assign]


def test_after_a_death_images_are_decoded_by_a_process_that_may_die(
    make_store: MakeStore, site: str, tmp_path: Path, ray_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files" / "bad.jpg").write_bytes(picture(2) + b"poison")
    urls = [f"{site}/ok/{'bad' if number == 3 else 'a'}.jpg?{number}" for number in range(8)]
    monkeypatch.setattr(downloading, "DownloadShard", DeadlyHere)
    after = download(make_store([{"url": url} for url in urls], 8), options(), ray_cluster)
    assert after.frame(0, ["status"])["status"].to_list() == ["success"] * 8, "the next attempt harms no worker"


class Died(BaseException):
    """Stands for the end of the process."""


def test_who_is_asked_again_after_a_death(make_store: MakeStore, site: str, tmp_path: Path) -> None:
    """The suspect alone, first; nobody else until it is known to be deadly; a lost node is not its fault."""
    (tmp_path / "files" / "bad.jpg").write_bytes(picture(2) + b"poison")
    urls = [f"{site}/ok/{'bad' if number == 3 else 'a'}.jpg?{number}" for number in range(8)]
    view = make_store([{"url": url} for url in urls])
    seen: list[bool] = []

    def attempt(session: str = "run") -> DownloadShard:
        work = DownloadShard(view, options(), folder_of(options()), 10, session=session)
        work.setup()
        resize = work.resize

        def deadly(body: bytes, **how: Any) -> Any:
            seen.append(body.endswith(b"poison"))
            if seen[-1]:
                raise Died
            return resize(body, **how)

        work.resize = deadly  # type: ignore[assignment]
        return work

    with pytest.raises(Died):
        attempt().careful(0)
    attempt().acquit(0)
    with pytest.raises(Died):
        attempt().careful(0)
    seen.clear()
    with pytest.raises(Died):
        attempt().careful(0)
    assert seen == [True], "by itself, first"
    seen.clear()
    attempt().careful(0)
    assert seen == [False] * 7
    status = view.store.read_part(folder_of(options()), 0)["status"].to_pylist()
    assert status == ["success"] * 3 + ["killed_its_worker"] + ["success"] * 4


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "ICO", "AVIF", "JPEG2000", "PPM"])
def test_files_kept_as_they_came_are_read_again(make_store: MakeStore, site: str, tmp_path: Path, kind: str) -> None:
    more = {"save_all": True, "append_images": [Image.new("RGB", (16, 12))]} if kind == "MPO" else {}
    file = tmp_path / "files" / "some.bin"
    Image.new("RGB", (16, 12), "red").save(file, kind, **more)
    asked = options(disable_all_reencoding=True)
    after = download(make_store([{"url": f"{site}/ok/some.bin"}]), asked, HERE)
    assert after.frame(0, ["status", "width"]).rows() == [("success", 16)]
    extension = after.frame(0, ["extension"])["extension"][0]
    assert extension in image_kind.EXTENSIONS
    write(after, WriteOptions(to=str(tmp_path / "shards")), HERE)
    again = read(Store(str(tmp_path / "again")), ReadOptions(input=str(tmp_path / "shards" / "*.tar")), HERE)
    assert again.frame(0, ["status", "format"]).rows() == [("success", kind.lower())]


def test_what_was_done_to_images_is_said(make_store: MakeStore, site: str, tmp_path: Path, capsys: Any) -> None:
    files = {
        "turned.bin": encoded(scene(), "JPEG", exif=exif(6)),
        "wide.bin": encoded(scene(), "PNG", icc_profile=p3_profile()),
        "clear.bin": encoded(see_through(), "PNG"),
        "film.bin": encoded(scene(), "GIF", save_all=True, append_images=[scene().rotate(90)]),
    }
    for name, data in files.items():
        (tmp_path / "files" / name).write_bytes(data)
    rows = [{"url": f"{site}/ok/{name}"} for name in (*files, "a.jpg")] + [{"url": f"{site}/ok/turned.bin?2"}]
    view = make_store([*rows, {"url": f"{site}/ok/late.bin"}], 4)
    asked = options(retry=["http_404"])
    folder = folder_of(asked)
    wanted = {
        "animated, of which the first frame is stored": 1,
        "of another ICC profile, converted to sRGB": 1,
        "turned upright, as their EXIF says": 2,
        "with transparency, laid on white": 1,
    }
    download(view, asked, HERE)
    assert view.store.remarks(folder).counts == wanted
    assert view.store.manifest().tables[folder].remarks["turned upright, as their EXIF says"] == {
        "rows": 2,
        "example": "shard 0, row 0",
        "place": [0, 0],
    }
    assert "2 turned upright, as their EXIF says (shard 0, row 0)" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "files" / "late.bin").write_bytes(files["turned.bin"])
    download(view, asked, HERE)
    assert view.store.remarks(folder).counts == wanted | {"turned upright, as their EXIF says": 3}
    plain = options(disable_all_reencoding=True)
    download(view, plain, HERE)
    assert not view.store.remarks(folder_of(plain)), "nothing was done"
