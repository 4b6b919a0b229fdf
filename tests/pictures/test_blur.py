"""Blurred faces: the published arithmetic, nothing beyond its reach, and nothing left to see."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from curate.pictures.blur import blurred, blurred_file, boxes_of


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def gaussian(values: np.ndarray, deviation: float) -> np.ndarray:
    """A Gaussian blur cut off at four deviations, mirrored at the edges without the edge itself: as OpenCV has it."""
    reach = math.ceil(4 * deviation)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * deviation**2))
    weights /= weights.sum()
    for axis in (0, 1):
        padding = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(values, padding, mode="reflect")
        values = np.apply_along_axis(lambda line: np.convolve(line, weights, "valid"), axis, padded)
    return values


def test_the_published_arithmetic() -> None:
    pixels = noise(60, 80).astype(np.float64)
    # A box of 40 x 30 pixels grows by 4; the blur's deviation is 4.
    mask = np.zeros((60, 80, 1))
    mask[11:49, 16:64] = 1
    share = gaussian(mask, 4.0)
    expected = pixels * (1 - share) + gaussian(pixels, 4.0) * share
    result = blurred(noise(60, 80), [(0.25, 0.25, 0.75, 0.75)])
    assert np.abs(result - expected).max() <= 1


def test_nothing_changes_out_of_reach_and_detail_is_gone_within() -> None:
    pixels = noise(400, 400)
    result = blurred(pixels, [(0.4, 0.4, 0.6, 0.6)])
    # The box of 80 pixels grows by 8 and its edge is blurred over 32 more.
    outside = np.ones((400, 400), bool)
    outside[120:280, 120:280] = False
    assert (result[outside] == pixels[outside]).all()
    assert result[170:230, 170:230].std() < 0.1 * pixels[170:230, 170:230].std()


def test_no_boxes_no_change_and_edges() -> None:
    pixels = noise(20, 30)
    assert blurred(pixels, []) is pixels
    for boxes in ([(0, 0, 1, 1)], [(0.99, 0.99, 1, 1)], [(0, 0, 0.001, 0.001)], [(0.5, 0, 1, 0.01), (0, 0, 0.1, 1)]):
        assert blurred(pixels, boxes).shape == pixels.shape
        assert (blurred(pixels, boxes) != pixels).any()


@pytest.mark.parametrize(
    ("kind", "extension", "new"), [("JPEG", "jpg", "jpg"), ("PNG", "png", "png"), ("GIF", "gif", "png")]
)
def test_files_keep_their_kind_where_they_can(kind: str, extension: str, new: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.repeat(np.arange(120, dtype=np.uint8)[None, :, None], 80, 0).repeat(3, 2)).save(buffer, kind)
    data, ending = blurred_file(buffer.getvalue(), [(0, 0, 0.2, 0.2)], extension)
    image = Image.open(io.BytesIO(data))
    assert (image.format, ending, image.size) == ({"jpg": "JPEG", "png": "PNG"}[new], new, (120, 80))
    assert abs(int(np.asarray(image.convert("L"))[70, 100]) - 100) <= 3


def test_a_turned_photo_is_blurred_upright() -> None:
    """Boxes are fractions of what a viewer shows."""
    pixels = noise(64, 64)
    pixels[:, :, 1:] = 0
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    data, _ = blurred_file(buffer.getvalue(), [(0, 0, 0.3, 0.3)], "png")
    upright = np.rot90(pixels, -1)
    result = np.asarray(Image.open(io.BytesIO(data)))
    assert (result[50:, 50:] == upright[50:, 50:]).all() and (result[:10, :10] != upright[:10, :10]).any()


@pytest.mark.parametrize(
    ("value", "boxes"),
    [
        ([], []),
        (None, []),
        ([[0.1, 0.2, 0.3, 0.4]], [(0.1, 0.2, 0.3, 0.4)]),
        ([(0, 0, 1, 1)], [(0, 0, 1, 1)]),
        ([[-0.2, -0.1, 1.3, 1.1]], [(0, 0, 1, 1)]),
        ([[0.5, 0.5, 0.5, 0.9], [0.6, 0.2, 0.4, 0.9]], []),
        ([[0.1, 0.2, 0.3]], None),
        ([[0.1, 0.2, float("nan"), 0.4]], None),
        ([0.1, 0.2, 0.3, 0.4], None),
        ([["a", "b", "c", "d"]], None),
        ("[[0.1, 0.2, 0.3, 0.4]]", None),
        ([[10, 20, 300, 400]], None),
        ([None], None),
    ],
)
def test_boxes_as_columns_hold_them(value: object, boxes: object) -> None:
    assert boxes_of(value) == boxes
