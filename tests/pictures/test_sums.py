import numpy as np
import pytest
from PIL import Image

from curate.pictures.decoded import Decoded
from curate.pictures.sums import sums, variance


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
def test_sums_are_exact_however_large(kind):
    values = np.full((3000, 4000), 255, kind)  # their squares are beyond 32 bits, and beyond what float32 tells apart
    values[7, 9] = 1
    count = 12_000_000
    assert sums(values) == (count, 255 * (count - 1) + 1, 255**2 * (count - 1) + 1)


def test_negative_values():
    values = np.array([[-1020, 1020], [0, 1]], np.int16)
    assert sums(values) == (4, 1, 2 * 1020**2 + 1)
    assert variance(values) == pytest.approx(np.var(values), rel=1e-15)
    assert variance(np.full((5, 7), -3, np.int16)) == 0


def test_grey_is_that_of_pillow_however_large():
    pixels = np.random.default_rng(0).integers(0, 256, (1100, 1000, 3), np.uint8)  # more than a strip
    decoded = Decoded(pixels)
    expected = Image.fromarray(pixels).convert("L")
    assert decoded.grey_levels.tobytes() == expected.tobytes()
    assert decoded.grey_levels.shape == (1100, 1000)
