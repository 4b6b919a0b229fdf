import io

import numpy as np
import xxhash
from PIL import Image

from curate.catalog import load
from curate.pictures.decoded import decode

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))


def hashes(*images):
    op = load("score.pixel_hash")
    return op.apply({}, images)["pixel_hash"]


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return decode(file.getvalue()).image


def test_definition():
    pixels = bytes(range(6))
    expected = xxhash.xxh3_128(b"\x02\0\0\0\x01\0\0\0" + pixels).hexdigest()
    assert hashes(Image.frombytes("RGB", (2, 1), pixels)) == [expected]


def test_lossless_twins_are_equal():
    twins = [saved(PICTURE, "PNG"), saved(PICTURE, "PNG", compress_level=0), saved(PICTURE, "BMP")]
    twins.append(saved(PICTURE, "WEBP", lossless=True, exact=True))
    assert set(hashes(PICTURE, *twins)) == set(hashes(PICTURE))


def test_one_level_of_one_pixel_and_the_shape_count():
    other = PICTURE.copy()
    red, green, blue = other.getpixel((3, 3))
    other.putpixel((3, 3), (red, green, blue ^ 1))
    turned = Image.frombytes("RGB", (6, 8), PICTURE.tobytes())
    assert len(set(hashes(PICTURE, other, turned, saved(PICTURE, "JPEG")))) == 4
