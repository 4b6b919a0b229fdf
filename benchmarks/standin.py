"""How busy score.clip keeps a GPU, without one: a stand-in device is busy as long as an H100 would be.

    python benchmarks/standin.py [--rows-per-shard 10000] [--shards 2] [--size-px 512] [--cores-for-it 14] [--rounds 1]

All of the pass is the product's own: tars are read, images decoded and resized, captions tokenized, batches filled into
kept buffers, vectors and cosines made, parts written. Only the two towers of ViT-B/32 are a clock: 4.4 GMAC an image,
3.0 a caption of 77 tokens and less for one that is cut behind its end. Work is queued, as on CUDA, and whoever fetches
a result sleeps until the clock says that it is there. The copy to the device itself takes no time.

`--rate` pairs a second (10,000) want `--cores-for-it` cores that decode; this machine has fewer, and the device is as
many times slower. Pictures are few, drawn, and repeated. Printed: rows a second over the device's own ceiling, and
where it waited: between shards, or between batches.

Cores that are busy with other work make the pictures the limit: they are measured alone before each round, and the
second ratio is over the lower of the two limits. Seconds of the processor say what quiet cores would do.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from PIL import Image
from run import hardware
from score import op_of, pictures, quiet, tiny

from curate.annotate.meter import Spent
from curate.annotate.step import annotate
from curate.cluster.cluster import Cluster
from curate.demo import scenes
from curate.models.encoder import Encoder
from curate.models.pixels import Pixels
from curate.models.text_tower import TextTower
from curate.op import Rows, Score
from curate.pictures.decoded import Decoded, decode
from curate.read.step import ReadOptions, read
from curate.store.store import Store
from curate.store.tar import TarFile
from curate.store.view import View

HERE = Cluster(workers=0)

#: 10^9 multiplications of ViT-B/32: of an image, of a caption of the whole context, and the length most captions have.
IMAGE, TEXT, CONTEXT, USUAL = 4.4, 3.0, 77, 16
DIMENSIONS = 512
DISTINCT = 100


@dataclass
class Device:
    """Has work queued that takes so long at `speed` (10^9 multiplications a second), and notes when it is at it.

    A lane, too (`curate.models.feed`): what comes up is not looked at, what goes down is there when its work is done.
    """

    speed: float
    calls: list[tuple[float, float, int]] = field(default_factory=list)
    free_at: float = 0.0

    def works(self, rows: int, each: float, images: int) -> Any:
        start = max(time.perf_counter(), self.free_at)
        self.free_at = start + rows * each / self.speed
        self.calls.append((start, self.free_at, images))
        return torch.ones(rows, DIMENSIONS)

    def images(self, batch: Any, normalize: bool = False) -> Any:
        return self.works(len(batch), IMAGE, len(batch))

    def buffer(self, shape: Sequence[int], dtype: Any) -> Any:
        return torch.empty(tuple(shape), dtype=dtype)

    def up(self, rows: Any) -> tuple[Any, Callable[[], None]]:
        return rows.to("meta"), lambda: None

    def down(self, tensor: Any) -> Callable[[], Any]:
        ready = self.free_at

        def result() -> Any:
            time.sleep(max(0.0, ready - time.perf_counter()))
            return tensor

        return result


class Texts:
    """The text tower on the device: captions are cut as they are for a GPU."""

    def __init__(self, tower: TextTower, device: Device):
        self.tower, self.device = tower, device

    def pieces(self, tokens: Any, size: int) -> Any:
        return self.tower.pieces(tokens, len(tokens))

    def __call__(self, tokens: Any, normalize: bool = False) -> Any:
        return self.device.works(len(tokens), TEXT * tokens.shape[1] / CONTEXT, 0)


class Nothing(Score):
    """Looks at no pixel."""

    def reads(self) -> tuple[str, ...]:
        return ("image",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"nothing": pa.uint8()}

    def prepare_image(self, decoded: Decoded) -> int:
        return 0

    def batch(self, rows: Rows) -> dict[str, Any]:
        return {"nothing": rows.images}


def frame(options: argparse.Namespace) -> None:
    """Print the processor's time that a pass takes for an image, without decoding."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    rows = options.shards * options.rows_per_shard
    with tempfile.TemporaryDirectory() as name:
        write_tars(Path(name), [(buffer.getvalue(), b"a")], options)
        for _ in range(2):  # the first warms up
            view = store(Path(name), options.rows_per_shard)
            began = time.process_time()
            with quiet():
                annotate(view, [Nothing()], HERE)
            whole = time.process_time() - began
    began = time.process_time()
    for _ in range(rows):
        decode(buffer.getvalue())
    alone = time.process_time() - began
    each = (whole - alone) / rows * 1e6
    print(f"{each:.1f} microseconds of the processor an image beside decoding ({alone / rows * 1e6:.1f})")


def main() -> None:
    options = parse()
    print(hardware("torch", "open_clip_torch"))
    if options.frame:
        frame(options)
        return
    scale = options.cores / options.cores_for_it
    device = Device(options.rate * scale * (IMAGE + TEXT * USUAL / CONTEXT))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options.model = tiny(folder)
        encoder = stand_in(options, device)
        write_tars(folder, drawn_pairs(options), options)
        taken = []
        for _ in range(options.rounds):
            one = measured(lambda view: pictures(view, options), folder, options)
            device.calls.clear()
            device.free_at = 0.0
            whole = measured(lambda view: annotate(view, [op_of(options)], HERE), folder, options)
            taken.append((one, whole, waits(device, options)))
    assert encoder.batch_size == options.batch
    said(sorted(taken, key=lambda one: one[1].wall)[len(taken) // 2], options)


def measured(work: Callable[[View], object], folder: Path, options: argparse.Namespace) -> Spent:
    """Seconds of some work on a new store."""
    view = store(folder, options.rows_per_shard)
    began = Spent.now()
    with quiet():
        work(view)
    return Spent.now().since(began)


@dataclass
class Waits:
    """Seconds of the device: at work, and idle between shards, between batches."""

    busy: float
    shards: float = 0.0
    batches: float = 0.0


def waits(device: Device, options: argparse.Namespace) -> Waits:
    waited, images = Waits(sum(end - start for start, end, _ in device.calls)), 0
    for (_, end, done), (start, _, _) in zip(device.calls, device.calls[1:], strict=False):
        images += done
        # Captions of the shard's last batch come behind its images.
        if images and images % options.rows_per_shard == 0 and done == 0:
            waited.shards += start - end
        else:
            waited.batches += start - end
    return waited


def said(taken: tuple[Spent, Spent, Waits], options: argparse.Namespace) -> None:
    alone, whole, device = taken
    rows = options.shards * options.rows_per_shard
    ceiling, limit, rate = rows / device.busy, rows / alone.wall, rows / whole.wall
    size = f"{options.rows_per_shard:,} rows, {options.size_px} px, batches of {options.batch}"
    print(f"{options.shards} shards of {size}; the middle one of {options.rounds} rounds")
    print(f"  {rate:,.0f} rows/s of the device's {ceiling:,.0f}: {rate / ceiling:.2f} of its ceiling")
    print(f"  pictures alone {limit:,.0f}/s; {rate / min(limit, ceiling):.2f} of the lower of the two limits")
    each = [1000 * spent.cpu / rows for spent in (whole, alone)]
    print(f"  {each[0]:.2f} ms of the processor a row, {each[1]:.2f} of them the pictures alone:", end=" ")
    quiet_rate = 1000 * options.cores / each[0]
    print(f"{options.cores} quiet cores give {min(1.0, quiet_rate / ceiling):.2f} of the ceiling at most")
    outside = whole.wall - device.busy - device.shards - device.batches
    print(f"  the device waited {device.shards:.2f} s between shards and {device.batches:.2f} s between batches,")
    steady = device.busy / (device.busy + device.shards + device.batches)
    print(f"  so it was busy for {steady:.2f} of the time from its first batch to its last,")
    print(f"  of {whole.wall:.1f} s in all; {outside:.2f} s before its first batch and behind its last")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows-per-shard", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--size-px", type=int, default=512)
    parser.add_argument("--rate", type=float, default=10_000, help="pairs a second of the device")
    parser.add_argument("--cores-for-it", type=float, default=14, help="cores that feed so many")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--frame", action="store_true", help="what a pass itself takes for an image")
    parser.set_defaults(device="auto", precision="fp32", resize="torch", compile=False, model="")
    return parser.parse_args()


def stand_in(options: argparse.Namespace, device: Device) -> Encoder:
    """The encoder that the op finds in this process: its towers are the device's, its batches those of a GPU."""
    encoder = Encoder.shared(options.model, "auto", precision="fp32", resize="torch")
    encoder._lane = device
    encoder.pixels = Pixels(encoder.preprocess, "meta", fast=True, lane=device)
    encoder.batch_size = options.batch
    encoder._text_tower = Texts(TextTower(encoder.model), device)  # type: ignore[assignment]
    encoder._image_tower = device.images
    return encoder


def drawn_pairs(options: argparse.Namespace) -> list[tuple[bytes, bytes]]:
    """JPEG and caption of drawn pictures."""
    rng, pairs = random.Random(1), []
    for _ in range(DISTINCT):
        size_px = (rng.randint(options.size_px, options.size_px * 3 // 2), options.size_px)
        image, text, _ = scenes.draw(rng, size_px=size_px)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        pairs.append((buffer.getvalue(), text.encode()))
    return pairs


def write_tars(folder: Path, pairs: list[tuple[bytes, bytes]], options: argparse.Namespace) -> None:
    for shard in range(options.shards):
        with (folder / f"{shard:05d}.tar").open("wb") as file, contextlib.closing(TarFile(file)) as tar:
            for number in range(options.rows_per_shard):
                image_file, text_file = pairs[number % len(pairs)]
                tar.add(f"{number:06d}.jpg", image_file)
                tar.add(f"{number:06d}.txt", text_file)


def store(folder: Path, rows_per_shard: int) -> View:
    options = ReadOptions(input=f"{folder}/*.tar", rows_per_shard=rows_per_shard)
    with quiet():
        return read(Store(tempfile.mkdtemp(dir=folder)), options, HERE)


if __name__ == "__main__":
    main()
