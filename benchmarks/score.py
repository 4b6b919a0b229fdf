"""Images a second of score.clip from tar to table, beside the model alone, a DataLoader and a loop row by row.

    python benchmarks/score.py [--model lite0-minilm] [--rows 400] [--device cpu] [--size-px 512] [--rounds 3]
    python benchmarks/score.py --model tiny --resize torch --rows 2000 --size-px 1024

The second has a model so small that pictures are the limit, as they are for a fast GPU. Pictures are drawn and stored
as JPEG in WebDataset tars. All ways read these tars, encode image and caption with the same loaded model on the same
number of threads, and run in turn in one process; cosines are compared first.

- the model alone: pixels and tokens are tensors on the device already. Nothing can be faster than this,
- nor than the pictures alone: read, decoded and prepared by as many threads, and no model.
- curate: `annotate` without Ray into a new store, with its table written.
- a DataLoader: as clip-retrieval does, Pillow and open_clip's preprocess in worker processes, batches to the model.
- row by row: as NeMo Curator's and Data-Juicer's simplest operators do.

Then what it costs to have five columns from pixels in one pass, and in five.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from run import hardware

from curate.annotate.ahead import Ahead
from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.cluster.nodes import feeding_threads
from curate.demo import scenes
from curate.models.encoder import Encoder
from curate.models.names import EMBEDDED
from curate.models.open_clip_import import open_clip
from curate.models.pixels import CPU_PIECE, CUDA_PIECE
from curate.op import Score
from curate.read.step import ReadOptions, read
from curate.store.images import ImageReader
from curate.store.store import Store
from curate.store.tar import TarFile
from curate.store.view import View

PIXEL_OPS: tuple[Any, ...] = (
    *({"score.phash": {"kind": kind}} for kind in ("phash", "dhash", "ahash")),
    "score.pixel_hash",
)
HERE = Cluster(workers=0)


def main() -> None:
    options = parse()
    print(hardware("torch", "open_clip_torch", "pillow"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        tars = make(folder, options.rows, options.rows_per_shard, options.size_px)
        print(f"{options.rows:,} pictures, short side {options.size_px} px, in {len(tars)} tars: drawn in", end=" ")
        print(f"{time.perf_counter() - start:.0f} s")
        if options.model == "tiny":
            options.model = tiny(folder)
        # One loaded model for all ways, held here: loading is in no number.
        encoder = Encoder.shared(options.model, options.device, precision=options.precision, resize=options.resize)
        torch.set_num_threads(options.threads)
        device = encoder.device.partition(":")[0]
        print(f"{options.model} on {device}, {encoder.precision}, {options.threads} thread(s) of the model on a CPU,")
        print(f"batches of {options.batch or encoder.batch_size}, resize: {options.resize}")
        speed(folder, tars, encoder, device, options)
        if not options.no_passes:
            passes(folder, tars, options)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default=EMBEDDED, help="as score.clip's; `ViT-B-32/random` needs no download; or tiny"
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument("--resize", default="auto", choices=["auto", "pillow", "torch"])
    parser.add_argument("--batch", type=int, default=0, help="rows at a time; 0 lets the model say")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--no-passes", action="store_true", help="leave out the five columns")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--rows-per-shard", type=int, default=200)
    parser.add_argument("--size-px", type=int, default=512, help="short side of the stored pictures")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of the model on a CPU, for all ways")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of the DataLoader")
    return parser.parse_args()


def tiny(folder: Path) -> str:
    """An open_clip model of one narrow layer each, with random weights: it costs next to nothing."""
    towers = {
        "vision_cfg": {"image_size": 224, "layers": 1, "width": 64, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
    }
    (folder / "tiny.json").write_text(json.dumps({"embed_dim": 64, **towers}))
    open_clip().add_model_config(folder / "tiny.json")
    return "tiny/random"


def make(folder: Path, rows: int, per_tar: int, size_px: int) -> list[Path]:
    """WebDataset tars of drawn pictures with captions."""
    rng, tars = random.Random(1), []
    for first in range(0, rows, per_tar):
        tars.append(folder / f"{first // per_tar:05d}.tar")
        with tars[-1].open("wb") as file:
            tar = TarFile(file)
            for number in range(first, min(rows, first + per_tar)):
                image, text, _ = scenes.draw(rng, size_px=(rng.randint(size_px, size_px * 3 // 2), size_px))
                buffer = io.BytesIO()
                image.save(buffer, "JPEG", quality=95)
                tar.add(f"{number:06d}.jpg", buffer.getvalue())
                tar.add(f"{number:06d}.txt", text.encode())
            tar.close()
    return tars


def pairs(tars: list[Path]) -> Iterator[tuple[bytes, str]]:
    for path in tars:
        with tarfile.open(path) as tar:
            image = b""
            for member in tar:
                data = tar.extractfile(member).read()  # type: ignore[union-attr]
                if member.name.endswith(".jpg"):
                    image = data
                else:
                    yield image, data.decode()


# ---- one model, four ways ----


def speed(folder: Path, tars: list[Path], encoder: Encoder, device: str, options: argparse.Namespace) -> None:
    batch = options.batch or encoder.batch_size
    # Finding the pictures in the tars is the step before; it reads no pixels.
    stores = iter([store(folder, tars) for _ in range(2 * options.rounds + 2)])
    ways: dict[str, Callable[[], np.ndarray | None]] = {
        "the model alone": alone(tars, encoder, batch, CPU_PIECE if device == "cpu" else CUDA_PIECE),
        "the pictures alone": lambda: pictures(next(stores), options),
        "curate": lambda: ours(next(stores), options),
        "a DataLoader": lambda: loader(tars, encoder, batch, options.workers),
        "row by row": lambda: rowwise(tars, encoder),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    first: np.ndarray | None = None
    for number in range(options.rounds + 1):  # the first round warms up and compares
        for name, way in ways.items():
            start = time.perf_counter()
            cosines = way()
            if number:
                seconds[name].append(time.perf_counter() - start)
            if number or cosines is None:
                continue
            first = cosines if first is None else first
            apart = float(np.abs(cosines - first).max())
            exact = encoder.precision == "fp32" and options.resize != "torch"
            if not apart < (1e-4 if exact else 2e-2):
                raise SystemExit(f"{name}: cosines differ by {apart:.2g}")
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(f"\nscore.clip, {options.rows:,} rows, medians of {options.rounds} rounds, same cosines")
    for name, taken in middle.items():
        spread = f"{options.rows / max(seconds[name]):,.1f} to {options.rows / min(seconds[name]):,.1f}"
        ratio = f"{middle['the model alone'] / taken:.2f} of the model alone"
        print(f"  {name:18} {options.rows / taken:9,.1f} images/s ({spread}), {ratio}; ", end="")
        print("curate itself" if name == "curate" else f"curate is {taken / middle['curate']:.2f}x")


def alone(tars: list[Path], encoder: Encoder, batch: int, piece: int) -> Callable[[], np.ndarray]:
    """All pixels and tokens as tensors on the device, then only the two towers."""
    import torch

    files, texts = zip(*pairs(tars), strict=True)
    pixels = [encoder.preprocess(rgb(file)) for file in files]
    images = [torch.stack(pixels[i : i + piece]).to(encoder.device) for i in range(0, len(pixels), piece)]
    # Cut behind their ends, as curate cuts them: the sums of padding are no limit.
    order, pieces = encoder._text_tower.pieces(encoder.tokens(texts), batch)
    tokens = [piece.to(encoder.device) for piece in pieces]

    def run() -> np.ndarray:
        image = encoder._vectors(encoder.model.encode_image, lambda: images)
        text = np.empty_like(image)
        text[order.numpy()] = encoder._vectors(encoder._text_tower, lambda: tokens)
        return np.asarray((image * text).sum(1))

    return run


def store(folder: Path, tars: list[Path]) -> View:
    return read(Store(tempfile.mkdtemp(dir=folder)), ReadOptions(input=f"{tars[0].parent}/*.tar"), HERE)


def op_of(options: argparse.Namespace) -> Score:
    how = {name: getattr(options, name) for name in ("model", "device", "precision", "resize", "compile")}
    op = load({"score.clip": {**how, "batch_size": options.batch, "name": "match"}})
    assert isinstance(op, Score)
    return op


def pictures(view: View, options: argparse.Namespace) -> None:
    """What the threads do for curate, and nothing else."""
    op = op_of(options)
    op.setup()
    for shard, rows in view.store.shard_rows().items():
        assert view.images is not None
        reader, size = ImageReader(view.store, view.images, shard), op.rows_at_a_time()
        ahead = Ahead({"match": op}, {"match": np.ones(rows, bool)}, reader=reader, threads=feeding_threads())
        for _ in ahead([np.arange(i, min(rows, i + size)) for i in range(0, rows, size)]):
            pass


def ours(view: View, options: argparse.Namespace) -> np.ndarray:
    with quiet():
        annotate(view, [op_of(options)], HERE)
    return np.asarray(view.store["match"].select("match").collect()["match"].to_numpy())


def rgb(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file)).convert("RGB")


class Files:
    """What a DataLoader's worker makes of a row; reading the tars is in its time."""

    def __init__(self, tars: list[Path], encoder: Encoder):
        self.rows, self.preprocess = list(pairs(tars)), encoder.preprocess
        self.tokenize = encoder.tokens

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        file, text = self.rows[row]
        return self.preprocess(rgb(file)), self.tokenize([text])[0]


def loader(tars: list[Path], encoder: Encoder, batch: int, workers: int) -> np.ndarray:
    from torch.utils.data import DataLoader

    rows: Any = Files(tars, encoder)
    found = []
    for pixels, tokens in DataLoader(rows, batch, num_workers=workers, pin_memory=encoder.device != "cpu"):
        found.append(cosine(encoder, pixels, tokens))
    return np.concatenate(found)


def rowwise(tars: list[Path], encoder: Encoder) -> np.ndarray:
    found = [cosine(encoder, encoder.preprocess(rgb(f))[None], encoder.tokens([t])) for f, t in pairs(tars)]
    return np.concatenate(found)


def cosine(encoder: Encoder, pixels: Any, tokens: Any) -> np.ndarray:
    image = encoder._vectors(encoder.model.encode_image, lambda: [pixels.to(encoder.device)])
    text = encoder._vectors(encoder.model.encode_text, lambda: [tokens.to(encoder.device)])
    return np.asarray((image * text).sum(1))


# ---- five columns ----


def passes(folder: Path, tars: list[Path], options: argparse.Namespace) -> None:
    specs = (*PIXEL_OPS, op_of(options))
    seen: dict[str, list[float]] = {"clip alone": [], "one pass": [], "five passes": []}
    for _ in range(options.rounds):
        groups = {"clip alone": [specs[-1:]], "one pass": [specs], "five passes": [(spec,) for spec in specs]}
        for name, steps in groups.items():
            view = store(folder, tars)
            start = time.perf_counter()
            with quiet():
                for step in steps:
                    annotate(view, [load(spec) for spec in step], HERE)
            seen[name].append(time.perf_counter() - start)
    middle = {name: statistics.median(taken) for name, taken in seen.items()}
    print("\nFive columns from pixels: phash, dhash, ahash, pixel_hash, clip")
    for name, taken in middle.items():
        print(f"  {name:12} {taken * 1000 / options.rows:8.2f} s per 1,000 rows, ", end="")
        print(f"{taken / middle['clip alone']:.2f} times clip alone")
    saved = middle["five passes"] / middle["one pass"]
    print(f"  five passes take {saved:.2f} times as long as one")


def quiet() -> contextlib.AbstractContextManager[Any]:
    """Without the lines that say how far it is."""
    return contextlib.redirect_stderr(io.StringIO())


if __name__ == "__main__":
    main()
