"""A download behind an input that brought images: what is lacking is fetched, what came stays as it is."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HERE, column, picture
from test_images_that_came import bodies, img2dataset

from curate.cluster import many_shards
from curate.cluster.cluster import Cluster
from curate.demo.server import serve
from curate.download.came_along import FETCHED, KEPT, looked_at
from curate.download.options import DownloadOptions
from curate.download.step import download, to_fetch
from curate.read.step import ReadOptions, read
from curate.store.store import Store
from curate.store.verify import verify
from curate.store.view import View
from curate.write.step import WriteOptions, write

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "site" / "files").mkdir(parents=True)
    (tmp_path / "site" / "files" / "a.jpg").write_bytes(picture(1))
    with serve(tmp_path / "site") as base_url:
        yield base_url


def options(**more: Any) -> DownloadOptions:
    return DownloadOptions.model_validate(
        {"allow_private_addresses": ["127.0.0.0/8"], "timeout_seconds": 5, "image_size": 8, **more}
    )


def took(tmp_path: Path) -> View:
    return read(Store(str(tmp_path / "store")), ReadOptions(input=str(tmp_path / "in"), rows_per_shard=2), HERE)


def source(tmp_path: Path, urls: list[str | None], held: list[bytes | None]) -> None:
    (tmp_path / "in").mkdir()
    table = pa.table({"image": held, "url": urls, "text": [f"c{i}" for i in range(len(urls))]})
    pq.write_table(table, tmp_path / "in" / "x.parquet")


def test_what_is_lacking_is_fetched(tmp_path, site):
    good, gone = f"{site}/ok/a.jpg", f"{site}/status/404/a.jpg"
    urls = [good, good, None, gone, good, good]
    held = [picture(0), None, None, None, b"damaged", picture(5)]
    source(tmp_path, urls, held)
    view = download(took(tmp_path), options(), HERE)
    statuses = column(view, "status")
    assert [statuses[i] for i in (0, 1, 2, 4, 5)] == ["success", "success", "no_image", "success", "success"]
    assert statuses[3] not in ("success", "no_image")
    stored = bodies(view)
    assert (stored[0], stored[5]) == (picture(0), picture(5)), "as they came, whatever image_size says"
    assert column(view, "width") == [16, 8, None, None, 8, 16]
    remarks = view.store.manifest().tables[view.images].remarks
    assert (remarks[KEPT]["rows"], remarks[FETCHED]["rows"]) == (2, 3)

    # Again, with nothing to do; then what failed, when asked for.
    before = {f: f.read_bytes() for f in Path(view.store.url).rglob("*.tar")}
    again = download(took(tmp_path), options(), HERE)
    assert again.images == view.images
    assert {f: f.read_bytes() for f in Path(view.store.url).rglob("*.tar")} == before
    view = download(took(tmp_path), options(retry=[statuses[3]]), HERE)
    assert bodies(view) == stored
    assert "all as written" in verify(view.store.url)

    done = write(view, WriteOptions(to=str(tmp_path / "out")), HERE)
    assert done["samples"] == 4


def test_nothing_is_lacking(tmp_path):
    source(tmp_path, [None, "http://127.0.0.1:9/x.jpg"], [picture(0), picture(1)])
    view = took(tmp_path)
    after = download(view, options(), HERE)
    assert after.images == view.images
    assert view.store.manifest().tables[view.images].remarks[KEPT]["rows"] == 2


class Travelling(Cluster):
    """Does each item with a task that has travelled, the last item first."""

    labels: list[str]

    def each(self, label, task, todo, sizes, **use) -> Iterator[tuple[int, Any]]:
        self.labels.append(label)
        for item in reversed(todo):
            yield item, pickle.loads(pickle.dumps(task))(item)


def test_workers_look_what_is_lacking_when_shards_are_many(tmp_path, monkeypatch):
    urls = ["http://127.0.0.1:9/x.jpg" if i % 3 else None for i in range(14)]
    source(tmp_path, urls, [picture(i) if i < 5 or i > 9 else None for i in range(14)])
    view = took(tmp_path)
    came = view.store.manifest().images_of_input
    expected = looked_at(view, came, HERE), to_fetch(view, came, options(retry=["no_image"]), HERE)
    assert expected[0].counts == {KEPT: 9, FETCHED: 3}
    assert expected[1] == [2, 3, 4]
    cluster = Travelling()
    cluster.labels = []
    monkeypatch.setattr(many_shards, "FEW_SHARDS", 3)
    monkeypatch.setattr(many_shards, "RUN_ROWS", 4)
    assert looked_at(view, came, cluster) == expected[0]
    assert to_fetch(view, came, options(retry=["no_image"]), cluster) == expected[1]
    assert cluster.labels == ["download: images that came", "download: what is lacking"]
    view.store.remove(view.store.part(came, 6))
    assert to_fetch(view, came, options(), HERE) == [6], "a part that is not there"


def test_failed_rows_of_img2dataset_are_tried_again(tmp_path, site):
    img2dataset(tmp_path / "in", "files")
    for shard in range(2):
        file = tmp_path / "in" / f"{shard:05d}.parquet"
        table = pq.read_table(file)
        urls = pa.array([f"{site}/ok/a.jpg"] * 3)
        pq.write_table(table.set_column(0, "url", urls), file)
    view = took(tmp_path)
    assert column(view, "status").count("failed_to_download") == 2
    view = download(view, options(), HERE)
    assert column(view, "status") == ["success"] * 6
    assert bodies(view)[0] == picture(0)
