import math

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageFilter

from curate.catalog import load
from curate.score.pdq import hash_and_quality

pytestmark = pytest.mark.slow


def picture(height, width, seed=0):
    """Waves of several lengths and directions; no library had a hand in it."""
    y, x = np.mgrid[:height, :width]
    colours = [128 + 60 * np.sin(x * x / 9e4 + y / 50 + c + seed) + 60 * np.cos(y * x / 2e4 - c) for c in range(3)]
    return Image.fromarray(np.clip(np.stack(colours, -1), 0, 255).astype(np.uint8))


def grid(height, width):
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([(x * 7 + y * 13 + x * y * (c + 1)) % 256 for c in range(3)], -1).astype(np.uint8))


def bits_apart(a, b):
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count()


@pytest.mark.parametrize(
    ("image", "published"),
    [
        # Smaller than 64 x 64, and larger than 512: values of pdqhash 0.2.8, a build of the authors' own code.
        (grid(40, 50), "35ad6badcb2c9e6d4e2c3c9df3ade13c0c3c31f829fdfff8ec000400fdc02d00"),
        (picture(700, 1001), "ad5d5291ad5d5291ad55aaab552aab525496a934564ca9d9aa37b8e40783fc0f"),
    ],
)
def test_the_authors_values(image, published):
    value, quality = hash_and_quality(np.asarray(image))
    assert value.hex() == published and quality == 100


def box(values, window):
    """Mean of a window that reaches `window` // 2 to the right and the rest to the left."""
    right = window // 2
    left = window - 1 - right
    cut = [values[max(0, i - left) : i + right + 1] for i in range(len(values))]
    return [sum(part) / len(part) for part in cut]


def oracle(image):
    """The definition in plain loops: (64 x 64 brightness, its 16 x 16 frequencies)."""
    width, height = image.size
    pixels = np.asarray(image).tolist()
    rows = [[0.299 * r + 0.587 * g + 0.114 * b for r, g, b in row] for row in pixels]
    for _ in range(2):
        rows = [box(row, math.ceil(width / 128)) for row in rows]
        rows = [list(row) for row in zip(*(box(col, math.ceil(height / 128)) for col in zip(*rows)))]  # noqa: B905
    small = [[rows[int((i + 0.5) * height / 64)][int((j + 0.5) * width / 64)] for j in range(64)] for i in range(64)]
    waves = [[math.cos(math.pi / 128 * (k + 1) * (2 * i + 1)) for i in range(64)] for k in range(16)]
    half = [[sum(waves[k][i] * small[i][j] for i in range(64)) for j in range(64)] for k in range(16)]
    return small, [[sum(half[k][j] * waves[m][j] for j in range(64)) / 32 for m in range(16)] for k in range(16)]


def test_bits_and_quality_as_defined():
    image = picture(150, 200)
    small, waves = oracle(image)
    flat = [value for row in waves for value in row]
    bits = "".join("1" if value > sorted(flat)[127] else "0" for value in reversed(flat))
    steps = [(small[i][j], small[i + 1][j]) for i in range(63) for j in range(64)]
    steps += [(small[i][j], small[i][j + 1]) for i in range(64) for j in range(63)]
    quality = min(100, sum(abs(int((u - v) * 100 / 255)) for u, v in steps) // 90)
    assert hash_and_quality(np.asarray(image)) == (int(bits, 2).to_bytes(32, "big"), quality)


def test_a_copy_is_near_and_another_picture_is_far():
    image = picture(300, 400)
    copy = image.resize((250, 190), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.7))
    value = hash_and_quality(np.asarray(image))[0]
    assert bits_apart(value, hash_and_quality(np.asarray(copy))[0]) <= 31
    assert bits_apart(value, hash_and_quality(np.asarray(image.convert("L").convert("RGB")))[0]) <= 31
    assert bits_apart(value, hash_and_quality(np.asarray(picture(300, 400, seed=2)))[0]) > 60


def test_columns_and_what_has_no_hash():
    # A faint picture, a plain one, one that is too small to say anything, and a good one.
    faint = picture(80, 80).point(lambda value: 120 + value // 40)
    images = [faint, Image.new("RGB", (50, 50), "red"), Image.new("RGB", (4, 500)), grid(90, 80)]
    op = load("score.pdq")
    made = op.apply({}, images)
    assert made["pdq"].type == op.makes()["pdq"] == pa.binary(32)
    assert made["pdq_colours"][1] == bytes([255, 0, 0]) * 16
    assert made["pdq"].is_valid().to_pylist() == [False, False, False, True]
    assert list(made["status"]) == ["flat", "flat", "flat", "ok"]
    assert made["pdq_quality"][1:3] == [0, 0] and 0 < made["pdq_quality"][3] <= 100
    kept = load({"score.pdq": {"min_quality": 0}}).apply({}, images)
    # Whatever is asked for, four pixels have no hash.
    assert kept["pdq"].is_valid().to_pylist() == [True, True, False, True]


def test_a_symmetric_picture_has_no_bits_by_rounding():
    half = np.asarray(picture(64, 32))
    both = Image.fromarray(np.concatenate([half, half[:, ::-1]], axis=1))
    waves = np.unpackbits(np.frombuffer(hash_and_quality(np.asarray(both))[0], np.uint8))[::-1].reshape(16, 16)
    # Frequencies 1, 3, 5 ... across are odd, and zero here: all above the median or all not.
    assert len(np.unique(waves[:, ::2])) == 1
    assert len(np.unique(waves[:, 1::2])) == 2
