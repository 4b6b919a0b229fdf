"""Images a second of one core, of the ops that look at pixels and take no model, beside decoding alone (the limit).

    python benchmarks/pixels.py [--rows 60] [--size-px 512] [--rounds 5]
    python benchmarks/pixels.py --text [--rows 10]

Each op is timed from decoded pixels; then all in one pass, which share what they can. Time is that of the processor.
With --text it is score.text_boxes instead, beside its detector alone (the limit) and rapidocr as it comes.
"""

from __future__ import annotations

import argparse
import io
import random
from collections.abc import Callable
from typing import Any

from in_turn import processor_seconds
from PIL import ImageDraw

from curate.catalog import load
from curate.demo import scenes
from curate.op import Score
from curate.pictures.decoded import Decoded, decode
from curate.text_in_images.ocr_engine import OcrEngine, enlarged

KINDS = ("phash", "dhash", "ahash")
OPS = ("score.image_quality", *({"score.phash": {"kind": kind}} for kind in KINDS), "score.pdq", "score.pixel_hash")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--size-px", type=int, default=512, help="short side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--text", action="store_true", help="score.text_boxes")
    options = parser.parse_args()
    files = [drawn(seed, options.size_px, options.text) for seed in range(options.rows)]
    pixels = [decode(file).pixels for file in files]
    ways = text_ways(pixels) if options.text else pixel_ways(files, pixels)
    for name, taken in processor_seconds(ways, options.rounds, warm=1).items():
        middle = taken / len(files)
        print(f"{name:26} {1 / middle:7,.1f} images/s  {middle * 1000:7.2f} ms")


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
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
