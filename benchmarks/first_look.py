"""Would text detection gain by a first look at a smaller size, and the usual one only where something is seen?

    python benchmarks/first_look.py FOLDER [--side-px 320] [--stored-px 512] [--images 400]

FOLDER: pictures of yours, in any folders below. Each is reduced to `--stored-px`, as a store holds it, and looked at as
score.text_boxes does. Then the detector alone looks at it with a longer side of `--side-px`. For several thresholds of
the highest probability in its map: the share of pictures in which something is seen, pictures with text (a box that is
read) that a first look would lose with their boxes, and how much faster the whole would be, in processor time.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from rapidocr.ch_ppocr_det.utils import DetPreProcess
from run import hardware

from curate.pictures.decoded import attempt
from curate.text_in_images.ocr_engine import OcrEngine, enlarged

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}


class Looked(NamedTuple):
    """One picture: boxes that are read, the highest probability of the first look, and what both took."""

    boxes: int
    highest: float
    seconds: float
    first_seconds: float


def main() -> None:
    options = parse()
    print(hardware("rapidocr", "onnxruntime"))
    engine = OcrEngine()
    files = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    random.Random(0).shuffle(files)
    pictures = (attempt(path.read_bytes())[0] for path in files[: options.images])
    looked = [look(engine, picture.image.copy(), options) for picture in pictures if picture]
    boxes, highest, whole, first = (np.array(column) for column in zip(*looked, strict=True))
    print(f"{len(looked)} pictures, {(boxes > 0).sum()} with text, {boxes.sum()} boxes; ", end="")
    print(f"{whole.mean():.3f} s a picture, {first.mean():.3f} s for a look at {options.side_px} px")
    for threshold in THRESHOLDS:
        seen = highest >= threshold
        gain = whole.sum() / (whole[seen].sum() + first.sum())
        lost = f"{((boxes > 0) & ~seen).sum()} pictures with text and {boxes[~seen].sum()} boxes lost"
        print(f"  {threshold:4}: something is seen in {seen.mean():.0%}, {lost}, {gain:.2f}x as fast")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side-px", type=int, default=320)
    parser.add_argument("--stored-px", type=int, default=512)
    parser.add_argument("--images", type=int, default=400)
    return parser.parse_args()


def look(engine: OcrEngine, image: Image.Image, options: argparse.Namespace) -> Looked:
    image.thumbnail((options.stored_px, options.stored_px), Image.Resampling.LANCZOS)
    began = time.thread_time()
    boxes = len(engine.spot(image, words=False).polygons)
    between = time.thread_time()
    detector = engine._rapidocr._load_det_model()
    small, _ = enlarged(image, options.side_px)
    prepare = DetPreProcess(options.side_px, "max", detector.mean, detector.std)
    width, height = small.size
    sides = max(32, width), max(32, height)  # thin pictures: what the detector's own steps pad
    pixels = np.asarray(small if sides == small.size else small.resize(sides))[:, :, ::-1]
    highest = float(detector.session(prepare(np.ascontiguousarray(pixels))).max())
    return Looked(boxes, highest, between - began, time.thread_time() - between)


if __name__ == "__main__":
    main()
