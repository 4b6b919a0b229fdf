"""Images a second of one core, of the ops that look at pixels and take no model, beside decoding alone (the limit).

    python benchmarks/pixels.py [--rows 60] [--size-px 512] [--rounds 5]

Each op is timed from decoded pixels; then all in one pass, which share what they can. Time is that of the processor.
"""

from __future__ import annotations

import argparse
import io
import random
from collections.abc import Callable
from typing import Any

from in_turn import processor_seconds

from curate.catalog import load
from curate.demo import scenes
from curate.op import Score
from curate.pictures.decoded import Decoded, decode

KINDS = ("phash", "dhash", "ahash")
OPS = ("score.image_quality", *({"score.phash": {"kind": kind}} for kind in KINDS), "score.pdq", "score.pixel_hash")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--size-px", type=int, default=512, help="short side")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files = [drawn(seed, options.size_px) for seed in range(options.rows)]
    pixels = [decode(file).pixels for file in files]
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
    for name, taken in processor_seconds(ways, options.rounds, warm=1).items():
        middle = taken / len(files)
        print(f"{name:16} {1 / middle:7,.0f} images/s  {middle * 1000:6.2f} ms")


def drawn(seed: int, size_px: int) -> bytes:
    """A JPEG of a drawn scene, its short side of that size."""
    image, _, _ = scenes.draw(random.Random(seed), size_px=(size_px * 5 // 4, size_px))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
