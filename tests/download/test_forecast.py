"""What is said while a download runs, and once when most rows fail."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from conftest import MakeStore, picture
from web_server import Server, serving

from curate.cluster.cluster import Cluster
from curate.download.forecast import FIRST_ROWS, Forecast
from curate.download.options import DownloadOptions
from curate.download.step import download
from curate.download.tally import Tally


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("web_server.PICTURE", picture(1))
    with serving() as running:
        yield running


def tally(success: int, **others: int) -> Tally:
    return Tally(Counter(success=success, **others), fetched=100_000 * success, stored=20_000 * success)


def test_the_forecast_is_said_when_rows_have_doubled() -> None:
    forecast = Forecast(100_000, "store", began=50.0)
    assert forecast.of(tally(999), now=60.0) == []
    assert forecast.of(tally(800, http_404=200), now=60.0) == [
        "download: 1,000 of 100,000 rows: 100 rows/s, 80.0 % with an image; 0.28 hours to go; "
        "8 GB to fetch in all, 2 GB to store"
    ]
    assert forecast.of(tally(1500), now=61.0) == []
    assert len(forecast.of(tally(2000), now=62.0)) == 1
    assert forecast.of(tally(3999), now=63.0) == []
    assert len(forecast.of(tally(4000), now=64.0)) == 1
    assert forecast.of(tally(100_000), now=99.0) == [], "it is done"


def test_a_warning_comes_once_when_more_than_half_fail() -> None:
    forecast = Forecast(1000, "the/store", began=0.0)
    assert forecast.warning(tally(0, dns=FIRST_ROWS - 1)) == []
    assert forecast.warning(tally(500, dns=500)) == []
    assert forecast.warning(tally(400, dns=300, timeout=200, http_404=70, tls=30)) == [
        "download: most rows fail, 600 of the first 1,000: 300 dns, 200 timeout, 70 http_404. "
        "Look into it before the others follow: curate show the/store --by status"
    ]
    assert forecast.warning(tally(0, dns=5000)) == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.soak)])
def test_both_are_said_of_a_download(
    make_store: MakeStore,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    workers: int,
) -> None:
    monkeypatch.setattr("curate.download.forecast.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("curate.download.forecast.FIRST_ROWS", 100)
    paths = ["ok" if number % 4 == 0 else "code/404" for number in range(600)]
    view = make_store([{"url": f"{server.url}/{p}?{n}", "text": "a"} for n, p in enumerate(paths)], rows_per_shard=50)
    options = {"allow_private_addresses": ["127.0.0.0/8"], "image_size": 16}
    cluster = Cluster(None, workers)
    try:
        view = download(view, DownloadOptions.model_validate(options), cluster)
    finally:
        cluster.stop()
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"download: \d\d\d of 600 rows: [\d,]+ rows/s, \d\d.\d % with an image; 0.0\d hours to go", said)
    assert len(re.findall(r"download: most rows fail, \d+ of the first \d+: \d+ http_404\.", said)) == 1
    assert f"curate show {view.store.url} --by status" in said
