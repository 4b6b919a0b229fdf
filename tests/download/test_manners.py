"""Manners at hosts: turns by address, pauses that a host asks for, and name servers that do not answer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from name_server import NameServer, name_serving
from web_server import Server, build, get, serving

from curate.download.desk import Desk
from curate.download.fetch_run import LOOKUPS
from curate.download.holds import PAUSES
from curate.download.run_hosts import Ask, Reply, RunHosts, Site

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    with name_serving() as running:
        monkeypatch.setattr("web_server.NAMESERVERS", [running.place])
        yield running


def desk_of(**options: Any) -> Desk:
    fetching = build(**options)
    return Desk(RunHosts(**fetching.of_hosts), fetching)


class Far:
    """Hosts in another process: a visit is a call that is awaited."""

    def __init__(self, hosts: RunHosts) -> None:
        self._hosts = hosts
        self.visits: list[tuple[float, Ask]] = []

    @property
    def visit(self) -> Far:
        return self

    async def remote(self, ask: Ask) -> Reply:
        self.visits.append((time.monotonic(), ask))
        return self._hosts.visit(ask)


def test_a_pause_is_told_at_once(server: Server) -> None:
    """However long a worker rests between two visits: others go on asking the host until they hear of it."""
    desk = desk_of()
    far = Far(desk.hosts)
    desk.hosts, desk.is_here, desk._seconds = far, False, 100.0
    urls = f"{server.url}/refuse/429?after=60", f"http://127.0.0.2:{server.port}/drip"
    get(*urls, desk=desk, respect_robots_txt=False, timeout_seconds=3)
    heard_at = next(when for when, ask in far.visits if ask.pauses)
    assert heard_at - server.times["refuse/429"][0] < 1.5 and far.visits[-1][0] - heard_at > 1


def pause_of(desk: Desk, host: str) -> float:
    """Seconds for which any worker of the run leaves the host alone."""
    reply = desk.hosts.visit(Ask("another", wants={Site(f"http://{host}", host, "192.0.2.1"): 1}))
    return reply.pauses.get(host, ("", 0.0))[1]


def test_dead_names_hold_up_no_living_one(server: Server, names: NameServer) -> None:
    dead = [f"dead{n}.test" for n in range(2 * LOOKUPS)]
    live = [f"live{n}.test" for n in range(150)]
    names.names = {name: [] for name in dead} | {name: ["127.0.0.1"] for name in live}
    urls = [f"http://{host}:{server.port}/ok/{n}" for n in range(2) for host in dead + live]
    found = get(*urls, timeout_seconds=1, per_host=64)
    by_status = {url: fetched.status for url, fetched in zip(urls, found, strict=True)}
    assert {by_status[url] for url in urls if "live" in url} == {"success"}
    assert {by_status[url] for url in urls if "dead" in url} == {"dns"}
    assert all("no name server answered within 1 s" in f.error for f in found if f.error)
    assert names.asked == Counter(dead + live), "each name once, dead or alive"


def test_a_name_without_an_address_is_asked_for_once(server: Server, names: NameServer) -> None:
    names.names = {"a.test": ["127.0.0.1"]}
    urls = ["http://no.test/1", "http://no.test/2", f"http://a.test:{server.port}/to?to=http://no.test/3"]
    found = get(*urls, retries=2, backoff_seconds=0)
    assert [f.status for f in found] == ["dns"] * 3
    assert names.asked == {"no.test": 1, "a.test": 1}


def test_only_public_addresses_of_a_name_are_asked(server: Server, names: NameServer) -> None:
    names.names = {
        "mixed.test": ["10.0.0.1", "127.0.0.1", "169.254.169.254"],
        "inside.test": ["10.0.0.1", "192.0.0.192"],
    }
    mixed, inside = get(f"http://mixed.test:{server.port}/ok", "http://inside.test/")
    assert (mixed.status, inside.status) == ("success", "address_refused")


def test_names_of_one_address_share_its_turns(server: Server, names: NameServer) -> None:
    hosts = [f"n{n}.test" for n in range(40)]
    names.names = {host: ["127.0.0.1"] for host in hosts}
    urls = [f"http://{host}:{server.port}/wait/{n}" for n in range(2) for host in [*hosts, "127.0.0.1", "0x7f.1"]]
    found = get(*urls, per_host=3, timeout_seconds=1)
    assert {f.status for f in found} == {"success"}
    assert server.most == 3


def test_a_busy_address_holds_up_no_other(server: Server, names: NameServer) -> None:
    names.names = {f"n{n}.test": ["127.0.0.1"] for n in range(30)}
    urls = [f"http://n{n}.test:{server.port}/wait/{n}" for n in range(30)] + [f"http://127.0.0.2:{server.port}/ok"]
    get(*urls, per_host=1, concurrency=4)
    assert server.times["ok"][0] < sorted(server.times[f"wait/{n}"][0] for n in range(30))[5]


def test_a_pause_holds_back_the_whole_host(server: Server) -> None:
    urls = [f"{server.url}/busy/1", *(f"{server.url}/ok/{n}" for n in range(5))]
    urls += [
        f"http://127.0.0.2:{server.port}/other",
        f"http://127.0.0.2:{server.port}/to?to={server.url}/ok/redirected",
    ]
    found = get(*urls, per_host=1, timeout_seconds=0.5)
    assert [f.status for f in found] == ["http_429"] + ["success"] * 7, "waiting is not on the clock"
    asked = server.times["busy/1"][0]
    assert all(server.times[f"ok/{n}"][0] >= asked + 1 for n in [*range(5), "redirected"])
    assert server.times["other"][0] < asked + 0.9, "another host is not held back"


def test_a_long_pause_ends_the_host_s_other_rows(server: Server) -> None:
    urls = [
        f"{server.url}/busy/3600",
        *(f"{server.url}/ok/{n}" for n in range(5)),
        f"http://127.0.0.2:{server.port}/ok",
    ]
    desk = desk_of(per_host=1, retries=2)
    # Without robots.txt: while that is read, a later row of the host may come first.
    rows = get(*urls, per_host=1, desk=desk, retries=2, respect_robots_txt=False)
    assert [f.status for f in rows] == ["http_429"] * 6 + ["success"]
    assert all(f.error == "127.0.0.1 asked for a pause" for f in rows[:6])
    assert server.asked == {"busy/3600": 1, "ok": 1}
    redirected = f"http://127.0.0.2:{server.port}/to?to={server.url}/ok"
    again = get(f"{server.url}/ok", redirected, desk=desk)
    assert [f.status for f in again] == ["http_429"] * 2, "a later shard of the run keeps it in mind"
    assert server.asked["ok"] == 1
    assert get(f"{server.url}/ok")[0].status == "success"


def test_a_long_pause_is_waited_for_while_there_is_other_work(server: Server) -> None:
    urls = [
        f"{server.url}/busy/1",
        f"{server.url}/ok",
        *(f"http://127.0.0.2:{server.port}/wait/{n}" for n in range(30)),
    ]
    found = get(*urls, per_host=1, max_backoff_seconds=0)
    assert [f.status for f in found] == ["http_429"] + ["success"] * 31
    assert server.times["ok"][0] >= server.times["busy/1"][0] + 1


def test_pauses_have_an_end(server: Server) -> None:
    urls = [f"{server.url}/busy/1?{n}" for n in range(10)]
    server.always_busy = True
    started = time.monotonic()
    found = get(*urls, per_host=1, max_backoff_seconds=5)
    assert {f.status for f in found} == {"http_429"}
    assert server.asked.total() == PAUSES + 1
    assert time.monotonic() - started < PAUSES + 3


@pytest.mark.parametrize(("code", "retry_after", "held"), [(503, "7", True), (429, "7", True), (429, "", False)])
def test_what_asks_for_a_pause(server: Server, code: int, retry_after: str, held: bool) -> None:
    desk = desk_of()
    (refused,) = get(f"{server.url}/refuse/{code}?after={retry_after}", desk=desk)
    assert refused.status == f"http_{code}"
    assert (pause_of(desk, "127.0.0.1") > 6) is held
    get(f"{server.url}/refuse/500?after=60", desk=(other := desk_of()))
    assert not pause_of(other, "127.0.0.1")
