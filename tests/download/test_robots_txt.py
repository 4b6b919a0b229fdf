"""robots.txt: read once for a run, kept, and nothing asked for that it forbids; measured at the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from test_manners import desk_of
from web_server import Server, get, serving

from curate.download.robots_file import Robots, Rules

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def test_nothing_is_asked_for_that_it_forbids(server: Server) -> None:
    server.robots_file = "User-agent: *\nDisallow: /ok/private\nAllow: /ok/private/free"
    rows = get(*(f"{server.url}/ok/{path}" for path in ("a", "private/b", "private/free/c", "d")))
    assert [row.status for row in rows] == ["success", "robots_disallowed", "success", "success"]
    assert rows[1].error == f"{server.url}/robots.txt forbids /ok/private/b"
    assert [row.robots for row in rows] == ["allowed", "forbidden", "allowed", "allowed"]
    assert (rows[0].attempts, rows[1].attempts) == (1, 0)
    assert "ok/private/b" not in server.asked
    assert server.robots_asked == 1


def test_a_redirect_leads_to_nothing_that_is_forbidden(server: Server) -> None:
    server.robots_file = "User-agent: *\nDisallow: /ok/private"
    (row,) = get(f"http://127.0.0.2:{server.port}/to?to={server.url}/ok/private")
    assert (row.status, row.final_url) == ("robots_disallowed", f"{server.url}/ok/private")
    assert "ok/private" not in server.asked
    assert server.robots_asked == 2, "one of each site"


def test_it_may_be_left_unread(server: Server) -> None:
    server.robots_file = "User-agent: *\nDisallow: /"
    (row,) = get(f"{server.url}/ok", respect_robots_txt=False)
    assert (row.status, row.robots, server.robots_asked) == ("success", None, 0)


def test_of_a_long_one_the_beginning_counts(server: Server) -> None:
    """Neither the limit for pictures nor the size of the file opens or closes the site."""
    server.robots_file = "User-agent: *\nDisallow: /ok/private\n" + "# and so on\n" * 100_000 + "Disallow: /\n"
    rows = get(f"{server.url}/ok/private/a", f"{server.url}/ok/b", max_bytes=20_000)
    assert [row.status for row in rows] == ["robots_disallowed", "success"]
    assert server.asked == {"ok/b": 1}


@pytest.mark.parametrize(
    ("text", "token", "status"),
    [
        ("User-agent: curate\nDisallow: /", None, "robots_disallowed"),
        ("User-agent: curate\nAllow: /\nUser-agent: *\nDisallow: /", None, "success"),
        ("User-agent: otherbot\nDisallow: /", None, "success"),
        ("User-agent: mybot\nDisallow: /", "MyBot/1.0 (+https://example.com)", "robots_disallowed"),
        ("User-agent: mybot\nAllow: /\nUser-agent: *\nDisallow: /", "mybot", "success"),
        ("User-agent: curate\nDisallow: /\nUser-agent: mybot\nAllow: /", "mybot", "robots_disallowed"),
        ("\ufeffUser-agent: *\r\nDisallow: /\r\n", None, "robots_disallowed"),
        ("<html>not found</html>", None, "success"),
        ("", None, "success"),
    ],
)
def test_whom_it_speaks_to(server: Server, text: str, token: str | None, status: str) -> None:
    server.robots_file = text
    (row,) = get(f"{server.url}/ok", user_agent_token=token)
    assert row.status == status


@pytest.mark.parametrize(
    ("code", "status", "robots", "asked"),
    [
        (404, "success", "none", 1),
        (403, "success", "none", 1),
        (503, "http_503", None, 0),
        (500, "http_500", None, 0),
        (429, "http_429", None, 0),
    ],
)
def test_one_that_is_absent_allows_and_one_that_cannot_be_read_does_not(
    server: Server, code: int, status: str, robots: str | None, asked: int
) -> None:
    server.robots_status = code
    rows = get(*(f"{server.url}/ok/{n}" for n in range(20)), per_host=4)
    assert [row.status for row in rows] == [status] * 20
    assert [row.robots for row in rows] == [robots] * 20
    assert server.asked.total() == 20 * asked
    assert server.robots_asked == 1
    if not asked:
        assert all((row.error or "").startswith("robots.txt: ") for row in rows)


def test_one_that_cannot_be_read_is_tried_as_often_as_a_url(server: Server) -> None:
    server.robots_status = 503
    get(f"{server.url}/ok/1", f"{server.url}/ok/2", retries=2, backoff_seconds=0.05)
    assert (server.robots_asked, server.asked.total()) == (3, 0)


def test_a_dead_site_costs_one_question(server: Server) -> None:
    dead = "http://127.0.0.3:9"
    rows = get(*(f"{dead}/{n}" for n in range(50)), f"{server.url}/ok")
    assert [row.status for row in rows] == ["connect"] * 50 + ["success"]


def test_later_shards_of_a_run_do_not_read_it_again(server: Server) -> None:
    server.robots_file = "User-agent: *\nDisallow: /ok/private"
    desk = desk_of()
    get(f"{server.url}/ok/1", desk=desk)
    (row,) = get(f"{server.url}/ok/private", desk=desk)
    assert (row.status, server.robots_asked) == ("robots_disallowed", 1)
    assert [robots.text for robots in desk.seen] == [server.robots_file]


def test_its_use_of_content_is_heard(server: Server) -> None:
    server.robots_file = "User-agent: *\nContent-Usage: /ok/art train-ai=n\nContent-Usage: search=y"
    free, art = get(f"{server.url}/ok/free", f"{server.url}/ok/art/1")
    assert (free.status, free.content_usage) == ("success", "robots.txt: search=y")
    assert (art.status, art.content_usage) == ("disallowed", "robots.txt: train-ai=n")
    assert server.asked == {"ok/free": 1}
    (row,) = get(f"{server.url}/ok/art/1", disallowed_usages=())
    assert row.status == "success"


def test_a_header_says_the_same(server: Server) -> None:
    said = '[["Content-Usage","train-ai=n"],["X-Robots-Tag","noarchive"]]'
    (row,) = get(f"{server.url}/with?headers={said}")
    assert (row.status, row.error) == ("disallowed", "Content-Usage: no to train-ai")
    assert (row.content_usage, row.x_robots) == ("train-ai=n", "noarchive")
    assert row.retrieved
    assert row.server_date


def test_a_crawl_delay_is_kept(server: Server) -> None:
    server.robots_file = "User-agent: *\nCrawl-delay: 0.3"
    rows = get(*(f"{server.url}/ok/{n}" for n in range(4)))
    assert {row.status for row in rows} == {"success"}
    times = sorted(time for path in server.times.values() for time in path)
    assert times[-1] - times[0] > 0.8, "three times 0.3 s, less what the first one took to arrive"


def test_requests_in_a_second(server: Server) -> None:
    get(*(f"{server.url}/ok/{n}" for n in range(6)), per_second=10)
    times = sorted(time for path in server.times.values() for time in path)
    assert times[-1] - times[0] > 0.4


def test_a_long_file_is_read_to_its_limit() -> None:
    text = "User-agent: *\nDisallow: /a\n" + "Disallow: /b\n" * 50_000
    assert not Rules(Robots("http://h", "success", text), None).allows("http://h/a")
