"""Cores that one H100 wants, by model and size of the images: what a core feeds, and what the GPU is assumed to take.

    python benchmarks/feeding.py [--rounds 5]

Measured, in seconds of the processor: decoding a drawn JPEG and preparing it for the model (`resize: torch`), and the
tokens of a caption. Assumed: how many pairs an H100 encodes a second; no GPU was at hand. Reading the tars, filling
batches and writing parts come on top: `standin.py` says how much.
"""

from __future__ import annotations

import argparse
import io
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from run import hardware

from curate.demo import scenes
from curate.models.fast_resize import fast_resize
from curate.models.open_clip_import import open_clip
from curate.models.tokens import Tokens
from curate.pictures.decoded import attempt

PICTURES = 30


@dataclass(frozen=True)
class Model:
    """Its image's side and way to it, and pairs a second of an H100, assumed."""

    name: str
    side_px: int
    resize: str
    pairs_a_second: int


MODELS = (
    Model("ViT-B/32", 224, "shortest", 10_000),
    Model("ViT-B/16", 224, "shortest", 5_000),
    Model("ViT-L/14", 224, "shortest", 2_000),
    Model("SigLIP SO400M, 384 px", 384, "squash", 450),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(hardware("torch", "open_clip_torch", "simplejpeg"))
    torch.set_num_threads(1)
    captions = [scenes.draw(random.Random(number), size_px=(64, 64))[1] for number in range(1000)]
    tokens = Tokens(open_clip().get_tokenizer("ViT-B-32"))
    caption = least(lambda: tokens.ready(captions), rounds) / len(captions)
    print(f"captions: {1 / caption:,.0f}/s/core")
    for size_px in (256, 512, 1024):
        files = drawn(size_px)
        print(f"{size_px:5} px, {sum(map(len, files)) // len(files) // 1000} KB")
        for model in MODELS:
            prepare = prepared_for(model)
            image = least(lambda files=files, prepare=prepare: [prepare(file) for file in files], rounds) / len(files)  # type: ignore[misc]
            cores = model.pairs_a_second * (image + caption)
            wanted = f"{model.pairs_a_second:6,}/s want {cores:5.1f} cores"
            print(f"      {model.name:22} {1 / image:7,.0f} images/s/core; {wanted}")


def drawn(size_px: int) -> list[bytes]:
    rng, files = random.Random(1), []
    for _ in range(PICTURES):
        image = scenes.draw(rng, size_px=(rng.randint(size_px, size_px * 3 // 2), size_px))[0]
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def prepared_for(model: Model) -> Callable[[bytes], object]:
    preprocess = open_clip().image_transform(model.side_px, is_train=False, resize_mode=model.resize)
    fast = fast_resize(preprocess.transforms[:-2])
    assert fast is not None

    def prepare(file: bytes) -> object:
        decoded, _ = attempt(file)
        assert decoded is not None
        return fast(decoded.pixels)

    return prepare


def least(work: Callable[[], object], rounds: int) -> float:
    """Seconds of the processor of the fastest round: what other work on the machine costs is in the others."""
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


if __name__ == "__main__":
    main()
