"""Images a second of one core, of the ops that look at pixels and take no model, beside decoding alone (the limit).

    python benchmarks/pixels.py [--rows 60] [--size-px 512] [--rounds 5]
    python benchmarks/pixels.py --text [--rows 10]
    python benchmarks/pixels.py --stored [--rows 12] [--rounds 5]
    python benchmarks/pixels.py --moved FOLDER [--rows 300] [--size-px 1000] [--image-size 256]

Each op is timed from decoded pixels; then all in one pass, which share what they can. Time is that of the processor.
With --text it is score.text_boxes instead, beside its detector alone (the limit) and rapidocr as it comes.

With --stored it is the picture work of a download, bytes to bytes, beside img2dataset's Resizer: exact pixels, and
`scaled_decode`. With --moved it is what `scaled_decode` moves, on the JPEGs of a folder brought to a short
side of `size-px` (JPEG, quality 90): levels of 255 between the stored images, cosines of lite0-minilm's embeddings.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else img2dataset asks the network for its newest version

import numpy as np
from in_turn import processor_seconds
from PIL import Image, ImageDraw

from curate.catalog import load
from curate.demo import scenes
from curate.op import Score
from curate.pictures.decoded import Decoded, decode
from curate.pictures.resize import Resize
from curate.pictures.resize_options import ResizeOptions
from curate.text_in_images.ocr_engine import OcrEngine, enlarged

KINDS = ("phash", "dhash", "ahash")
OPS = ("score.image_quality", *({"score.phash": {"kind": kind}} for kind in KINDS), "score.pdq", "score.pixel_hash")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--size-px", type=int, default=512, help="short side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--text", action="store_true", help="score.text_boxes")
    parser.add_argument("--stored", action="store_true", help="the picture work of a download")
    parser.add_argument("--moved", metavar="FOLDER", help="what scaled_decode moves of these images")
    parser.add_argument("--image-size", type=int, default=256, help="with --moved: what is stored")
    options = parser.parse_args()
    if options.stored:
        stored(options.rows, options.rounds)
        return
    if options.moved:
        moved(Path(options.moved), options.rows, options.size_px, options.image_size)
        return
    files = [drawn(seed, options.size_px, options.text) for seed in range(options.rows)]
    pixels = [decode(file).pixels for file in files]
    ways = text_ways(pixels) if options.text else pixel_ways(files, pixels)
    for name, taken in processor_seconds(ways, options.rounds, warm=1).items():
        middle = taken / len(files)
        print(f"{name:26} {1 / middle:7,.1f} images/s  {middle * 1000:7.2f} ms")


#: Short side of the original, and of what is stored.
STORED = ((1000, 256), (1000, 512), (1500, 512), (2000, 256), (2000, 512), (480, 256))


def resizes(image_size: int, **more: Any) -> Resize:
    return Resize(ResizeOptions(image_size=image_size, resize_mode="keep_ratio", resize_only_if_bigger=True, **more))


def stored(rows: int, rounds: int) -> None:
    from img2dataset import resizer

    resizer.SuppressStdoutStderr = contextlib.nullcontext
    for size_px, image_size in STORED:
        files = [rough(seed, size_px) for seed in range(rows)]
        theirs = resizer.Resizer(image_size, "keep_ratio", True)
        exact, scaled = resizes(image_size), resizes(image_size, scaled_decode=True)
        ways: dict[str, Callable[[], Any]] = {
            "img2dataset": lambda theirs=theirs, files=files: [theirs(io.BytesIO(file)) for file in files],
            "exact pixels": lambda exact=exact, files=files: [exact(file) for file in files],
            "scaled_decode": lambda scaled=scaled, files=files: [scaled(file) for file in files],
        }
        seconds = processor_seconds(ways, rounds, warm=1)
        assert all(theirs(io.BytesIO(file))[0] == exact(file).body for file in files), "the same bytes"
        kilobytes = sum(map(len, files)) / rows / 1000
        print(f"{size_px:,} px, {kilobytes:.0f} KB, to {image_size} px: ", end="")
        rates = [f"{name} {rows / s:,.0f}/s ({seconds['img2dataset'] / s:.2f}x)" for name, s in seconds.items()]
        print(", ".join(rates))


def rough(seed: int, size_px: int) -> bytes:
    """Noise at many scales, which a JPEG takes about as hard as a photo."""
    rng, width = np.random.default_rng(seed), size_px * 4 // 3
    total = np.zeros((size_px, width, 3), np.float32)
    for scale, weight in ((5, 90), (20, 45), (80, 25), (320, 14)):
        coarse = Image.fromarray(rng.integers(0, 255, (scale * 3 // 4, scale, 3), np.uint8))
        total += (
            (np.asarray(coarse.resize((width, size_px), Image.Resampling.BICUBIC), np.float32) - 127) * weight / 127
        )
    return jpeg(Image.fromarray((total + 127).clip(0, 255).astype(np.uint8)), 88)


def moved(folder: Path, rows: int, size_px: int, image_size: int) -> None:
    paths = sorted(folder.rglob("*.jpg"))
    paths = paths[:: max(1, len(paths) // rows)][:rows]
    exact, scaled = resizes(image_size), resizes(image_size, scaled_decode=True)
    away, images = [], []
    for path in paths:
        image = decode(path.read_bytes()).image
        scale = size_px / min(image.size)
        sides = [max(1, round(side * scale)) for side in image.size]
        if max(sides) > 4 * size_px:
            continue
        body = jpeg(image.resize((sides[0], sides[1]), Image.Resampling.LANCZOS), 90)
        pair = [decode(made_by(body).body or b"") for made_by in (exact, scaled)]
        away.append(np.abs(pair[0].pixels.astype(int) - pair[1].pixels))
        images.append(pair)
    op = load({"score.clip": {"model": "lite0-minilm", "device": "cpu"}})
    assert isinstance(op, Score)
    op.setup()
    vectors = [vectors_of(op, [pair[side] for pair in images]) for side in (0, 1)]
    cosines = (vectors[0] * vectors[1]).sum(1)
    means = np.array([each.mean() for each in away])
    each = np.concatenate([a.reshape(-1) for a in away])
    print(f"{len(images)} images, {size_px:,} px to {image_size} px: scaled_decode moves levels of 255 by ", end="")
    print(
        f"{each.mean():.2f} (mean), {np.quantile(each, 0.99):.0f} (99 %), the worst image by {means.max():.2f} (mean);"
    )
    print(f"  1 - cosine: {1 - np.median(cosines):.5f} (median), {1 - np.quantile(cosines, 0.01):.5f} (99 %)")


def vectors_of(op: Score, images: list[Decoded]) -> Any:
    columns = op.apply({"text": ["a picture"] * len(images)}, [image.image for image in images])
    name = next(name for name in columns if name.endswith("_img"))
    vectors = np.stack([np.asarray(row, np.float32) for row in columns[name]])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def pixel_ways(files: list[bytes], pixels: list[Any]) -> dict[str, Callable[[], Any]]:
    ops: dict[str, Score] = {}
    for spec in OPS:
        op = load(spec)
        assert isinstance(op, Score)
        op.setup()
        ops[op.table()] = op
    ways: dict[str, Callable[[], Any]] = {"decode": lambda: [decode(file) for file in files]}
    for name, op in ops.items():
        ways[name] = lambda op=op: [op.prepare_image(Decoded(values)) for values in pixels]
    ways["all in one pass"] = lambda: [
        [op.prepare_image(image) for op in ops.values()] for image in map(Decoded, pixels)
    ]
    return ways


def text_ways(pixels: list[Any]) -> dict[str, Callable[[], Any]]:
    from rapidocr import RapidOCR

    images = [Decoded(values).image for values in pixels]
    engine = OcrEngine()
    one_thread = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    theirs = RapidOCR(params={"Global.log_level": "critical", **one_thread})
    ways: dict[str, Callable[[], Any]] = {
        "limit: our detector alone": lambda: [engine._find(enlarged(i, engine._enlarge_side_px)[0]) for i in images],
        "rapidocr, detector alone": lambda: [theirs(i, use_cls=False, use_rec=False) for i in images],
        "rapidocr": lambda: [theirs(image) for image in images],
    }
    for boxes in ("found", "read"):
        op = load({"score.text_boxes": {"boxes": boxes}})
        assert isinstance(op, Score)
        op.setup()
        ways[f"text_boxes, boxes: {boxes}"] = lambda op=op: [op.prepare_image(Decoded(values)) for values in pixels]
    return ways


def drawn(seed: int, size_px: int, text: bool) -> bytes:
    """A JPEG of a drawn scene, its short side of that size; every other one with a line of text."""
    image, words, _ = scenes.draw(random.Random(seed), size_px=(size_px * 5 // 4, size_px))
    if text and seed % 2:
        ImageDraw.Draw(image).text((size_px // 9, size_px // 9), words[:20], "black", font_size=size_px // 12)
    return jpeg(image, 95)


def jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
