"""The fetch engine against a real server on loopback: every status, the limits, and how often the server is asked."""

import asyncio
import json
import socket
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import ValidationError
from web_server import MEGABYTE, PICTURE, Server, build, get, serving

from curate.download.backoff import asked_seconds, seconds_to_wait
from curate.download.fetch import FetchOptions, fetch

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def test_a_whole_answer_is_a_success(server: Server) -> None:
    (ok,) = get(f" {server.url}/ok\n")
    assert (ok.status, ok.body, ok.content_type, ok.http_status) == ("success", PICTURE, "image/jpeg", 200)
    assert ok.final_url == f"{server.url}/ok"
    assert 0 < ok.seconds < 2
    assert "curate" in server.headers["User-Agent"]


def test_codes_are_statuses_and_a_404_is_asked_for_once(server: Server) -> None:
    codes = [404, 410, 403, 206, 202, 304]
    found = get(*(f"{server.url}/code/{code}" for code in codes), retries=3, backoff_seconds=0.01)
    assert [f.status for f in found] == [f"http_{code}" for code in codes]
    assert [f.http_status for f in found] == codes
    assert {server.asked[f"code/{code}"] for code in codes} == {1}


def test_server_errors_are_retried_with_growing_waits(server: Server) -> None:
    (failed,) = get(f"{server.url}/code/500", retries=2, backoff_seconds=0.2)
    assert failed.status == "http_500"
    first, second, third = server.times["code/500"]
    assert second - first >= 0.1
    assert third - second >= 0.2
    get(f"{server.url}/code/503")
    assert server.asked["code/503"] == 1


def test_retry_after_is_respected_up_to_the_cap(server: Server) -> None:
    (ok,) = get(f"{server.url}/busy/1", retries=1, backoff_seconds=0)
    assert ok.status == "success"
    first, second = server.times["busy/1"]
    assert 1 <= second - first < 2
    (given_up,) = get(f"{server.url}/busy/3600", retries=3)
    assert (given_up.status, server.asked["busy/3600"]) == ("http_429", 1)


def test_back_off_is_the_same_every_time() -> None:
    waits = [seconds_to_wait("http://a/", n, first=1, longest=5) for n in (1, 2, 3, 9)]
    assert waits == [seconds_to_wait("http://a/", n, first=1, longest=5) for n in (1, 2, 3, 9)]
    for wait, middle in zip(waits, (1, 2, 4), strict=False):
        assert wait is not None
        assert middle / 2 <= wait <= middle * 1.5
    assert waits[3] == 5
    for odd in ("soon", "", "Wed, 21 Oct 2015 07:28:00 GMT", "-5", None):
        assert asked_seconds(odd) == 0
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    assert asked_seconds("Wed, 21 Oct 2015 07:29:00 GMT", date) == 60, "by the server's clock"
    assert asked_seconds(date, "soon") == 0


def test_a_slow_drip_does_not_outlast_the_deadline(server: Server) -> None:
    started = time.monotonic()
    (slow,) = get(f"{server.url}/drip", timeout_seconds=0.5)
    assert time.monotonic() - started < 1.5
    assert slow.status == "timeout"
    assert 0.5 <= slow.seconds < 1
    assert get(f"{server.url}/drip", timeout_seconds=0.2, retries=1, backoff_seconds=0)[0].status == "timeout"
    assert server.asked["drip"] == 3


def test_the_deadline_spans_redirects(server: Server) -> None:
    (slow,) = get(f"{server.url}/to?to=/drip", timeout_seconds=0.3)
    assert slow.status == "timeout"
    assert slow.final_url == f"{server.url}/drip"


def test_large_bodies_are_not_read(server: Server) -> None:
    (declared,) = get(f"{server.url}/declared", max_bytes=1_000_000)
    assert declared.status == "too_large"
    (streamed,) = get(f"{server.url}/streamed", max_bytes=1_000_000)
    assert streamed.status == "too_large"
    assert server.sent < 30_000_000, "of 300 MB, no more than the sockets' buffers hold"
    assert get(f"{server.url}/large", max_bytes=1_000_000)[0].status == "success"
    assert get(f"{server.url}/large", max_bytes=999_999)[0].status == "too_large"


def test_short_empty_and_odd_answers(server: Server) -> None:
    short, empty, odd, garbage = get(*(f"{server.url}/{path}" for path in ("short", "empty", "odd", "garbage")))
    assert short.status == "truncated"
    assert empty.status == "empty"
    assert odd.status == "success"
    assert odd.content_type is not None
    odd.content_type.encode()  # no lone surrogates: it goes into a column of strings
    assert garbage.status == "error"


def test_redirects(server: Server) -> None:
    file, metadata, mapped, loop, ftp, bad, ok = get(
        *(
            f"{server.url}/to?to={target}"
            for target in (
                "file:///etc/passwd",
                "http://169.254.169.254/latest/meta-data/",
                "http://[::ffff:10.0.0.1]/",
                "/to?to=/hops/99",
                "ftp://example.com/x",
                "http://[::1",
                "/ok",
            )
        )
    )
    assert (file.status, ftp.status, bad.status) == ("bad_url", "bad_url", "bad_url")
    assert "file:///etc/passwd" in (file.error or "")
    assert (metadata.status, mapped.status) == ("address_refused", "address_refused")
    assert loop.status == "too_many_redirects"
    assert (ok.status, ok.final_url) == ("success", f"{server.url}/ok")


def test_max_redirects_is_exact(server: Server) -> None:
    def status(hops: int, limit: int) -> str:
        return get(f"{server.url}/hops/{hops}", max_redirects=limit)[0].status

    assert [status(5, 5), status(6, 5), status(1, 0)] == ["success", "too_many_redirects", "too_many_redirects"]
    assert get(f"{server.url}/ok", max_redirects=0)[0].status == "success"


OTHERS = [("X-Robots-Tag", "nofollow"), ("X-Robots-Tag", "otherbot: noai, noindex"), ("TDM-Reservation", "0")]
FORBIDS = [
    ("X-Robots-Tag", "none"),
    ("X-Robots-Tag", "curate: noai"),
    ("TDM-Reservation", "1"),
    ("x-robots-TAG", "noai"),
]


def test_opt_outs_in_headers(server: Server) -> None:
    def status(*headers: tuple[str, str], **options: Any) -> str:
        return get(f"{server.url}/with?headers={quote(json.dumps(headers))}", **options)[0].status

    assert status(*OTHERS) == "success"
    for header in FORBIDS:
        assert status(header) == status(*OTHERS, header) == "disallowed", header
        assert status(header, disallowed_header_directives=[]) == "success"
    assert status(("TDM-Reservation", "1"), disallowed_header_directives=["noai"]) == "success"
    assert status(("X-Robots-Tag", "mybot: noai")) == "success"
    assert status(("X-Robots-Tag", "mybot: noai"), user_agent_token="MyBot/1.0") == "disallowed"


def test_the_user_agent_says_who_asks(server: Server) -> None:
    get(f"{server.url}/ok", user_agent_token="MyBot", user_agent_contact="https://example.com/crawl")
    sent = server.headers["User-Agent"]
    assert sent == "Mozilla/5.0 (compatible; curate; image-text dataset builder) (MyBot) (+https://example.com/crawl)"
    with pytest.raises(ValidationError, match="printable ASCII"):
        build(user_agent_contact="a@b\r\nX: y")


def test_no_connection(server: Server) -> None:
    with socket.socket() as unused:  # bound, not listening: refused
        unused.bind(("127.0.0.1", 0))
        (refused,) = get(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert refused.status == "connect"
    dns, label, tls = get(
        "http://no-such-host.invalid/", f"http://{'a' * 64}.invalid/", f"https://127.0.0.1:{server.port}/"
    )
    assert dns.status == "dns"
    assert label.status == "bad_url"
    assert tls.status == "tls"


BAD: list[Any] = [
    None,
    "",
    "  ",
    "not a url",
    "ftp://example.com/a.jpg",
    "data:image/png;base64,AAAA",
    "file:///etc/passwd",
]
BAD += ["http://", "http:///", "//example.com/x", "http://[::1", "http://a:99999/", "http://999.1.1.1/", "\ud800", 7.5]


@pytest.mark.parametrize("url", BAD)
def test_bad_urls(url: Any) -> None:
    (found,) = get(url)
    assert found.status == "bad_url"
    (found.error or "").encode()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "017700000001",
        "0x7f.1",
        "127.1",
        "localhost",
        "127.0.0.1.",
        "0",
    ],
)
def test_private_addresses_are_refused_unless_allowed(server: Server, host: str) -> None:
    url = f"http://{host}:{server.port}/ok"
    assert get(url, allow_private_addresses=[])[0].status == "address_refused"
    assert get(url, allow_private_addresses=["10.0.0.0/8"])[0].status == "address_refused"
    assert not server.asked
    if host not in ("[::ffff:127.0.0.1]", "0"):
        assert get(url)[0].status == "success"


def test_proxies_of_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    assert get(f"{server.url}/ok")[0].status == "success"


def test_equal_urls_are_fetched_once(server: Server) -> None:
    found = get(f"{server.url}/ok", None, f"{server.url}/ok ", f"{server.url}/code/404", f"{server.url}/ok", None)
    assert [f.status for f in found] == ["success", "bad_url", "success", "http_404", "success", "bad_url"]
    assert found[0].body is found[2].body
    assert server.asked == {"ok": 1, "code/404": 1}


def test_urls_are_sent_as_they_are_written(server: Server) -> None:
    found = get(f"{server.url}/echo/%7e%2F,%2C?q=a+b&s=%3D", f"{server.url}/echo/a b/ü")
    assert [f.body for f in found] == [b"/echo/%7e%2F,%2C?q=a+b&s=%3D", b"/echo/a%20b/%C3%BC"]


def test_one_host_gets_no_more_than_its_share(server: Server) -> None:
    urls = [f"{server.url}/wait/{n}" for n in range(20)] + [f"{server.url}/to?to=/wait/r{n}" for n in range(10)]
    found = get(*urls, per_host=3, concurrency=16, timeout_seconds=0.3)
    assert {f.status for f in found} == {"success"}, "waiting for a turn is not on the clock"
    assert server.most == 3


def test_a_busy_host_holds_nobody_up(server: Server) -> None:
    async def order() -> list[int]:
        urls = [f"{server.url}/wait/{n}" for n in range(20)] + [f"http://127.0.0.2:{server.port}/ok"]
        options = build(per_host=1, concurrency=4)
        return [row async for row, _ in fetch(urls, options)]

    assert 20 in asyncio.run(order())[:4]


def test_bodies_in_memory_are_bounded(server: Server) -> None:
    async def consume() -> int:
        urls = [f"{server.url}/large/{n}" for n in range(60)]
        tracemalloc.start()
        async for _, fetched in fetch(urls, build(concurrency=4)):
            assert fetched.status == "success"
            await asyncio.sleep(0.005)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert asyncio.run(consume()) < 20 * len(MEGABYTE), "of 60 MB"


def test_leaving_early_ends_the_requests(server: Server) -> None:
    async def leave() -> None:
        urls = [f"{server.url}/ok"] + [f"{server.url}/drip/{n}" for n in range(5)]
        async with aclosing(fetch(urls, build())) as rows:
            async for row, _ in rows:
                assert row == 0
                break
        assert len(asyncio.all_tasks()) == 1

    started = time.monotonic()
    asyncio.run(leave())
    assert time.monotonic() - started < 2


def test_options_are_checked() -> None:
    for wrong in (
        {"timeout": 3},
        {"retries": -1},
        {"user_agent": "a\r\nb"},
        {"allow_private_addresses": ["10.0.0.1/8"]},
    ):
        with pytest.raises(ValidationError):
            build(**wrong)
    assert build(disallowed_header_directives=[" NoAI"]).disallowed_header_directives == ("noai",)
    assert FetchOptions.model_validate_json(FetchOptions().model_dump_json()) == FetchOptions()
