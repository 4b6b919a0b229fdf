"""What tests share: stores built from literal rows, small pictures, an S3 server, a real Ray."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from model_hub import hub, small_models  # noqa: F401 - fixtures
from PIL import Image
from quick import mark_quick, pytest_ignore_collect, pytest_runtest_call, pytest_runtest_protocol  # noqa: F401 - hooks

from curate.cluster.cluster import Cluster
from curate.read.step import ReadOptions, read
from curate.store.store import Store
from curate.store.view import View

Rows = Sequence[dict[str, Any]]
MakeStore = Callable[..., View]

HERE = Cluster(workers=0)

#: What a quiet machine of two cores takes to start Python with what every command loads.
USUAL_SECONDS = 1.5

#: Seconds that a test may take on such a machine before it counts as stuck.
TEST_SECONDS = 300


TESTS = Path(__file__).parent
#: Modules of the tests find each other whatever folder they lie in.
FOLDERS = [str(folder) for folder in (TESTS, *sorted(TESTS.glob("**/"))) if not folder.name.startswith(("_", "."))]
sys.path += [folder for folder in FOLDERS if folder not in sys.path]


def importable() -> str:
    """PYTHONPATH for processes that import modules of the tests."""
    return os.pathsep.join([*FOLDERS, str(TESTS.parent), os.environ.get("PYTHONPATH", "")])


@cache
def slowness() -> float:
    """How much slower than usual this machine is now, at least 1; measured once a session, by starting a process."""
    known = os.environ.get("CURATE_TEST_SLOWNESS")
    if known:
        return float(known)
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import curate.cli, curate.pipeline.file"], check=True, capture_output=True)
    measured = max(1.0, (time.monotonic() - began) / USUAL_SECONDS)
    # Processes that this one starts, and its sisters of pytest-xdist, need not measure again.
    os.environ["CURATE_TEST_SLOWNESS"] = f"{measured:.2f}"
    return measured


def patience(seconds: float) -> float:
    """A time limit for what takes a fraction of it on a quiet machine: as much longer as this machine is slower.

    It tells what is stuck from what is slow, and never how fast something is.
    """
    return round(2 * seconds * slowness())


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes do not name a test: packed ones hold the second in which they were made, and two processes that collect
    would have different tests."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


def pytest_configure(config: pytest.Config) -> None:
    # Before pytest-xdist starts its workers, which inherit it.
    slowness()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_quick(items)
    for item in items:
        marker = item.get_closest_marker("timeout")
        seconds = marker.args[0] if marker and marker.args else TEST_SECONDS
        item.add_marker(pytest.mark.timeout(patience(seconds)), append=False)


def picture(number: int, kind: str = "JPEG", size: tuple[int, int] = (16, 12)) -> bytes:
    """A file whose pixels tell its number."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (number * 37 % 256, number * 91 % 256, number * 13 % 256)).save(buffer, kind)
    return buffer.getvalue()


def write_tar(path: Path, rows: Rows, images: Sequence[bytes | None]) -> None:
    """A WebDataset tar: `text` as txt, the other columns as json, the image where there is one."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, (row, image) in enumerate(zip(rows, images, strict=True)):
            about = {name: value for name, value in row.items() if name != "text"}
            members = {"jpg": image, "txt": (row["text"] or "").encode(), "json": json.dumps(about).encode()}
            for extension, data in members.items():
                if data is not None:
                    info = tarfile.TarInfo(f"{number:06d}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """make_store(rows, rows_per_shard=10, images=None, root=None): the view of a store that holds literal rows.

    rows: dicts with the columns; `url` and `text` are made up where missing. images: one file (or None) per row.
    Called again with the same root and more rows, it appends them.
    """
    made = 0

    def make(
        rows: Rows | int,
        rows_per_shard: int = 10,
        images: Sequence[bytes | None] | None = None,
        root: str | None = None,
    ) -> View:
        nonlocal made
        made += 1
        given = [{} for _ in range(rows)] if isinstance(rows, int) else rows
        store = Store(root or str(tmp_path / f"store{made}"))
        first = sum(store.shard_rows().values())
        full = [
            {"url": f"http://test/{i}.jpg", "text": f"caption number {i}", **row} for i, row in enumerate(given, first)
        ]
        source = tmp_path / f"input{made}" / ("part.parquet" if images is None else "part.tar")
        # The name differs from input to input: a file of the same name counts as read.
        source = source.with_stem(f"part{made}")
        source.parent.mkdir()
        if images is None:
            pl.DataFrame(full, infer_schema_length=None).write_parquet(source)
        else:
            write_tar(source, full, images)
        return read(store, ReadOptions(input=str(source), rows_per_shard=rows_per_shard, append=True), HERE)

    return make


def column(view: View, *names: str) -> list[Any]:
    """Columns of all shards as the view has them, in the order of the rows: values, or tuples of several columns."""
    frames = [view.frame(shard, names) for shard in sorted(view.store.shard_rows())]
    rows = pl.concat(frames).rows()
    return [row[0] for row in rows] if len(names) == 1 else rows


def ledger(view: View) -> pl.DataFrame:
    """uid, kept, dropped_by, reason of every row."""
    assert view.keep is not None
    return view.store.scan(view.keep).collect()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a real S3 API on this machine."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{address}/moto-api/data.json", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """`s3://` URL of an empty bucket; this process and its children find the server by their environment."""
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"bucket-{abs(hash(request.node.nodeid)) % 10**10}"
    s3fs.S3FileSystem().mkdir(bucket)
    return f"s3://{bucket}"


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Cluster]:
    """A real Ray with two workers, which find the modules of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", importable())
        cluster = Cluster(workers=2)
        cluster.start()
    yield cluster
    cluster.stop()
