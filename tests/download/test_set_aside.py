"""Hosts that do not answer are set aside: they cost few attempts, and no row of a living host its time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

import polars as pl
import pytest
from conftest import MakeStore, picture, slowness
from name_server import name_serving
from web_server import Server, build, get, serving

from curate.cluster.cluster import Cluster
from curate.download.desk import Desk
from curate.download.failing import IN_A_ROW, LONGEST_SECONDS, REST_SECONDS, TRIALS
from curate.download.options import DownloadOptions
from curate.download.run_hosts import Ask, RunHosts, Site
from curate.download.step import download

#: Attempts that a dead host may get: those that are counted, those under way meanwhile, and those that try it again.
MOST_ATTEMPTS = IN_A_ROW - 1 + 16 + TRIALS


class Silent:
    """Takes connections and says nothing, or closes them at once; counts them by the address that was asked. From
    `answers_from` connections on it answers."""

    def __init__(self, closes: bool = False, answers_from: int | None = None) -> None:
        self.connects: Counter[str] = Counter()
        self._closes, self._answers_from = closes, answers_from
        self._open: list[socket.socket] = []
        self._server = socket.create_server(("0.0.0.0", 0), backlog=1000)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connects[connection.getsockname()[0]] += 1
                if self._answers_from is not None and self.connects.total() >= self._answers_from:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
                if self._closes:
                    connection.close()
                else:
                    self._open.append(connection)

    def stop(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._open:
            connection.close()


@contextlib.contextmanager
def silent(closes: bool = False, answers_from: int | None = None) -> Iterator[Silent]:
    running = Silent(closes, answers_from)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def desk_of(hosts: RunHosts | None = None) -> Desk:
    options = build()
    return Desk(hosts or RunHosts(**options.of_hosts), options)


@pytest.mark.slow
@pytest.mark.parametrize(("closes", "status"), [(False, "timeout"), (True, "connect")])
def test_a_dead_host_costs_few_attempts(server: Server, closes: bool, status: str) -> None:
    live = [f"http://127.0.0.{n % 2 + 1}:{server.port}/wait/{n}" for n in range(400)]
    options = {"respect_robots_txt": False, "timeout_seconds": 1.0, "retries": 2}
    began = time.monotonic()
    get(*live, **options)
    alone = time.monotonic() - began
    with silent(closes) as dead:
        rows = [f"http://127.0.0.9:{dead.port}/{n}" for n in range(500)]
        both = [url for pair in zip(rows, [*live, *live[:100]], strict=True) for url in pair]
        desk = desk_of()
        began = time.monotonic()
        answers = get(*both, desk=desk, **options)
        seconds = time.monotonic() - began
    assert {a.status for a in answers[1::2]} == {"success"}
    assert {a.status for a in answers[::2]} == {status}
    assert dead.connects["127.0.0.9"] <= MOST_ATTEMPTS
    assert sum(a.attempts for a in answers[::2]) == dead.connects["127.0.0.9"]
    unasked = [a for a in answers[::2] if not a.attempts]
    assert desk.unasked == {"127.0.0.9": len(unasked)}
    # Which rows were asked for differs from run to run, and must not show in the images table.
    assert {a.error for a in unasked} <= {a.error for a in answers[::2] if a.attempts}
    # Alone the dead host's rows, three attempts each of a second, would take 500 x 3 / 16 = 94 s.
    assert seconds < alone + 6 * slowness()


@pytest.mark.slow
def test_a_host_that_answers_again_gets_all_its_rows(server: Server) -> None:
    with silent(answers_from=IN_A_ROW * 2 + 1) as lame:
        urls = [f"http://127.0.0.9:{lame.port}/{n}" for n in range(100)]
        desk = desk_of()
        answers = get(*urls, desk=desk, respect_robots_txt=False, timeout_seconds=1.0, per_host=IN_A_ROW * 2)
    assert Counter(a.status for a in answers) == {"success": 100 - 2 * IN_A_ROW, "timeout": 2 * IN_A_ROW}
    assert lame.connects.total() == 100
    assert not desk.unasked
    assert desk.hosts.visit(Ask("another", wants={site_at(9): 1})).turns


@pytest.mark.slow
def test_names_of_one_dead_address_are_set_aside_together(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    with name_serving() as names, silent() as dead:
        names.names = {f"n{n}.test": ["127.0.0.9"] for n in range(60)}
        monkeypatch.setattr("web_server.NAMESERVERS", [names.place])
        urls = [f"http://n{n}.test:{dead.port}/{row}" for n in range(60) for row in range(2)]
        # Each name's robots.txt is asked for first.
        answers = get(*urls, f"http://127.0.0.1:{server.port}/ok", timeout_seconds=1.5)
    assert [a.status for a in answers] == ["timeout"] * 120 + ["success"]
    assert dead.connects.total() <= MOST_ATTEMPTS


@pytest.mark.slow
def test_a_later_shard_and_another_worker_know(server: Server) -> None:
    with silent() as dead:
        urls = [f"http://127.0.0.9:{dead.port}/{n}" for n in range(50)]
        hosts = RunHosts(**build().of_hosts)
        first, second = desk_of(hosts), desk_of(hosts)
        options = {"respect_robots_txt": False, "timeout_seconds": 0.3}
        get(*urls, desk=first, **options)
        asked = dead.connects.total()
        to = f"{server.url}/to?to={urls[0]}"
        for desk in (first, second):
            assert [a.status for a in get(*urls, to, desk=desk, **options)] == ["timeout"] * 51
        assert dead.connects.total() == asked


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.soak)])
def test_what_was_set_aside_is_said(
    make_store: MakeStore,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    workers: int,
) -> None:
    monkeypatch.setattr("web_server.PICTURE", picture(1))
    with silent(closes=True) as dead:
        rows = [{"url": f"http://127.0.0.9:{dead.port}/{n}", "text": "a"} for n in range(60)]
        rows += [{"url": f"{server.url}/ok/{n}", "text": "a"} for n in range(4)]
        view = make_store(rows, rows_per_shard=32)
        options = {"allow_private_addresses": ["127.0.0.0/8"], "image_size": 16, "respect_robots_txt": False}
        cluster = Cluster(None, workers)
        try:
            view = download(view, DownloadOptions.model_validate(options), cluster)
        finally:
            cluster.stop()
    facts = pl.concat([view.frame(shard, ["status", "attempts"]) for shard in range(2)])
    assert Counter(facts["status"]) == {"connect": 60, "success": 4}
    unasked = facts.filter(pl.col("attempts") == 0).height
    assert unasked >= 60 - MOST_ATTEMPTS if workers == 0 else unasked > 0  # each worker counts for itself
    assert dead.connects.total() == facts["attempts"].sum() - 4
    said = " ".join(capsys.readouterr().err.split())
    assert f"download: 1 host set aside, as attempts there had no answer (127.0.0.9): {unasked} rows not asked" in said
    assert f"curate retry {view.store.url} --status connect,timeout" in said


def site_at(number: int) -> Site:
    return Site("http://a", f"127.0.0.{number}", f"127.0.0.{number}")


def test_rests_of_all_workers() -> None:
    clock = [0.0]
    hosts = RunHosts(per_host=16, clock=lambda: clock[0])
    site, other = site_at(9), site_at(8)
    key = site.keys[0]
    hosts.visit(Ask("a", failing={key: ("timeout", "no answer", False)}))
    reply = hosts.visit(Ask("b", wants={site: 5, other: 5}))
    assert (reply.turns, reply.failing) == ({other: 5}, {key: ("timeout", "no answer", REST_SECONDS, False)})
    # At the end of a shard it is tried once, by whoever comes first.
    assert hosts.visit(Ask("b", wants={site: 3}, tried=frozenset([key]))).turns == {site: 3}
    hosts.visit(Ask("b", failing={key: ("timeout", "no answer", True)}))
    assert not hosts.visit(Ask("a", wants={site: 3}, tried=frozenset([key]))).turns
    rests = []
    for _ in range(8):
        hosts.visit(Ask("b"))
        seconds = hosts.visit(Ask("a", wants={site: 5})).failing[key][2]
        rests.append(seconds)
        clock[0] += seconds
        assert sum(hosts.visit(Ask("a", wants={site: 5})).turns.values()) == TRIALS
        hosts.visit(Ask("a", failing={key: ("timeout", "no answer", True)}))
    assert rests == [60, 120, 240, 480, 960, 1920, LONGEST_SECONDS, LONGEST_SECONDS]
    assert hosts.visit(Ask("a", answering=frozenset([key]), wants={site: 5})).turns == {site: 5}
