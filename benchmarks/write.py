"""Samples and megabytes a second of one core: our tar writer and shard writer beside webdataset's, and the limit.

    python benchmarks/write.py [--sizes 10 30 100] [--megabytes 40]

First the archive alone, from samples in memory (image, caption, json): the limit, which is writing the same bytes to a
file one after the other, our tar writer, and `webdataset.TarWriter` with a fixed mtime and as it comes. Then the whole
step from stored images to a finished shard: the limit, which is copying and hashing the same bytes; our WriteShard,
which also reads the columns, makes the json, writes the parquet and hashes every byte; and webdataset reading a tar and
writing it again, which does none of that. They run in turn in one process and all end on the disk (fsync). Last the
store verified, beside sha256 of the same archive alone. The order of merit is processor time, so that other work on the
machine counts less; wall time is beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import webdataset
from PIL import Image
from run import hardware

from curate.cluster.cluster import Cluster
from curate.messages.remarks import Remarks
from curate.read.options import ReadOptions
from curate.read.step import read
from curate.store.store import Store
from curate.store.tar import TarFile
from curate.store.verify import verify
from curate.store.view import View
from curate.write.one_shard import WriteShard
from curate.write.plan import Piece
from curate.write.shard_columns import columns_to_write

MEMBERS = ("jpg", "txt", "json")

Sample = dict[str, Any]
#: Name, and what writes all samples to a file that is opened for it.
Runner = tuple[str, Callable[[Path], None]]


def main() -> None:
    options = parse()
    print(hardware("webdataset"))
    for kilobytes in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            one_size(Path(folder), kilobytes, options)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 30, 100], help="kilobytes of an image")
    parser.add_argument("--megabytes", type=int, default=40, help="images of one shard, in all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where the shards go for a moment; default: the system's place")
    return parser.parse_args()


def one_size(folder: Path, kilobytes: int, options: argparse.Namespace) -> None:
    rows = max(1, options.megabytes * 1000 // kilobytes)
    samples = make_samples(rows, kilobytes * 1000)
    payload = sum(len(s[end]) for s in samples for end in MEMBERS)
    print(f"\n{rows:,} samples, images of {kilobytes} KB, {payload / 1e6:.0f} MB")
    archive = archives(samples)
    report("the archive alone", folder, archive, rows, payload, options.rounds)
    view = stored(folder, samples)
    report("the whole step", folder, whole(view, folder / "input.tar", rows), rows, payload, options.rounds)
    report("the store verified", folder, verified(view, folder / "input.tar"), rows, payload, options.rounds)


def make_samples(rows: int, size: int) -> list[Sample]:
    rng = np.random.default_rng(0)
    picture = io.BytesIO()
    Image.new("RGB", (64, 48)).save(picture, "JPEG")
    head = picture.getvalue()  # what follows it is random: no file system can make it smaller
    samples = []
    for number in range(rows):
        text = f"a photo of thing number {number}, seen from the other side of a wide street"
        about = {"url": f"https://example.com/pictures/{number}.jpg", "width": 640, "score": number / rows}
        image = head + rng.bytes(size - len(head))
        samples.append({"key": f"{number:09d}", "jpg": image, "txt": text.encode(), "json": json.dumps(about).encode()})
    return samples


def synced(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def as_it_is(sample: Sample) -> Sample:
    """For TarWriter: the members are bytes already."""
    return sample


def archives(samples: list[Sample]) -> list[Runner]:
    def plain(target: Path) -> None:
        with target.open("wb") as file:
            for sample in samples:
                for end in MEMBERS:
                    file.write(sample[end])
            synced(file)

    def ours(target: Path) -> None:
        with target.open("wb") as file:
            tar = TarFile(file)
            for sample in samples:
                for end in MEMBERS:
                    tar.add(f"{sample['key']}.{end}", sample[end])
            tar.close()
            synced(file)

    def theirs(**options: Any) -> Callable[[Path], None]:
        def go(target: Path) -> None:
            with target.open("wb") as file:
                with webdataset.TarWriter(file, encoder=as_it_is, **options) as tar:
                    for sample in samples:
                        tar.write({"__key__": sample["key"], **{end: sample[end] for end in MEMBERS}})
                synced(file)

        return go

    return [
        ("limit: plain writes", plain),
        ("curate.store.tar", ours),
        ("TarWriter, mtime=0", theirs(mtime=0)),
        ("TarWriter, as it comes", theirs()),
    ]


def stored(folder: Path, samples: list[Sample]) -> View:
    """A store whose images came with the input."""
    with (folder / "input.tar").open("wb") as file:
        tar = TarFile(file)
        for sample in samples:
            for end in MEMBERS:
                tar.add(f"{sample['key']}.{end}", sample[end])
        tar.close()
    options = ReadOptions(input=str(folder / "input.tar"), rows_per_shard=10_000)
    return read(Store(str(folder / "store")), options, Cluster(workers=0))


def whole(view: View, source: Path, rows: int) -> list[Runner]:
    columns = columns_to_write(view, None, (), Remarks())
    pieces = [[Piece(shard, 0, count) for shard, count in view.store.shard_rows().items()]]

    def copy(target: Path) -> None:
        digest = hashlib.sha256()
        with source.open("rb") as taken, target.open("wb") as file:
            while block := taken.read(1 << 16):
                digest.update(block)
                file.write(block)
            synced(file)

    def ours(target: Path) -> None:
        done = WriteShard(view, str(target.parent), pieces, columns, 10_000)(0)
        if done["rows"] != rows:
            raise SystemExit(f"{done['rows']} samples were written, not {rows}")

    def theirs(target: Path) -> None:
        with target.open("wb") as file:
            with webdataset.TarWriter(file, encoder=as_it_is, mtime=0) as tar:
                for sample in webdataset.WebDataset(str(source), shardshuffle=False, empty_check=False):
                    tar.write({name: sample[name] for name in ("__key__", *MEMBERS)})
            synced(file)

    return [
        ("limit: copy and sha256", copy),
        ("curate WriteShard", ours),
        ("webdataset, mtime=0", theirs),
    ]


def verified(view: View, source: Path) -> list[Runner]:
    """They write nothing: their target stays empty."""

    def alone(target: Path) -> None:
        target.touch()
        digest = hashlib.sha256()
        with source.open("rb") as taken:
            while block := taken.read(1 << 20):
                digest.update(block)

    def ours(target: Path) -> None:
        target.touch()
        verify(view.store.url)

    return [("limit: sha256 alone", alone), ("curate verify", ours)]


def report(title: str, folder: Path, runners: list[Runner], rows: int, payload: int, rounds: int) -> None:
    """Alternating rounds, so that a slow minute of the machine falls on all; medians."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name, _ in runners}
    beside: dict[str, str] = {}
    for number in range(rounds + 1):
        for name, run in runners:
            target = folder / "00000.tar"
            wall, cpu = time.perf_counter(), time.process_time()
            run(target)
            spent = time.process_time() - cpu, time.perf_counter() - wall
            if number:  # the first round fills caches
                took[name].append(spent)
            beside[name] = f"{(target.stat().st_size - payload) / rows:,.0f} bytes a sample beside its files, "
            target.unlink()
    ours = next(statistics.median(c for c, _ in took[name]) for name in took if name.startswith("curate"))
    print(f"  {title:24} samples/s/core   MB/s/core   MB/s by the clock")
    for name, spent in took.items():
        cpu = statistics.median(c for c, _ in spent)
        wall = statistics.median(w for _, w in spent)
        print(
            f"  {name:24} {rows / cpu:14,.0f} {payload / cpu / 1e6:11,.0f} {payload / wall / 1e6:13,.0f}       "
            f"{beside[name] if 'archive' in title else ''}curate is {cpu / ours:.2f}x"
        )


if __name__ == "__main__":
    main()
