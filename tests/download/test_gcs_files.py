"""Rows, inputs and stores at gs://, against a real GCS API on this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from types import SimpleNamespace

import polars as pl
import pytest
from conftest import picture
from web_server import get

import curate
from curate.store.store import Store

gcsfs = pytest.importorskip("gcsfs", reason="gcsfs is not installed")
gcs_server = pytest.importorskip("gcs_server", reason="gcp-storage-emulator is not installed")

pytestmark = pytest.mark.slow

PICTURES = [picture(number, size=(40, 30)) for number in range(3)]


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[gcsfs.GCSFileSystem]:
    """Buckets `images` and one that is forbidden; found by the environment, as users name a server of theirs."""
    with gcs_server.serving("images", gcs_server.FORBIDDEN) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        gcsfs.GCSFileSystem.clear_instance_cache()
        yield gcsfs.GCSFileSystem()
    gcsfs.GCSFileSystem.clear_instance_cache()


def put(gcs: gcsfs.GCSFileSystem, **files: bytes) -> None:
    for name, data in files.items():
        gcs.pipe_file(f"images/{name}.jpg", data)


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library tries six times, and waits half a minute over that."""
    quick = {**vars(asyncio), "sleep": lambda seconds: asyncio.sleep(0)}
    monkeypatch.setattr("gcsfs.retry.asyncio", SimpleNamespace(**quick))


def test_each_object_has_a_status(gcs: gcsfs.GCSFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    put(gcs, **{"a": PICTURES[0], "empty": b"", "large": bytes(20_001), "folder/b": PICTURES[1]})
    put(gcs, **{f"{gcs_server.CUT}1": bytes(10_000), f"{gcs_server.BUSY}1": PICTURES[2]})
    expected = {
        "gs://images/a.jpg": "success",
        "gcs://images/a.jpg": "success",
        "gs://images/folder/b.jpg": "success",
        "gs://images/none.jpg": "no_file",
        "gs://nothing/a.jpg": "no_file",
        "gs://images/folder": "no_file",
        "gs://images": "no_file",
        "gs://images/empty.jpg": "empty",
        "gs://images/large.jpg": "too_large",
        f"gs://{gcs_server.FORBIDDEN}/a.jpg": "no_access",
        f"gs://images/{gcs_server.CUT}1.jpg": "truncated",
        f"gs://images/{gcs_server.BUSY}1.jpg": "http_503",
        "s3://images/a.jpg": "bad_url",
    }
    answers = get(*expected, allow_filesystems=("gs", "gcs"), timeout_seconds=60, max_bytes=20_000)
    assert dict(zip(expected, [answer.status for answer in answers], strict=True)) == expected
    assert [answer.body for answer in answers[:3]] == [PICTURES[0], PICTURES[0], PICTURES[1]]
    assert answers[9].error and "does not have storage.objects.get access" in answers[9].error


def test_what_takes_too_long_holds_up_no_other(gcs: gcsfs.GCSFileSystem) -> None:
    """More of them than are read at once, and the library waits for longer between two attempts than a row may take."""
    put(gcs, a=PICTURES[0], **{f"{gcs_server.BUSY}{number}": PICTURES[1] for number in range(12)})
    urls = [f"gs://images/{gcs_server.BUSY}{number}.jpg" for number in range(12)] + ["gs://images/a.jpg"]
    answers = get(*urls, allow_filesystems=("gs",), timeout_seconds=2.5)
    assert [answer.status for answer in answers] == ["timeout"] * 12 + ["success"]


def test_input_store_and_images_at_gs(gcs: gcsfs.GCSFileSystem, tmp_path) -> None:
    put(gcs, **{str(number): data for number, data in enumerate(PICTURES)})
    urls = [*(f"gs://images/{number}.jpg" for number in range(3)), "gs://images/none.jpg"]
    frame = pl.DataFrame({"url": urls, "text": ["a red bus", "a cat", "a dog", "a house"]})
    frame.write_parquet(tmp_path / "list.parquet")
    gcs.put_file(str(tmp_path / "list.parquet"), "images/lists/list.parquet")
    steps = "- download: {allow_filesystems: [gs], image_size: 16}\n- annotate: [score.words]\n- write: {}\n"
    job = tmp_path / "job.yaml"
    job.write_text(f"steps:\n- read: {{input: gs://images/lists/*.parquet, rows_per_shard: 2}}\n{steps}")
    root = "gs://images/store"
    assert "nothing wrong found" in curate.check(job, set={"root": root}, workers=0)
    assert curate.run(job, set={"root": root}, workers=0).kept == 3
    assert Store(root)["images"].collect()["status"].to_list() == ["success"] * 3 + ["no_file"]
    assert curate.verify(root).endswith("files: all as written")
    before = {
        name: gcs.cat_file(name) for name in gcs.find("images/store") if not name.endswith(("lease.json", ".html"))
    }
    curate.run(job, set={"root": root}, workers=0)
    assert {name for name, data in before.items() if gcs.cat_file(name) != data} <= {"images/store/manifest.json"}
    assert os.environ["STORAGE_EMULATOR_HOST"]
