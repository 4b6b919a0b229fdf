"""`curate show STORE --by host` and `--by status`: how a download went."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from conftest import picture
from typer.testing import CliRunner
from web_server import Server, serving

import curate
from curate.cli import app
from curate.errors import CurateError
from curate.look.fetched import fetched


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("web_server.PICTURE", picture(1))
    with serving() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path, server: Server) -> str:
    """Two hosts; of the first three images and two failures, of the second two failures; and a row that is no url."""
    one, two = f"http://127.0.0.1:{server.port}", f"HTTP://user@127.0.0.2:{server.port}"
    urls = [f"{one}/ok/{n}" for n in range(3)] + [f"{one}/code/404?1", f"{one}/code/410"]
    urls += [f"{two}/code/404", f"{two}/busy/99", "no url"]
    pl.DataFrame({"url": urls, "text": urls}).write_parquet(tmp_path / "urls.parquet")
    options = {"allow_private_addresses": ["127.0.0.0/8"], "image_size": 16, "number_sample_per_shard": 3}
    return curate.get(str(tmp_path / "urls.parquet"), str(tmp_path / "images"), **options).store


@pytest.mark.slow
def test_by_host(store: str) -> None:
    lines = fetched(store, "host").drop("seconds", "bytes").rows(named=True)
    assert lines == [
        {"host": "127.0.0.1", "rows": 5, "images": 3, "attempts": 5, "failures": "1 http_404"},
        {"host": "127.0.0.2", "rows": 2, "images": 0, "attempts": 2, "failures": "1 http_404"},
        {"host": None, "rows": 1, "images": 0, "attempts": 0, "failures": "1 bad_url"},
    ]
    seconds, size = fetched(store, "host").select("seconds", "bytes").row(0)
    assert 0 < seconds < 60 and size == 3 * len(picture(1))


@pytest.mark.slow
def test_by_status(store: str) -> None:
    lines = fetched(store, "status").drop("seconds", "bytes")
    assert lines.drop("failures").rows() == [
        ("success", 3, 3, 3),
        ("http_404", 2, 0, 2),
        ("bad_url", 1, 0, 0),
        ("http_410", 1, 0, 1),
        ("http_429", 1, 0, 1),
    ]
    assert lines["failures"].to_list()[:2] == [None, "Not Found"]


@pytest.mark.slow
def test_a_store_of_an_earlier_version_has_no_attempts(store: str) -> None:
    from curate.store.store import Store

    opened = Store(store)
    manifest = opened.manifest()
    del manifest.current["fetches"]
    opened.save(manifest)
    assert fetched(store, "host").select("host", "rows", "attempts", "seconds").row(0) == ("127.0.0.1", 5, None, None)


@pytest.mark.slow
def test_what_is_printed(store: str) -> None:
    result = CliRunner().invoke(app, ["show", store, "--by", "host"])
    assert result.exit_code == 0, result.exception
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1][:4] == ["127.0.0.1", "5", "3", "(60%)"] and lines[1][-2:] == ["1", "http_404"]
    assert result.stdout.splitlines()[-1] == "3 hosts of 8 rows"
    result = CliRunner().invoke(app, ["show", store, "--by", "status"])
    assert result.stdout.splitlines()[-1] == "5 statuses of 8 rows"


@pytest.mark.slow
def test_what_cannot_be_shown(store: str, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=r"no way to show a download 'hosts' .did you mean 'host'"):
        fetched(store, "hosts")
    pl.DataFrame({"url": ["http://a/"], "text": ["a"]}).write_parquet(tmp_path / "one.parquet")
    (tmp_path / "job.yaml").write_text("set: {root: r}\nsteps:\n- read: {input: one.parquet}\n")
    from curate.cluster.cluster import Cluster
    from curate.read.options import ReadOptions
    from curate.read.step import read
    from curate.store.store import Store

    read(Store(str(tmp_path / "r")), ReadOptions(input=str(tmp_path / "one.parquet")), Cluster(None, 0))
    with pytest.raises(CurateError, match="nothing was downloaded here"):
        fetched(str(tmp_path / "r"), "host")


DOWNLOAD = """
import sys
import curate
import curate.download.so_far as so_far
so_far.NOTE_SECONDS = 0.2
import curate.download.forecast
curate.download.forecast.LOOK_SECONDS = 0.1
curate.get(sys.argv[1], sys.argv[2], allow_private_addresses=["127.0.0.0/8"], image_size=16,
           number_sample_per_shard=4, timeout=600)
"""


def shown(store: str, by: str) -> str:
    result = CliRunner().invoke(app, ["show", store, "--by", by])
    return " ".join((result.stdout + str(result.exception or "")).split())


def wait_for(text: str, store: str, child: subprocess.Popen[bytes]) -> str:
    while text not in (now := shown(store, "status")):
        assert child.poll() is None, now
        time.sleep(0.2)
    return now


@pytest.mark.slow
def test_while_a_download_runs_and_when_it_was_killed(tmp_path: Path, server: Server) -> None:
    """Another process downloads; its second shard has two pictures that never come."""
    paths = ["ok/0", "code/404", "ok/1", "ok/2", "ok/3", "drip/1", "drip/2", "ok/4", "ok/5", "ok/6"]
    urls = [f"{server.url}/{path}" for path in paths]
    pl.DataFrame({"url": urls, "text": urls}).write_parquet(tmp_path / "urls.parquet")
    store = str(tmp_path / "images.store")
    command = [sys.executable, "-c", DOWNLOAD, str(tmp_path / "urls.parquet"), str(tmp_path / "images")]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # Two rows of the second shard have come, and the shard is not finished.
        text = wait_for("6 of 10 rows", store, child)
        assert "success 3 3 3" in text and "http_404 1 0 1" in text and "2 statuses of 4 rows" in text
        assert "1 of 3 shards finished: only their rows are in the table" in text
        assert "the download is under way" in text and " rows/s, 83.3 % with an image; " in text
        assert "those of unfinished shards too: 5 success, 1 http_404" in text
        assert fetched(store, "host").select("host", "rows", "images").rows() == [("127.0.0.1", 4, 3)]
        child.kill()
        child.wait()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("curate.download.so_far.SILENT_SECONDS", 0.0)
            assert "not finished, and silent: the same command goes on with it" in shown(store, "host")
    finally:
        child.kill()
        child.wait()


@pytest.mark.slow
def test_nothing_says_unfinished_at_the_end(store: str) -> None:
    assert "finished" not in shown(store, "status") and "under way" not in shown(store, "status")
    assert not list(Path(store).rglob(".download.json"))
