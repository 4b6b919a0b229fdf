"""Pixels of stored files are those of Pillow's full decode, which are libjpeg-turbo's."""

from __future__ import annotations

import importlib
import io
import random

import numpy as np
import pytest
from PIL import Image

from curate.demo import scenes
from curate.images import decode


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"quality": 60}, {"subsampling": 0}, {"progressive": True}])
def test_decode_gives_the_pixels_of_a_full_jpeg_decode(options):
    simplejpeg = importlib.import_module("simplejpeg")
    data = jpeg(scenes.draw(random.Random(5), size_px=(301, 257))[0], **options)
    np.testing.assert_array_equal(np.asarray(decode(data)), simplejpeg.decode_jpeg(data, "RGB", fastdct=False))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_every_kind_of_jpeg_becomes_rgb_at_its_full_size(mode):
    image = decode(jpeg(Image.new(mode, (1500, 1100))))
    assert (image.mode, image.size) == ("RGB", (1500, 1100))


def test_damage_raises():
    data = jpeg(scenes.draw(random.Random(5), size_px=(301, 257))[0])
    for damaged in (data[: len(data) // 2], b"", b"no picture"):
        with pytest.raises(OSError):
            decode(damaged)
