"""Every behaviour of the demo's web server, seen through a real client."""

import concurrent.futures
import http.client
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from curate.demo.server import serve, stats

pytestmark = pytest.mark.slow

DATA = bytes(range(256)) * 40


@pytest.fixture
def base_url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "files" / "ab").mkdir(parents=True)
    (tmp_path / "files" / "ab" / "abc.jpg").write_bytes(DATA)
    (tmp_path / "secret.jpg").write_bytes(b"not for you")
    with serve(tmp_path) as url:
        yield url


def get(url: str, *, follow: bool = False, timeout: float = 5) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case and body; no redirects unless asked."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(*([] if follow else [Stay()]))
    try:
        with opener.open(url, timeout=timeout) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()


def test_a_picture_is_served_as_it_is(base_url: str) -> None:
    status, headers, body = get(f"{base_url}/ok/ab/abc.jpg")
    assert (status, headers["content-type"], body) == (200, "image/jpeg", DATA)


@pytest.mark.parametrize("status", [404, 410, 500])
def test_errors(base_url: str, status: int) -> None:
    assert get(f"{base_url}/{status}/ab/abc.jpg")[0] == status


@pytest.mark.parametrize(
    "path", ["ok/ab/none.jpg", "dance/ab/abc.jpg", "ok/../secret.jpg", "ok/%2e%2e/secret.jpg", "x"]
)
def test_what_is_not_there_is_404(base_url: str, path: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=5)
    connection.request("GET", f"/{path}")
    assert connection.getresponse().status == 404
    connection.close()


def test_redirect_leads_to_the_picture(base_url: str) -> None:
    assert get(f"{base_url}/redirect/ab/abc.jpg")[0] == 302
    assert get(f"{base_url}/redirect/ab/abc.jpg", follow=True)[2] == DATA


@pytest.mark.parametrize(("kind", "start"), [("metadata", "http://169.254.169.254/"), ("file", "file:///")])
def test_redirects_into_private_places(base_url: str, kind: str, start: str) -> None:
    status, headers, _ = get(f"{base_url}/redirect-{kind}/ab/abc.jpg")
    assert status == 302
    assert headers["location"].startswith(start)


def test_noai_is_said_in_a_header(base_url: str) -> None:
    status, headers, body = get(f"{base_url}/noai/ab/abc.jpg")
    assert (status, headers["x-robots-tag"], body) == (200, "noai", DATA)


@pytest.mark.parametrize(("kind", "said"), [("html", "text/html"), ("html-as-jpeg", "image/jpeg")])
def test_a_web_page_in_place_of_a_picture(base_url: str, kind: str, said: str) -> None:
    status, headers, body = get(f"{base_url}/{kind}/ab/abc.jpg")
    assert status == 200
    assert headers["content-type"].startswith(said)
    assert b"<html>" in body


def test_half_a_file_passed_off_as_whole(base_url: str) -> None:
    status, headers, body = get(f"{base_url}/truncated/ab/abc.jpg")
    assert (status, body) == (200, DATA[: len(DATA) // 2])
    assert int(headers["content-length"]) == len(body)


def test_a_connection_cut_half_way(base_url: str) -> None:
    with urllib.request.urlopen(f"{base_url}/cut/ab/abc.jpg", timeout=5) as answer:
        assert int(answer.headers["Content-Length"]) == len(DATA)
        with pytest.raises(http.client.IncompleteRead) as error:
            answer.read()
    assert error.value.partial == DATA[: len(DATA) // 2]


def test_an_empty_answer(base_url: str) -> None:
    assert get(f"{base_url}/empty/ab/abc.jpg")[::2] == (200, b"")


@pytest.mark.parametrize("kind", ["large", "large-declared"])
def test_more_than_20_megabytes(base_url: str, kind: str) -> None:
    _, headers, body = get(f"{base_url}/{kind}/ab/abc.jpg")
    assert len(body) > 20 * 1024 * 1024
    assert headers.get("content-length") == (str(len(body)) if kind == "large-declared" else None)
    assert body.startswith(b"\xff\xd8\xff")


def test_a_client_may_leave_a_large_answer(base_url: str) -> None:
    with urllib.request.urlopen(f"{base_url}/large/ab/abc.jpg", timeout=5) as answer:
        assert len(answer.read(1000)) == 1000
    assert get(f"{base_url}/ok/ab/abc.jpg")[2] == DATA


def test_a_slow_picture_drips_and_ends_when_the_client_leaves(base_url: str) -> None:
    began = time.monotonic()
    address = urlsplit(base_url)
    with socket.create_connection((address.hostname, address.port), timeout=2) as client:
        client.sendall(b"GET /slow/ab/abc.jpg HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while time.monotonic() - began < 1.3:
            got += client.recv(65536)
    body = got.split(b"\r\n\r\n", 1)[1]
    step = round(len(DATA) / 120)
    assert b"Content-Length: %d" % len(DATA) in got
    assert 2 * step <= len(body) <= 4 * step
    # The next request to it runs alone: the first has ended with its client.
    time.sleep(0.3)
    with pytest.raises(TimeoutError):
        get(f"{base_url}/slow/ab/abc.jpg", timeout=0.2)
    assert stats(base_url)["paths"]["/slow/ab/abc.jpg"] == {"requests": 2, "max_concurrent": 1}


def test_the_server_stops_at_once_though_a_picture_drips(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.jpg").write_bytes(DATA)
    with serve(tmp_path) as url:
        client = urllib.request.urlopen(f"{url}/slow/a.jpg", timeout=5)
        began = time.monotonic()
    assert time.monotonic() - began < 3
    client.close()


def test_requests_are_counted(base_url: str) -> None:
    for _ in range(3):
        get(f"{base_url}/ok/ab/abc.jpg")
    get(f"{base_url}/404/x.jpg")
    counted = stats(base_url)
    assert counted["requests"] == 4
    assert counted["max_concurrent"] == 1
    assert counted["paths"]["/ok/ab/abc.jpg"] == {"requests": 3, "max_concurrent": 1}
    assert counted["paths"]["/404/x.jpg"]["requests"] == 1


def test_concurrent_requests_are_counted(tmp_path: Path) -> None:
    with serve(tmp_path, delay_seconds=0.4) as url, concurrent.futures.ThreadPoolExecutor(4) as crowd:
        list(crowd.map(get, [f"{url}/404/{number}.jpg" for number in (1, 1, 2, 3)]))
        counted = stats(url)
    assert counted["max_concurrent"] == 4
    assert counted["paths"]["/404/1.jpg"] == {"requests": 2, "max_concurrent": 2}


def test_only_this_machine_can_reach_it(base_url: str) -> None:
    assert urlsplit(base_url).hostname == "127.0.0.1"
    # All of 127.0.0.0/8 is this machine, yet a server bound to one address does not answer on the others.
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", urlsplit(base_url).port), timeout=1)


def test_a_taken_port_is_an_error(base_url: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"), serve(tmp_path, urlsplit(base_url).port or 0):
        pass


def test_it_runs_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.jpg").write_bytes(DATA)
    repository = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "curate.demo.server", str(tmp_path), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": repository}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert get(f"{said.split()[-1]}/ok/a.jpg")[2] == DATA
        finally:
            process.terminate()
