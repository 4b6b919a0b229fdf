"""JPEGs decoded at a part of their size, where that was asked for: the same sizes, turns and colours, other pixels."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from picture_files import TURNED, encoded, exif, files, p3_profile, scene
from PIL import Image

from curate.download.options import DownloadOptions
from curate.download.step import folder_of
from curate.pictures.fitting import encoded as as_file
from curate.pictures.fitting import fitted
from curate.pictures.resize import Resize, Stored
from curate.pictures.resize_options import ResizeOptions
from curate.pictures.scaled_decode import LEAST_TENTHS, divisor, plain_jpeg, upright_jpeg

pytestmark = pytest.mark.slow

MODES = ["border", "keep_ratio", "keep_ratio_largest", "center_crop"]


def options(**more: Any) -> ResizeOptions:
    return ResizeOptions.model_validate({"image_size": 64, "scaled_decode": True, **more})


def pixels(stored: Stored) -> np.ndarray:
    assert stored.status == "success" and stored.body is not None, stored
    return np.asarray(Image.open(io.BytesIO(stored.body)).convert("RGB")).astype(int)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("turn", [1, TURNED])
def test_it_is_never_below_1_4_times_the_stored_size(mode: str, turn: int) -> None:
    for width in range(60, 900, 37):
        for height in (50, 179, 180, 358, 359, 700):
            part = divisor(width, height, options(resize_mode=mode))
            side = max(width, height) if mode in ("border", "keep_ratio_largest") else min(width, height)
            assert part == 1 or side / part >= 1.4 * 64
            assert part == 8 or side / (part * 2) < 1.4 * 64, "and as small as that allows"
    assert divisor(9000, 9000, options(resize_mode="no")) == 1
    assert divisor(9000, 9000, ResizeOptions()) == 1, "off by default"
    assert LEAST_TENTHS == 14


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("part", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(803, 601), (640, 480), (97, 1003)])
def test_the_pixels_are_libjpeg_s_whoever_asks_for_them(mode: str, part: int, size: tuple[int, int]) -> None:
    """And those of the whole picture are the ones that cv2 has always given."""
    body = encoded(scene(*size).convert(mode), "JPEG", quality=80)
    flag = {1: cv2.IMREAD_UNCHANGED, 2: 16, 4: 32, 8: 64}[part]  # IMREAD_REDUCED_GRAYSCALE_2, _4, _8
    if part > 1 and mode == "RGB":
        flag += 1  # IMREAD_REDUCED_COLOR_...
    expected = cv2.imdecode(np.frombuffer(body, np.uint8), flag)
    plain = plain_jpeg(body, mode, *size, part)
    assert plain is not None
    assert plain.shape[:2] == (-(-size[1] // part), -(-size[0] // part))
    np.testing.assert_array_equal(plain, expected)
    rgb = np.asarray(upright_jpeg(body, part, options()))
    np.testing.assert_array_equal(rgb if mode == "RGB" else rgb[..., 0], plain[..., ::-1] if mode == "RGB" else plain)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"exif": exif(TURNED)},
        {"icc_profile": p3_profile()},
        {"icc_profile": p3_profile(), "exif": exif(3)},
        {"progressive": True},
        {"subsampling": 0},
    ],
)
@pytest.mark.parametrize("size", [(803, 601), (601, 803), (180, 300)])
def test_sizes_turns_and_colours_are_those_of_exact_pixels(
    mode: str, more: dict[str, Any], size: tuple[int, int]
) -> None:
    body = encoded(scene(*size), "JPEG", quality=90, **more)
    exact = Resize(ResizeOptions(image_size=64, resize_mode=mode))(body)  # type: ignore[arg-type]
    scaled = Resize(options(resize_mode=mode))(body)
    names = ("width", "height", "original_width", "original_height", "format", "exif_transposed", "changes", "sha256")
    assert [getattr(exact, name) for name in names] == [getattr(scaled, name) for name in names]
    away = np.abs(pixels(exact) - pixels(scaled))
    assert away.mean() < 3.2
    is_part = divisor(*size, options(resize_mode=mode)) > 1
    assert (exact.body != scaled.body) == is_part


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_four_colours_and_grey(mode: str) -> None:
    body = encoded(scene(800, 600).convert(mode), "JPEG", quality=90)
    exact, scaled = Resize(ResizeOptions(image_size=64))(body), Resize(options())(body)
    assert np.abs(pixels(exact) - pixels(scaled)).mean() < 2.5


def test_what_is_done_is_what_is_said() -> None:
    """A quarter by libjpeg, then OpenCV's area."""
    body = encoded(scene(800, 600), "JPEG", quality=90)
    quarter = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_REDUCED_COLOR_4)
    asked = options(resize_mode="keep_ratio")
    assert Resize(asked)(body).body == as_file(cv2.resize(quarter, (85, 64), interpolation=cv2.INTER_AREA), asked)
    assert fitted(quarter, asked, (800, 600)).shape == (64, 85, 3)


def test_other_formats_and_damage_are_as_they_were() -> None:
    for name, data, _, _ in files():
        if "JPEG" not in name and "MPO" not in name:
            small = {"image_size": 8}
            assert Resize(options(**small))(data) == Resize(ResizeOptions.model_validate(small))(data), name
    whole = encoded(scene(800, 600), "JPEG", quality=97)
    holed = whole[:4000] + whole[-2:]
    exact, scaled = Resize(ResizeOptions(image_size=64))(holed), Resize(options())(holed)
    assert (exact.status, exact.width) == (scaled.status, scaled.width) == ("success", 64)
    assert Resize(options())(whole[:4000]).status == "truncated"


def test_it_is_in_the_identity_and_stores_without_it_keep_theirs() -> None:
    assert folder_of(DownloadOptions()) == "images-6fbffbe4fdf6"
    assert folder_of(DownloadOptions(scaled_decode=True)) != folder_of(DownloadOptions())
