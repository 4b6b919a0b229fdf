"""`curate retry`: the rows of some statuses, and no others, are fetched again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from conftest import picture
from web_server import Server, serving

import curate
from curate.cluster.suspects import DEADLY
from curate.download.statuses import STATUS as FETCHED
from curate.download.unfetched import SKIPPED
from curate.errors import CurateError
from curate.pictures.resize_options import STATUS as STORED
from curate.refuse.opt_out import OPTED_OUT
from curate.store.removal import REMOVED
from curate.store.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("web_server.PICTURE", picture(1))
    with serving() as running:
        yield running


JOB = """\
set: {{root: {root}}}
steps:
  - read: {{input: {input}, rows_per_shard: 2}}
  - filter: {{name: words, keep: [{{if: "text != 'out'", else: out}}]}}
  - download: {{allow_private_addresses: [127.0.0.0/8], image_size: 16}}
"""


def downloaded(folder: Path, paths: dict[str, str]) -> str:
    pl.DataFrame({"url": list(paths), "text": list(paths.values())}).write_csv(folder / "rows.csv")
    (folder / "job.yaml").write_text(JOB.format(root=folder / "store", input=folder / "rows.csv"))
    curate.run(folder / "job.yaml", workers=0)
    return str(folder / "store")


def test_rows_of_some_statuses_are_fetched_again(tmp_path: Path, server: Server) -> None:
    names = {"ok/1": "a", "busy/0": "b", "code/404": "c", "code/503": "d", "ok/2": "out"}
    store = downloaded(tmp_path, {f"{server.url}/{path}": text for path, text in names.items()})
    assert server.asked == {"ok/1": 1, "busy/0": 1, "code/404": 1, "code/503": 1}
    assert curate.retry(store, ["http_429", "http_5xx"], workers=0).statuses == {"http_503": 1, "success": 1}
    assert server.asked == {"ok/1": 1, "busy/0": 2, "code/404": 1, "code/503": 2}
    folder = Store(store).manifest().current["images"]
    parts = [Store(store).read_part(folder, shard)["status"].to_pylist() for shard in range(3)]
    assert parts == [["success", "success"], ["http_404", "http_503"], ["skipped"]]
    assert curate.run(tmp_path / "job.yaml", workers=0).kept == 2, "the run goes on with the row that has an image now"


def test_patience_may_be_another(tmp_path: Path, server: Server) -> None:
    store = downloaded(tmp_path, {f"{server.url}/code/500": "a", f"{server.url}/ok": "b"})
    curate.retry(store, ["http_500"], workers=0, retries=2, backoff_seconds=0.01)
    assert server.asked == {"code/500": 4, "ok": 1}


@pytest.mark.parametrize(
    ("words", "options", "fault"),
    [
        ([], {}, "name at least one status"),
        (["http_600"], {}, "no status 'http_600'"),
        (["timeouts"], {}, "did you mean 'timeout'"),
        (["timeout"], {"image_size": 512}, "image_size"),
        (["timeout"], {"retries": -1}, "retries"),
    ],
)
def test_what_there_is_not(
    tmp_path: Path, server: Server, words: list[str], options: dict[str, int], fault: str
) -> None:
    store = downloaded(tmp_path, {f"{server.url}/ok": "a"})
    with pytest.raises(CurateError, match=fault):
        curate.retry(store, words, workers=0, **options)


def test_a_store_without_a_download(tmp_path: Path) -> None:
    pl.DataFrame({"url": ["http://a/"], "text": ["a"]}).write_csv(tmp_path / "rows.csv")
    (tmp_path / "job.yaml").write_text(
        f"set: {{root: {tmp_path}/store}}\nsteps:\n  - read: {{input: {tmp_path}/rows.csv}}\n"
    )
    curate.run(tmp_path / "job.yaml", workers=0)
    with pytest.raises(CurateError, match="nothing was downloaded here"):
        curate.retry(f"{tmp_path}/store", ["timeout"], workers=0)


def test_a_download_that_has_not_ended_goes_on_by_its_pipeline(tmp_path: Path, server: Server) -> None:
    store = Store(downloaded(tmp_path, {f"{server.url}/ok/{n}": "a" for n in range(4)}))
    store.remove(store.part(store.manifest().current["images"], 1))
    with pytest.raises(CurateError, match="the download of 1 shard has not ended"):
        curate.retry(store.url, ["timeout"], workers=0)
    assert server.asked.total() == 4


def test_every_status_is_explained() -> None:
    page = (Path(curate.__file__).parent.parent / "docs" / "statuses.md").read_text()
    explained = set(re.findall(r"^\| `([^`]+)`", page, re.MULTILINE))
    assert explained == {*FETCHED, *STORED, DEADLY, SKIPPED, OPTED_OUT, REMOVED, "malformed", "no_image"}
