"""torch's resize stays within two levels of Pillow's, in whatever order Pillow goes, for the usual preprocessings."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from PIL import Image

from curate.models.fast_resize import fast_resize, resized
from curate.models.open_clip_import import open_clip
from curate.models.pixels import Pixels, split
from curate.pictures.decoded import Decoded

pytestmark = pytest.mark.slow

torch = importlib.import_module("torch")

#: Black and white at random is the worst there is: every value between two passes is cut off somewhere.
SIZES = [(400, 300), (300, 400), (225, 224), (224, 225), (224, 224), (60, 900), (900, 60), (130, 90), (30, 40), (1, 7)]
SIZES += [(400, 575), (400, 577), (351, 516), (512, 778), (1000, 1200)]


def noise(width: int, height: int) -> np.ndarray:
    grains = np.random.default_rng(width * 10_000 + height).integers(0, 2, (height, width, 3))
    return (grains * 255).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("into", [(224, 224), (150, 300), (300, 150)])
@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_within_two_levels_of_pillow(size, into, mode):
    pixels = noise(*size)
    ours = resized(pixels, into[1], into[0], mode).numpy().transpose(1, 2, 0).astype(int)
    theirs = Image.fromarray(pixels).resize(into, Image.Resampling[mode.upper()])
    assert ours.shape == (into[1], into[0], 3)
    assert np.abs(ours - np.asarray(theirs)).max() <= 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", [{}, {"resize_mode": "squash"}, {"interpolation": "bilinear"}])
def test_the_usual_preprocessings(size, options):
    preprocess = open_clip().image_transform(96, is_train=False, **options)
    picture = Decoded(noise(*size))
    fast, slow = Pixels(preprocess, "cpu", fast=True), Pixels(preprocess, "cpu")
    ours, theirs = (pixels.one(picture).numpy().astype(int) for pixels in (fast, slow))
    ours = ours.transpose(1, 2, 0)
    assert ours.shape == theirs.shape == (96, 96, 3)
    assert np.abs(ours - theirs).max() <= 2
    assert torch.allclose(fast.batch([fast.one(picture)]), slow.batch([slow.one(picture)]), atol=2.1 / 255 / 0.26)
    assert fast.batch([fast.one(picture)]).stride() == slow.batch([slow.one(picture)]).stride(), "one order in memory"


@pytest.mark.parametrize("options", [{"resize_mode": "longest"}, {"image_size": (96, 64)}])
def test_other_preprocessings_stay_open_clip_s(options):
    preprocess = open_clip().image_transform(**{"image_size": 96, "is_train": False, **options})
    assert fast_resize(split(preprocess)[0].steps) is None
    picture = Decoded(noise(130, 90))
    made = Pixels(preprocess, "cpu", fast=True)
    assert torch.equal(made.batch([made.one(picture)])[0], preprocess(picture.image))
