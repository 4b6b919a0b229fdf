"""Images a second of one core: our downloader beside img2dataset's, and what each does with urls that fail.

    python benchmarks/download.py [--rows 600] [--rounds 3] [--delay-seconds 0.05] [--skip-failures]
    python benchmarks/download.py --faulty 0 0.1 0.4 [--rows 10000]
    python benchmarks/download.py --names
    python benchmarks/download.py --packed
    python benchmarks/download.py --connections

Both get the same urls of the same server (a process of its own on this machine), 64 requests at a time, the same resize
options, sha256, one process, and write a tar and a parquet. Ours is DownloadShard without Ray; theirs is
`img2dataset.download` as a whole, except that its shards are worked on in this process instead of its pool of one, so
that the two can be timed alike, and that its log process is left out; both favour it. The limit is img2dataset's
resizer on the same files in memory: decoding, resizing and encoding alone. Ours runs once more with
`disable_all_reencoding`, which keeps every file: fetch, status and tar without picture work. They run in turn.

Images a second of a core are those by processor time: with a server and a downloader on a small machine, wall time says
more about the server. The failures go through both once, with two retries and a timeout of two seconds, all rows at
the same time; img2dataset has no limit on time or size as a whole, so a slow drip lasts until the server ends it, after
a minute.

`--faulty` gives both the same urls, of which such a share fails in one of these ways: images by the clock and by the
processor, how many came of those that are good, and requests a url.

`--names` is another question: 1,000 names that no name server answers for among 1,000 that are answered at once, all
looked up together, by c-ares and by threads. The threads' getaddrinfo waits ten seconds for a dead name, as glibc's
does (5 s, twice); c-ares asks a name server of this process.

`--packed` neither: one body of 50 MB, packed by gzip, beside 100 small ones of one server: for how long the event loop
stands still at most, unpacking in it and in a thread.

`--connections`: how many connections 100 urls of one TLS host take, as its server counts them, by ours (16 turns) and
by img2dataset (64 threads, a connection for each request); the server says `keep-alive`, as nginx and Apache do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import importlib
import io
import multiprocessing
import os
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for its newest version

import numpy as np
import polars as pl
from img2dataset import resizer as their_resizer
from PIL import Image
from run import hardware, serving

from curate.cluster.cluster import Cluster
from curate.demo.server import stats
from curate.download import answer_body
from curate.download.fetch import FetchOptions, fetch
from curate.download.lookups import Ares, Threads
from curate.download.one_shard import DownloadShard
from curate.download.options import DownloadOptions
from curate.download.step import folder_of
from curate.read.options import ReadOptions
from curate.read.step import read
from curate.store.store import Store

THREADS = 64
PICTURES = 64
RESIZE: dict[str, Any] = {"image_size": 256, "resize_mode": "keep_ratio", "resize_only_if_bigger": True}
#: Name in the table, and behaviour of the server.
FAILURES = {
    "a good one": "ok",
    "404": "404",
    "410": "410",
    "500": "500",
    "web page instead": "html",
    "page called jpeg": "html-as-jpeg",
    "empty": "empty",
    "use for AI forbidden": "noai",
    "half a file": "truncated",
    "connection cut": "cut",
    "24 MB, length said": "large-declared",
    "24 MB, length not said": "large",
    "slow drip": "slow",
}
#: img2dataset points file descriptors 1 and 2 at /dev/null during every image; ours takes that out where it runs.
_THEIR_SILENCE = their_resizer.SuppressStdoutStderr

Result = dict[str, Any]


def main() -> None:
    options = parse()
    for asked, what in ((options.names, names), (options.packed, packed), (options.connections, connections)):
        if asked:
            what()
            return
    print(hardware("img2dataset", "aiohttp", "opencv-python-headless"))
    if options.faulty:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            draw(Path(name) / "pool" / "files")
            for share in options.faulty:
                faulty(Path(name), options.rows, share)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        sizes = draw(folder / "pool" / "files")
        with serving(folder / "pool", options.delay_seconds) as base_url:
            # The query makes every url another one: ours asks only once for equal ones.
            urls = [f"{base_url}/ok/{n % PICTURES}.jpg?n={n}" for n in range(options.rows)]
            print(f"{len(urls):,} urls, JPEG of {statistics.mean(sizes) / 1000:.0f} KB, 640 x 480, to {RESIZE}")
            speed(folder, urls, options.rounds)
        if not options.skip_failures:
            failures(folder)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay-seconds", type=float, default=0.0, help="what the server waits before every answer")
    parser.add_argument("--skip-failures", action="store_true")
    parser.add_argument("--faulty", type=float, nargs="*", default=[], help="shares of urls that fail")
    parser.add_argument("--names", action="store_true", help="lookups of names, living and dead, instead")
    parser.add_argument("--packed", action="store_true", help="a large packed body beside small ones, instead")
    parser.add_argument("--connections", action="store_true", help="connections that a host sees, instead")
    parser.add_argument("--folder", help="where the temporary files go; default: the system's place")
    return parser.parse_args()


def draw(folder: Path) -> list[int]:
    """Noise at many scales, which a JPEG takes about as hard as a photo; returns the files' sizes."""
    folder.mkdir(parents=True)
    rng, sizes = np.random.default_rng(0), []
    for number in range(PICTURES):
        total = np.zeros((480, 640, 3))
        for scale, weight in ((5, 90), (20, 45), (80, 25), (320, 14)):
            rough = Image.fromarray(rng.integers(0, 255, (scale * 3 // 4, scale, 3), np.uint8))
            total += (np.asarray(rough.resize((640, 480), Image.Resampling.BICUBIC), float) - 127) * weight / 127
        buffer = io.BytesIO()
        Image.fromarray((total + 127).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
        sizes.append((folder / f"{number}.jpg").write_bytes(buffer.getvalue()))
    return sizes


# ---- connections ----


def connections() -> None:
    body = io.BytesIO()
    Image.new("RGB", (300, 300)).save(body, "JPEG")
    with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ, SSL_CERT_FILE=f"{name}/certificate.pem"):
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        make += [
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            f"{name}/key.pem",
            "-out",
            f"{name}/certificate.pem",
        ]
        subprocess.run(make, check=True, capture_output=True)
        count = multiprocessing.get_context("fork").Value("i", 0)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(f"{name}/certificate.pem", f"{name}/key.pem")
        with answering(lambda path: (body.getvalue(), "identity"), tls, count) as base:
            for who, fetched in (("curate", partial(ours, per_host=16)), ("img2dataset", theirs)):
                count.value = 0
                rows = fetched(Path(name) / who, [f"{base}/{number}" for number in range(100)])["rows"]
                images = rows.filter(pl.col("status") == "success").height
                print(f"{who:12} {images} images of 100 urls, {count.value} connections")


# ---- a large packed body ----


def packed() -> None:
    large = gzip.compress(np.random.default_rng(0).integers(0, 16, 50_000_000, np.uint8).tobytes(), 1)
    small, urls = b"\xff\xd8" + bytes(30_000), ["/large", *(f"/small/{number}" for number in range(100))]
    print(f"{'unpacking':20}{'longest stall, ms':>20}{'small ones there, s':>22}{'all, s':>10}")
    with answering(lambda path: (large, "gzip") if path == "/large" else (small, "identity")) as base:
        for _ in range(3):
            for way, here in (("in the event loop", 1 << 40), ("in a thread", None)):
                patches = [mock.patch.object(answer_body, name, here) for name in ("_PACKED_HERE", "_UNPACKED_HERE")]
                with contextlib.ExitStack() as stack:
                    for patch in patches if here else ():
                        stack.enter_context(patch)
                    spent = asyncio.run(stalled([base + url for url in urls]))
                print(f"{way:20}{1000 * spent[0]:20.0f}{spent[1]:22.2f}{spent[2]:10.2f}")


async def stalled(urls: list[str]) -> tuple[float, float, float]:
    """The longest time between two turns of the event loop, and seconds until the second last and the last answer."""
    options = FetchOptions(allow_private_addresses=["127.0.0.0/8"], max_bytes=60_000_000, timeout_seconds=60)
    longest, ticked = 0.0, time.monotonic()

    async def tick() -> None:
        nonlocal longest, ticked
        while True:
            longest, ticked = max(longest, time.monotonic() - ticked), time.monotonic()
            await asyncio.sleep(0.001)

    ticking, began, times = asyncio.create_task(tick()), time.monotonic(), []
    async for _, answer in fetch(urls, options):
        assert answer.status == "success", answer
        times.append(time.monotonic() - began)
    ticking.cancel()
    return longest, times[-2], times[-1]


@contextlib.contextmanager
def answering(
    answer: Callable[[str], tuple[bytes, str]], tls: ssl.SSLContext | None = None, count: Any = None
) -> Iterator[str]:
    """A server in a process of its own: `answer` gives body and coding for a path; `count` grows by each connection."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=200)
    child = multiprocessing.get_context("fork").Process(
        target=_answers, args=(listening, answer, tls, count), daemon=True
    )
    child.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        child.kill()
        child.join()
        listening.close()


def _answers(
    listening: socket.socket, answer: Callable[[str], tuple[bytes, str]], tls: ssl.SSLContext | None, count: Any
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if count is not None:
            count.value += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
                body, coding = answer(path) if path != "/robots.txt" else (b"", "identity")
                sizes = f"Content-Length: {len(body)}\r\nContent-Encoding: {coding}"
                writer.write(f"HTTP/1.1 200 OK\r\n{sizes}\r\nConnection: keep-alive\r\n\r\n".encode() + body)
                await writer.drain()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(talk, sock=listening, ssl=tls) as server:
            await server.serve_forever()

    asyncio.run(serve())


# ---- names ----


def names() -> None:
    living, dead = ([f"{kind}{number}.test" for number in range(1000)] for kind in ("live", "dead"))
    print(f"{'':10}{'living, s':>12}{'all, s':>10}{'cpu, s':>10}{'threads':>10}")
    for way in ("c-ares", "threads"):
        spent = asyncio.run(looked_up(way, living, dead))
        print(f"{way:10}{spent[0]:12.2f}{spent[1]:10.2f}{spent[2]:10.2f}{spent[3]:10}")


async def looked_up(way: str, living: list[str], dead: list[str]) -> tuple[float, float, float, int]:
    """Seconds until the living names are known, until all are, of the processor, and threads at that moment."""
    with name_server() as place, mock.patch("socket.getaddrinfo", slow_getaddrinfo):
        lookups = Ares([place]) if way == "c-ares" else Threads()
        began, cpu = time.monotonic(), time.process_time()
        pairs = zip(dead, living, strict=True)
        tasks = {name: asyncio.create_task(lookups.ask(name, 10.0)) for pair in pairs for name in pair}
        await asyncio.gather(*(tasks[name] for name in living))
        known = time.monotonic() - began
        await asyncio.wait(tasks.values())
        spent = known, time.monotonic() - began, time.process_time() - cpu, threading.active_count()
        assert all(tasks[name].exception() for name in dead)
        await lookups.close()
    return spent


def slow_getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
    if host.startswith("dead"):
        time.sleep(10)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]


@contextlib.contextmanager
def name_server() -> Iterator[str]:
    """Answers for names that begin with `live`, and is silent for others."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    server.bind(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                question, sender = server.recvfrom(4096)
                end = question.index(b"\0", 12) + 5
                if question[13:17].lower() == b"live":
                    is_a = question[end - 4 : end - 2] == b"\x00\x01"
                    body = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1" if is_a else b""
                    head = question[:2] + b"\x85\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + bytes(4)
                    server.sendto(head + question[12:end] + body, sender)

    threading.Thread(target=answer, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()


# ---- the two downloaders ----


def ours(folder: Path, urls: list[str], **more: Any) -> Result:
    """One shard through DownloadShard: seconds, processor seconds, and a row of {url, status, message} for each url."""
    store = Store(str(folder / "store"))
    view = read(store, ReadOptions(input=str(listed(folder, urls)), rows_per_shard=10_000), Cluster(workers=0))
    # All urls are of one host here.
    given = {"concurrency": THREADS, "per_host": THREADS, "allow_private_addresses": ["127.0.0.0/8"], **RESIZE, **more}
    options = DownloadOptions(**given)
    their_resizer.SuppressStdoutStderr = contextlib.nullcontext
    work = DownloadShard(view, options, folder_of(options), 10_000)
    work.setup()
    with timed() as result:
        work(0)
    about = store.scan(folder_of(options)).select("status", message="error_message").collect()
    return result | {"rows": about.with_columns(store["records"].select("url").collect())}


def theirs(folder: Path, urls: list[str], **more: Any) -> Result:
    """The same of img2dataset.download."""
    whole = importlib.import_module("img2dataset.main")
    result: Result = {}

    def here(_: int, downloader: Callable[[Any], Any], reader: Iterable[Any], *__: Any) -> None:
        with timed() as spent:
            for shard in reader:
                if not downloader(shard)[0]:
                    raise SystemExit("img2dataset could not finish a shard")
        result.update(spent)

    whole.multiprocessing_distributor, whole.LoggerProcess = here, NoLog
    their_resizer.SuppressStdoutStderr = _THEIR_SILENCE
    with contextlib.redirect_stdout(io.StringIO()):
        whole.download(
            str(listed(folder, urls)),
            output_folder=str(folder / "shards"),
            input_format="parquet",
            caption_col="text",
            output_format="webdataset",
            processes_count=1,
            thread_count=THREADS,
            extract_exif=False,
            **RESIZE,
            **more,
        )
    return result | {"rows": pl.read_parquet(folder / "shards" / "00000.parquet").rename({"error_message": "message"})}


def resizer_alone(folder: Path, urls: list[str]) -> Result:
    """The pixels alone: no network, no hash, nothing stored."""
    resize = their_resizer.Resizer(
        upscale_interpolation="lanczos",
        downscale_interpolation="area",
        encode_quality=95,
        encode_format="jpg",
        skip_reencode=False,
        **RESIZE,
    )
    bodies = {path: (folder.parent / "pool" / "files" / path).read_bytes() for path in map(file_of, urls)}
    their_resizer.SuppressStdoutStderr = contextlib.nullcontext
    with timed() as result:
        status = ["success" if resize(io.BytesIO(bodies[file_of(url)]))[5] is None else "failed" for url in urls]
    return result | {"rows": pl.DataFrame({"status": status})}


def file_of(url: str) -> str:
    return url.rpartition("/")[2].partition("?")[0]


class NoLog:
    """In place of img2dataset's log process."""

    def __init__(self, *_: Any) -> None:
        self.done_shards: set[int] = set()

    def start(self) -> None:
        pass

    def join(self) -> None:
        pass


@contextlib.contextmanager
def timed() -> Iterator[Result]:
    result: Result = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield result
    result |= {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def listed(folder: Path, urls: list[str]) -> Path:
    folder.mkdir(parents=True)
    pl.DataFrame({"url": urls, "text": [f"caption number {n}" for n in range(len(urls))]}).write_parquet(
        folder / "urls.parquet"
    )
    return folder / "urls.parquet"


# ---- the two sections ----


def speed(folder: Path, urls: list[str], rounds: int) -> None:
    """Alternating rounds, so that a slow minute of the machine falls on both; medians."""
    runners = {
        "limit: the resizer": resizer_alone,
        "curate": ours,
        "curate, files kept": partial(ours, disable_all_reencoding=True),
        "img2dataset": theirs,
    }
    runs: dict[str, list[Result]] = {name: [] for name in runners}
    for number in range(rounds + 1):
        for name, go in runners.items():
            some = urls if number else urls[:PICTURES]  # the first round loads and warms up
            result = go(folder / f"{name.replace(':', '')}-{number}", some)
            good = (result["rows"]["status"] == "success").sum()
            if good != len(some):
                raise SystemExit(f"{name} got {good} of {len(some)} images: {result['rows']}")
            if number:
                runs[name].append(result)
    cpu = {name: statistics.median(r["cpu"] for r in rs) for name, rs in runs.items()}
    for name, results in runs.items():
        seconds = statistics.median(r["seconds"] for r in results)
        spread = " to ".join(f"{len(urls) / f(r['cpu'] for r in results):,.0f}" for f in (max, min))
        print(
            f"  {name:18} {len(urls) / cpu[name]:7,.0f} images/s/core ({spread}), {len(urls) / seconds:7,.0f} images/s "
            f"by the clock; curate is {cpu[name] / cpu['curate']:.2f}x"
        )


def faulty(folder: Path, rows: int, share: float) -> None:
    """Both downloaders on urls of which a share fails, each from a server of its own."""
    draw_kind = np.random.default_rng(1)
    bad = list(FAILURES.values())[1:]
    kinds = [bad[draw_kind.integers(len(bad))] if draw_kind.random() < share else "ok" for _ in range(rows)]
    for name, go, more in (
        ("curate", ours, {"timeout_seconds": 2, "max_bytes": 10_000_000}),
        ("img2dataset", theirs, {"timeout": 2}),
    ):
        with serving(folder / "pool") as base_url:
            urls = [f"{base_url}/{kind}/{n % PICTURES}.jpg?n={n}" for n, kind in enumerate(kinds)]
            result = go(folder / f"faulty-{name}-{share}", urls, retries=2, **more)
            requests = stats(base_url)["requests"]
        images = (result["rows"]["status"] == "success").sum()
        print(
            f"  {share:4.0%} of {rows:,} fail: {name:12} {images:,} images of {kinds.count('ok'):,} good urls, "
            f"{result['seconds']:,.0f} s by the clock, {images / result['cpu']:,.0f} images/s/core, "
            f"{requests / rows:.2f} requests a url",
            flush=True,
        )


def failures(folder: Path) -> None:
    """Each downloader's status and requests for one url of every kind, from a server of its own."""
    seen = {}
    for name, go, more in (
        ("curate", ours, {"timeout_seconds": 2, "max_bytes": 10_000_000}),
        ("img2dataset", theirs, {"timeout": 2}),
    ):
        with serving(folder / "pool") as base_url:
            urls = {f"{base_url}/{behaviour}/0.jpg": label for label, behaviour in FAILURES.items()}
            result = go(folder / f"failures-{name}", list(urls), retries=2, **more)
            paths = stats(base_url)["paths"]
        rows = {urls[row["url"]]: row for row in result["rows"].iter_rows(named=True)}
        asked = {label: paths[f"/{behaviour}/0.jpg"]["requests"] for label, behaviour in FAILURES.items()}
        seen[name] = (result["seconds"], rows, asked)
    print("\nurls that fail, two retries: requests and outcome")
    print(f"  {'':24} {'curate':42} img2dataset")
    for label in FAILURES:
        cells = []
        for _, rows, asked in seen.values():
            row = rows[label]
            outcome = row["status"] if not row["message"] else f"{row['status']}: {row['message']}"
            cells.append(f"{asked[label]} x {outcome.splitlines()[0][:60]}")
        print(f"  {label:24} {cells[0][:40]:42} {cells[1]}")
    print("  seconds until all were done: " + ", ".join(f"{name} {s[0]:.1f}" for name, s in seen.items()))


if __name__ == "__main__":
    main()
