"""Megabytes a second of stored images from an object store that answers late: ours beside one handle, member by member.

    python benchmarks/object_store.py [--late 0.05] [--rate 80] [--images 3000] [--each 20] [--rounds 3]

The server is a real S3 API (moto) in a process of its own here, in which each request waits `--late` seconds, and each
answer comes at `--rate` megabytes a second, as one stream of S3 does (50 to 90). The limit of one stream is the whole
tar in one request. Ways run in turn, and their bytes are compared first. A handle is what curate had before: fsspec's,
which asks for 50 MB whenever it is asked for more than it has. Then the same where only every n-th image is asked for,
as behind a filter.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import s3fs
import xxhash
from PIL import Image
from run import hardware

from curate.cluster.cluster import Cluster
from curate.read.step import ReadOptions, read
from curate.store.images import ImageReader
from curate.store.store import Store
from curate.store.tar import TarFile
from curate.store.view import View

SERVER = Path(__file__).parent.parent / "tests" / "late_s3.py"
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}


def main() -> None:
    options = parse()
    print(hardware("s3fs", "aiobotocore", "moto"))
    server = subprocess.Popen(
        [sys.executable, SERVER, str(options.late), str(options.rate)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        os.environ.update(KEYS, AWS_ENDPOINT_URL=server.stdout.readline().strip(), NO_PROXY="127.0.0.1")  # type: ignore[union-attr]
        with tempfile.TemporaryDirectory() as folder:
            view = stored(Path(folder), options)
            for each in sorted({1, options.each}):
                compare(view, each, options)
    finally:
        server.stdin.close()  # type: ignore[union-attr]
        server.wait()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--late", type=float, default=0.05, help="seconds that each request waits")
    parser.add_argument("--rate", type=float, default=80, help="megabytes a second of one answer")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--kilobytes", type=int, default=37, help="of an image")
    parser.add_argument("--each", type=int, default=20, help="beside all images, only every so many-th")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def stored(folder: Path, options: argparse.Namespace) -> View:
    """A store here whose images lie in one tar in S3."""
    random, picture = np.random.default_rng(1), io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG")
    with (folder / "00000.tar").open("wb") as file:
        tar = TarFile(file)
        for number in range(options.images):
            tar.add(f"{number:06d}.jpg", picture.getvalue() + random.bytes(options.kilobytes * 1000))
            tar.add(f"{number:06d}.txt", b"a caption")
        tar.close()
    fs = s3fs.S3FileSystem()
    fs.mkdir("images")
    fs.put_file(str(folder / "00000.tar"), "images/00000.tar")
    with contextlib.redirect_stderr(io.StringIO()):
        return read(Store(f"{folder}/store"), ReadOptions(input="s3://images/*.tar"), Cluster(workers=0))


def compare(view: View, each: int, options: argparse.Namespace) -> None:
    rows = range(0, options.images, each)
    ways: dict[str, Callable[[View, Sequence[int]], Iterator[bytes | memoryview]]] = {
        "one stream": limit,
        "one handle": handle,
        "curate": ours,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    size, digests = 0, set()
    for _ in range(options.rounds):
        for name, way in ways.items():
            digest = xxhash.xxh3_128()
            began, busy = time.perf_counter(), time.process_time()
            blocks = list(way(view, rows))
            seconds[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - busy)
            for block in blocks:
                digest.update(block)
            if name != "one stream":
                size = sum(map(len, blocks))
                digests.add(digest.hexdigest())
    if len(digests) != 1:
        raise SystemExit("the bytes differ")
    which = "all images" if each == 1 else f"every {each}th image"
    print(
        f"\n{which}: {len(rows):,} of {size / len(rows) / 1000:.0f} KB, same bytes, medians of {options.rounds} rounds"
    )
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, taken in middle.items():
        told = f"{size / taken / 1e6:6.1f} MB/s, " if name != "one stream" else " " * 13
        print(f"  {name:10} {taken:6.2f} s  {told}{middle['one handle'] / taken:.2f}x of one handle, ", end="")
        print(f"{statistics.median(processor[name]):.2f} s of the processor")


def limit(view: View, rows: Sequence[int]) -> Iterator[bytes]:
    """The whole tar in one request."""
    yield s3fs.S3FileSystem().cat_file("images/00000.tar", start=0, end=10**12)


def handle(view: View, rows: Sequence[int]) -> Iterator[bytes]:
    where = ImageReader(view.store, str(view.images), 0).where
    with s3fs.S3FileSystem().open("images/00000.tar", "rb") as file:
        for row in rows:
            file.seek(where["offset"][row])
            yield file.read(where["size"][row])


def ours(view: View, rows: Sequence[int]) -> Iterator[bytes | memoryview]:
    reader = ImageReader(view.store, str(view.images), 0)
    reader.coming(rows)
    for row in rows:
        data = reader.bytes(row)
        assert data is not None
        yield data
    reader.close()


if __name__ == "__main__":
    main()
