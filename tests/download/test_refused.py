"""No request is sent for what opt-out lists name; what was removed does not come back, under whatever url."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from conftest import picture
from web_server import Server, serving

import curate
from curate.store.store import Store

pytestmark = pytest.mark.slow

PICTURE = picture(1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("web_server.PICTURE", PICTURE)
    with serving() as running:
        yield running


JOB = """\
set: {{root: {root}, lists: []}}
steps:
  - read: {{input: {input}, rows_per_shard: 3, append: true}}
  - download: {{allow_private_addresses: [127.0.0.0/8], image_size: 16, opt_out: "${{lists}}"}}
"""


def run(
    folder: Path, urls: list[str], lists: list[str] | None = None, name: str = "rows"
) -> curate.look.results.RunResult:
    pl.DataFrame({"url": urls, "text": [f"caption {url}" for url in urls]}).write_csv(folder / f"{name}.csv")
    job = JOB.format(root=folder / "store", input=folder / f"{name}.csv")
    (folder / "job.yaml").write_text(job)
    return curate.run(folder / "job.yaml", workers=0, set={"lists": lists or []})


def statuses(folder: Path) -> list[str]:
    return Store(str(folder / "store"))["images"].collect()["status"].to_list()


def test_no_request_for_urls_and_domains_on_a_list(tmp_path: Path, server: Server, capsys) -> None:
    other = server.url.replace("127.0.0.1", "localhost")
    urls = [f"{server.url}/ok/{n}" for n in range(5)] + [f"{other}/ok/9"]
    (tmp_path / "list.txt").write_text(f"{urls[1]}\nlocalhost\n")
    result = run(tmp_path, urls, [str(tmp_path / "list.txt")])
    assert statuses(tmp_path) == ["success", "opted_out", "success", "success", "success", "opted_out"]
    assert set(server.asked) == {"ok/0", "ok/2", "ok/3", "ok/4"}
    assert result.funnel[0]["dropped"] == {"opted_out": 2}
    assert "2 rows opted_out: refused" in capsys.readouterr().err.replace("\n", " ")
    assert "all as written" in curate.verify(str(tmp_path / "store"))


def test_another_list_is_another_result(tmp_path: Path, server: Server) -> None:
    urls = [f"{server.url}/ok/{n}" for n in range(4)]
    (tmp_path / "list.txt").write_text(urls[1])
    run(tmp_path, urls, [str(tmp_path / "list.txt")])
    before = dict(server.asked)
    (tmp_path / "list.txt").write_text(urls[2])
    assert run(tmp_path, urls, [str(tmp_path / "list.txt")]).kept == 3
    assert statuses(tmp_path) == ["success", "success", "opted_out", "success"]
    assert server.asked == {**before, "ok/1": 1}, "the others are not asked for again"
    tars = sorted(path.name for path in tmp_path.glob("store/images-*/*.tar"))
    images = Store(str(tmp_path / "store"))["images"].collect()
    assert images["sha256"].null_count() == 1 and len(tars) == 2
    assert run(tmp_path, urls, [str(tmp_path / "list.txt")]).kept == 3 and server.asked == {**before, "ok/1": 1}
    assert run(tmp_path, urls).kept == 4, "a list that is taken away opens the way"
    assert "all as written" in curate.verify(str(tmp_path / "store"))


@pytest.mark.parametrize("digest", [hashlib.md5, hashlib.sha256])
def test_files_on_a_list_are_thrown_away(tmp_path: Path, server: Server, digest) -> None:
    (tmp_path / "list.csv").write_text(f"{digest().name}\n{digest(PICTURE).hexdigest()}\n")
    urls = [f"{server.url}/ok/0", f"{server.url}/code/404"]
    with pytest.raises(curate.CurateError, match="dropped all 2 rows"):
        run(tmp_path, urls, [str(tmp_path / "list.csv")])
    assert statuses(tmp_path) == ["opted_out", "http_404"]
    assert not any(PICTURE[20:60] in path.read_bytes() for path in tmp_path.rglob("*.tar"))


def test_what_was_removed_does_not_come_back(tmp_path: Path, server: Server, capsys) -> None:
    other = server.url.replace("127.0.0.1", "localhost")
    run(tmp_path, [f"{server.url}/ok/0", f"{server.url}/code/404"])
    store = Store(str(tmp_path / "store"))
    sha256 = store["images"].collect()["sha256"][0]
    curate.remove(store.url, sha256=[sha256], hosts=["localhost"], urls=["http://elsewhere.test/1.jpg"])
    capsys.readouterr()
    # The same image under another url; a host; a url, with another caption; and the row itself.
    urls = [f"{server.url}/ok/7", f"{other}/ok/8", "http://elsewhere.test/1.jpg", f"{server.url}/ok/0"]
    asked = dict(server.asked)
    with pytest.raises(curate.CurateError, match="dropped all"):
        run(tmp_path, urls, name="more")
    said = capsys.readouterr().err.replace("\n", " ")
    assert "3 row(s) refused: they were removed from this store before" in said
    assert statuses(tmp_path) == ["removed", "http_404", "removed", "removed", "removed", "removed"]
    assert server.asked == {**asked, "ok/7": 1}
    records = store["records"].collect()
    assert records["uid"].is_null().to_list() == [True, False, False, True, True, True]
    assert store.manifest().out == {"removed": 4}
