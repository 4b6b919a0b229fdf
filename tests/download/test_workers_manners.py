"""Manners of all workers together, measured at the server: with 1, 2 and 4 workers, and on two Ray nodes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from conftest import MakeStore, picture, slowness
from two_nodes import two_nodes
from web_server import Server, build, serving

from curate.cluster.cluster import Cluster
from curate.download.desk import Desk
from curate.download.fetch import fetch
from curate.download.options import CONTACT_HOSTS, DownloadOptions
from curate.download.run_hosts import Ask, Reply, RunHosts
from curate.download.step import download
from curate.errors import CurateError
from curate.store.view import View

pytestmark = pytest.mark.slow

ROWS_A_SHARD, SHARDS, PER_HOST = 30, 8, 3


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("web_server.PICTURE", picture(1))
    with serving() as running:
        running.robots_file = "User-agent: *\nDisallow: /wait/private"
        yield running


def downloaded(make_store: MakeStore, server: Server, cluster: Cluster) -> View:
    """A store of eight shards, each with rows of the same two hosts, one URL in ten forbidden, and one that asks for a
    pause of a second in the first shard."""
    rows = []
    for number in range(ROWS_A_SHARD * SHARDS):
        host = "127.0.0.1" if number % 3 else "127.0.0.2"
        path = f"wait/private/{number}" if number % 10 == 9 else f"wait/{number}"
        rows.append({"url": f"http://{host}:{server.port}/{path}", "text": str(number)})
    rows[0] = {"url": f"http://127.0.0.2:{server.port}/busy/1", "text": "busy"}
    view = make_store(rows, rows_per_shard=ROWS_A_SHARD)
    options = {"allow_private_addresses": ["127.0.0.0/8"], "per_host": PER_HOST, "timeout_seconds": 20}
    return download(view, DownloadOptions.model_validate({**options, "image_size": 16}), cluster)


def frame(view: View, *columns: str) -> pl.DataFrame:
    return pl.concat([view.frame(shard, columns) for shard in range(SHARDS)])


def checked(server: Server, view: View) -> None:
    """What the server saw and the store says."""
    statuses = Counter(frame(view, "status")["status"])
    assert statuses == {"success": 215, "robots_disallowed": 24, "http_429": 1}
    assert max(server.most_at.values()) <= PER_HOST
    assert server.robots_asked == 2, "read once a site, whoever needs it"
    assert not [path for path in server.asked if "private" in path]
    assert max(server.asked.values()) == 1
    facts = frame(view, "robots", "attempts")
    assert Counter(facts["robots"]) == {"allowed": 216, "forbidden": 24}
    assert facts["attempts"].sum() == server.asked.total()


@contextlib.contextmanager
def workers_of(number: int) -> Iterator[Cluster]:
    cluster = Cluster(None, number)
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.mark.parametrize("number", [0, 2, *(pytest.param(number, marks=pytest.mark.soak) for number in (1, 4))])
def test_workers_of_one_node(make_store: MakeStore, server: Server, number: int) -> None:
    with workers_of(number) as cluster:
        checked(server, downloaded(make_store, server, cluster))


def test_workers_of_two_nodes(make_store: MakeStore, server: Server, tmp_path: Path) -> None:
    with two_nodes() as address:
        cluster = Cluster(address, 4)
        try:
            checked(server, downloaded(make_store, server, cluster))
        finally:
            cluster.stop()


def test_very_many_hosts_need_a_contact(make_store: MakeStore) -> None:
    rows = [{"url": f"http://h{number}.invalid/", "text": "a"} for number in range(CONTACT_HOSTS + 1)]
    view = make_store(rows, rows_per_shard=400)
    with pytest.raises(CurateError, match=r"more than 1,000 hosts are to be asked.*`user_agent_contact`"):
        download(view, DownloadOptions(), Cluster(None, 0))


def test_a_shard_ends_however_late_answers_of_the_run_come(server: Server) -> None:
    """A visit that is under way when the last row is there does not keep the shard from its end."""
    options = build(per_host=3)
    hosts = RunHosts(**options.of_hosts)

    class Far(Desk):
        async def visit(self, ask: Ask) -> Reply:
            await asyncio.sleep(0.003)
            reply: Reply = hosts.visit(ask)
            return reply

        async def rest(self) -> None:
            await asyncio.sleep(0.001)

    async def shards(desk: Far, count: int) -> int:
        desk.is_here = False
        urls = [f"{server.url}/ok/{number}" for number in range(4)]
        return sum([1 for _ in range(count) async for _ in fetch(urls, options, desk)])

    async def all_of_them() -> list[int]:
        desks = [Far(hosts, options) for _ in range(3)]
        return await asyncio.wait_for(asyncio.gather(*(shards(desk, 40) for desk in desks)), 60 * slowness())

    assert asyncio.run(all_of_them()) == [160] * 3
