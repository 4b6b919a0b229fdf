"""The fault web: what it plants comes out of a download as planted, its books are right, and its check can fail."""

from __future__ import annotations

import copy
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import free_port, importable, slowness

from curate import api
from curate.demo.faults.books import GRACE_SECONDS, Books
from curate.demo.faults.check import Checked, check
from curate.demo.faults.kills import Killer
from curate.demo.faults.kinds import KINDS
from curate.demo.faults.names import Names
from curate.demo.faults.same import differences
from curate.demo.faults.server import books_of, serving
from curate.demo.faults.sites import SORTS, sites_of
from curate.demo.faults.web import build
from curate.download.statuses import STATUS as FETCHED
from curate.pictures.resize_options import STATUS as STORED

pytestmark = pytest.mark.slow

ROWS, HOSTS = 190, 40


def downloaded(folder: Path, workers: int, rows_per_shard: int) -> tuple[Checked, dict[str, Any]]:
    """A small web, downloaded once: what came of it, and the server's books."""
    # On a machine that has no time for it, a short timeout would be a fault of its own.
    patient = min(10.0, 2 * slowness())
    web = build(
        folder,
        ROWS,
        HOSTS,
        port=free_port(),
        rows_per_shard=rows_per_shard,
        timeout_seconds=patient,
        max_bytes=2_500_000,
    )
    with serving(folder):
        api.run(str(folder / "web.yaml"), workers=workers)
        books = books_of(web.port)
    return check(folder, str(folder / "store"), books), books


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Checked, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("web")
    yield folder, *downloaded(folder, 0, ROWS)


def test_every_kind_ends_as_planted(alone: tuple[Path, Checked, dict[str, Any]]) -> None:
    _, checked, books = alone
    assert checked.faults == []
    assert set(checked.table["kind"]) == set(KINDS) and int(checked.table["rows"].sum()) == ROWS
    # Nothing would be tested of a server that was asked for nothing, or one host at a time.
    assert max(books["most_at_host"].values()) > 1 and sum(books["pauses"].values()) == 3
    assert sum(books["requests"].values()) > ROWS / 2


@pytest.mark.soak
def test_two_workers_are_as_polite_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", importable())
    checked, _ = downloaded(tmp_path, 2, ROWS // 2 + 1)
    assert checked.faults == []


def test_a_wrong_status_is_told(alone: tuple[Path, Checked, dict[str, Any]], tmp_path: Path) -> None:
    folder, _, books = alone
    for name in ("web.json", "truth.parquet"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    truth = pl.read_parquet(folder / "truth.parquet")
    status = pl.when(kind="404").then(pl.lit("success")).otherwise("status")
    sha256 = pl.when(kind="jpeg_grey").then(pl.lit("0" * 64)).otherwise("sha256")
    truth.with_columns(status=status, sha256=sha256).write_parquet(tmp_path / "truth.parquet")
    faults = check(tmp_path, str(folder / "store"), books).faults
    assert len(faults) == 2 and faults[0].startswith("404: http_404 in 1 rows, not success")
    assert faults[1].endswith("/jpeg_grey/0.jpg: another row's picture")


@pytest.mark.parametrize(
    ("table", "sort", "key", "value", "fault"),
    [
        ("requests", "robots_star", "{host}/robots_star/0.jpg", 1, "{host}/robots_star/0.jpg: asked for 1 times, at m"),
        ("requests", "robots_star", "{host}/landed/0.jpg", 1, "{host}/landed/0.jpg: asked for, which is forbidden"),
        ("most_at_host", "slow", "{host}", 5, "host {host}: 5 requests at once, 4 allowed"),
        ("most_at_address", "slow", "{host}", 5, "address {host}: 5 requests at once, 4 allowed"),
        ("in_pause", "pausing", "{host}", 1, "{host}: 1 requests during its pause"),
        ("robots", "plain", "{host}", 2, "{host}/robots.txt: asked for 2 times, at most 1"),
        ("stray", "plain", "127.0.0.1 as localhost/", 1, "127.0.0.1 as localhost/: asked for, which must not be"),
        ("most_in_a_second", "robots_delay", "{host}", 4, "{host}: 4 requests in a second, with a Crawl-delay of 0.5"),
    ],
)  # fmt: skip
def test_what_the_server_should_not_see_is_told(
    alone: tuple[Path, Checked, dict[str, Any]], table: str, sort: str, key: str, value: int, fault: str
) -> None:
    folder, _, books = alone
    host = next(site.host for site in sites_of(HOSTS, named=True) if site.sort == sort)
    changed = copy.deepcopy(books)
    changed[table][key.format(host=host)] = value
    faults = check(folder, str(folder / "store"), changed).faults
    assert any(line.startswith(fault.format(host=host)) for line in faults), faults


def test_a_count_of_attempts_that_is_not_the_servers_is_told(alone: tuple[Path, Checked, dict[str, Any]]) -> None:
    folder, _, books = alone
    changed = copy.deepcopy(books)
    place = next(place for place in changed["requests"] if "/404/" in place)
    changed["requests"][place] = 0
    assert check(folder, str(folder / "store"), changed).faults == [
        f"{place}: attempts is 1, and the server was asked 0 times"
    ]


def test_the_statuses_of_the_web_are_those_of_the_table() -> None:
    """All that a URL can bring about, by itself."""
    planted = {"http_<code>" if kind.status.startswith("http_") else kind.status for kind in KINDS.values()}
    # Whether a decoder runs out of time, or dies, hangs on the machine; files that are named by path are no web's.
    elsewhere = {"decode_timeout", "decoder_died", "no_file", "no_access"}
    assert planted == {*FETCHED, *STORED} - elsewhere


def test_the_same_arguments_build_the_same_web(tmp_path: Path) -> None:
    for name in ("one", "other"):
        build(tmp_path / name, ROWS, HOSTS, seed=3)
    for name in ("urls.parquet", "truth.parquet", "web.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    urls = pl.read_parquet(tmp_path / "one" / "urls.parquet")
    assert urls.columns == ["url", "text"] and len(urls) == ROWS


def test_too_small_a_web_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=rf"a fault web needs {len(KINDS)} rows at least, got 20"):
        build(tmp_path, 20, HOSTS)
    with pytest.raises(SystemExit, match=r"a fault web needs \d+ hosts at least, got 5"):
        build(tmp_path, ROWS, 5)


def test_named_hosts_share_addresses() -> None:
    sites = sites_of(100, named=True)
    assert len({site.host for site in sites}) == 100 and {site.sort for site in sites} == set(SORTS)
    shared = [site.address for site in sites if site.sort == "shared"]
    assert len(shared) == 4 and len(set(shared)) == 1
    others = [site.address for site in sites if site.sort != "shared"]
    assert len(set(others)) == len(others) and not set(others) & set(shared)


def test_books_count_what_is_at_once_and_in_pauses() -> None:
    clock = [100.0]
    books = Books(lambda: clock[0])
    ends = [books.begin("a", "127.64.0.1", f"/ok/{number}.jpg") for number in range(2)]
    ends[0](True)
    ends[1](False)
    ends[1](True)
    books.begin("b", "127.64.0.1", "/robots.txt")
    books.pause("a", 6)
    clock[0] = 100.2 + GRACE_SECONDS
    books.begin("a", "127.64.0.1", "/ok/9.jpg", since=99.9 + GRACE_SECONDS)(True)
    for clock[0] in (105.9, 106.1):
        books.begin("a", "127.64.0.1", "/ok/9.jpg")(True)
    clock[0] = 105.5
    books.begin("a", "127.64.0.1", "/ok/9.jpg", since=105.4)(True)
    tree = books.tree()
    assert (tree["most_at_host"], tree["most_at_address"]) == ({"a": 2, "b": 1}, {"127.64.0.1": 2})
    assert (tree["abandoned"], tree["robots"]) == ({"a/ok/1.jpg": 1}, {"b": 1})
    assert (tree["in_pause"], tree["most_in_a_second"]["a"]) == ({"a": 2}, 3)


def query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def test_names_have_addresses_or_fail_in_three_ways() -> None:
    names = Names({"slow-0.faults.test": "127.64.0.9"})
    answer = names.answer(query("Slow-0.Faults.test"))
    assert answer is not None and answer[-4:] == socket.inet_aton("127.64.0.9")
    assert struct.unpack(">HHHHHH", answer[:12]) == (7, 0x8180, 1, 1, 0, 0)
    codes = {}
    for name, kind in (("slow-0.faults.test", 28), ("missing-1.faults.test", 1), ("servfail-1.faults.test", 1)):
        reply = names.answer(query(name, kind))
        assert reply is not None
        codes[name] = struct.unpack(">HHHH", reply[:8])[1] & 15, struct.unpack(">HHHH", reply[:8])[3]
    assert list(codes.values()) == [(0, 0), (3, 0), (2, 0)], "no AAAA, NXDOMAIN, SERVFAIL"
    assert names.answer(query("unanswered-1.faults.test")) is None
    assert names.answer(b"no query") is None and names.asked["slow-0.faults.test"] == 2


@pytest.mark.soak
def test_a_run_is_killed_as_often_as_said_and_begun_again(tmp_path: Path) -> None:
    script = f"import time, pathlib; time.sleep(1); pathlib.Path(r'{tmp_path / 'end'}').touch()"
    killer = Killer("driver", kills=2, seed=1, whole=0.5, server=0)
    killer.run([sys.executable, "-c", script])
    assert (len(killer.done), killer.begun) == (2, 3) and (tmp_path / "end").exists()
    with pytest.raises(SystemExit, match="ended with 7 though nothing was killed"):
        Killer("driver", kills=0, seed=1, whole=0.5, server=0).run([sys.executable, "-c", "raise SystemExit(7)"])


def test_stores_that_differ_are_told_apart(tmp_path: Path) -> None:
    images = {"status": ["success", "timeout"], "error_message": ["", "no answer"]}
    for name, message, picture in (
        ("one", "no answer", b"a"),
        ("two", "not asked", b"a"),
        ("three", "no answer", b"b"),
    ):
        folder = tmp_path / name / "images-1"
        folder.mkdir(parents=True)
        pl.DataFrame({**images, "error_message": ["", message]}).write_parquet(folder / "0.parquet")
        (folder / "0.tar").write_bytes(picture)
        (tmp_path / name / "manifest.json").write_text(name)
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    assert differences(one, two) == ([], ["images-1/0.parquet"])
    assert differences(one, three) == (["images-1/0.tar"], [])
