"""Resize on every kind of file that a crawl brings: the right pixels, or a status that says why not."""

import hashlib
import io
import os
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from curate.pictures.resize import Resize, Stored
from curate.pictures.resize_options import STATUS, ResizeOptions

# img2dataset's: its import of imghdr, and an option of albumentations that has a new name
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing img2dataset asks the network

RED, GREEN, BLUE, GREY = (200, 30, 30), (30, 180, 40), (40, 50, 190), (120, 120, 120)


def quarters(width: int = 64, height: int = 48) -> Image.Image:
    """Red, green / blue, grey: any turn or flip shows."""
    image = Image.new("RGB", (width, height), GREY)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, format, **options)
    return written.getvalue()


def resize(body: bytes, **options: Any) -> Stored:
    stored = Resize(ResizeOptions.model_validate(options))(body)
    assert stored.status in STATUS
    assert stored.sha256 == hashlib.sha256(body).hexdigest()
    assert (stored.status == "success") == (stored.error is None) == (stored.body is not None)
    if stored.body is not None:
        with Image.open(io.BytesIO(stored.body)) as written:
            assert written.size == (stored.width, stored.height)
    return stored


def pixels(stored: Stored) -> np.ndarray:
    assert stored.status == "success", stored
    assert stored.body is not None
    return np.asarray(Image.open(io.BytesIO(stored.body)).convert("RGB")).astype(int)


def corners(stored: Stored) -> list[np.ndarray]:
    """The colours at the middle of the four quarters."""
    image = pixels(stored)
    high, wide = image.shape[0] // 4, image.shape[1] // 4
    return [image[high, wide], image[high, -wide], image[-high, wide], image[-high, -wide]]


def check(stored: Stored, expected: list[tuple[int, int, int]], within: int = 12) -> None:
    for found, wanted in zip(corners(stored), expected, strict=True):
        assert np.abs(found - wanted).max() <= within, (found, wanted)


COLOURS = [RED, GREEN, BLUE, GREY]
GREYS = [(v, v, v) for v in (np.asarray(quarters().convert("L"))[[12, 12, 36, 36], [16, 48, 16, 48]]).tolist()]
KEEP = {"resize_mode": "no"}


@pytest.mark.parametrize(
    ("mode", "format"),
    [(mode, format) for mode in ("RGB", "RGBA", "P") for format in ("PNG", "WEBP", "GIF", "TIFF", "AVIF")]
    + [("RGB", "JPEG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"), ("RGB", "BMP"), ("RGB", "PPM")]
    + [("RGB", "JPEG2000"), ("RGBA", "ICO")],
)
def test_colour_modes(mode: str, format: str) -> None:
    image = quarters().convert(mode) if mode != "P" else quarters().quantize(16)
    if format in ("WEBP", "AVIF") and mode == "P":
        image = image.convert("RGB")
    with_options: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "ICO": {"sizes": [(64, 48)]}}
    stored = resize(encode(image, format, **with_options.get(format, {})), **KEEP)
    check(stored, COLOURS)
    assert (stored.original_width, stored.original_height, stored.format) == (64, 48, format.lower())
    assert not stored.exif_transposed


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
def test_grey(format: str) -> None:
    check(resize(encode(quarters().convert("L"), format), **KEEP), GREYS)


def test_grey_with_alpha() -> None:
    check(resize(encode(quarters().convert("LA"), "PNG"), **KEEP), GREYS)


def test_one_bit() -> None:
    image = quarters().convert("L").point(lambda level: 255 * (level > 100)).convert("1")
    white, black = (255, 255, 255), (0, 0, 0)
    wanted = [white if level[0] > 100 else black for level in GREYS]
    assert len(set(wanted)) == 2
    for format in ("PNG", "TIFF", "BMP", "GIF"):
        check(resize(encode(image, format), **KEEP), wanted, within=20)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey(format: str) -> None:
    levels = np.asarray(quarters().convert("L")).astype(np.uint16) * 257
    check(resize(encode(Image.fromarray(levels), format), **KEEP), GREYS)


def test_sixteen_bits_of_colour() -> None:
    levels = np.asarray(quarters())[..., ::-1].astype(np.uint16) * 257
    check(resize(cv2.imencode(".png", levels)[1].tobytes(), **KEEP), COLOURS)
    with_alpha = np.dstack([levels, np.full(levels.shape[:2], 65535, np.uint16)])
    check(resize(cv2.imencode(".png", with_alpha)[1].tobytes(), **KEEP), COLOURS)


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_floats(white: float) -> None:
    levels = np.asarray(quarters().convert("L")).astype(np.float32) / 255 * white
    levels[0, 0], levels[0, 1], levels[0, 2] = np.nan, -1, white
    check(resize(encode(Image.fromarray(levels), "TIFF"), **KEEP), GREYS)


def test_adobe_cmyk_is_not_inverted() -> None:
    body = encode(quarters().convert("CMYK"), "JPEG")
    assert b"Adobe" in body
    check(resize(body, **KEEP), COLOURS)


def see_through(mode: str) -> Image.Image:
    image = quarters().convert("RGBA")
    image.paste((10, 20, 30, 0), (0, 0, 32, 24))  # the first quarter: transparent, nearly black underneath
    return image if mode == "RGBA" else image.convert(mode)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_alpha_is_laid_on_white(format: str) -> None:
    check(resize(encode(see_through("RGBA"), format), **KEEP), [(255, 255, 255), *COLOURS[1:]])


def test_other_transparency_is_laid_on_white() -> None:
    white = (255, 255, 255)
    check(resize(encode(see_through("LA"), "PNG"), **KEEP), [white, *GREYS[1:]])
    palette = quarters().quantize(16)
    first = palette.getpixel((5, 5))
    for format in ("PNG", "GIF"):
        check(resize(encode(palette, format, transparency=first), **KEEP), [white, *COLOURS[1:]])
    check(resize(encode(quarters(), "PNG", transparency=RED), **KEEP), [white, *COLOURS[1:]])
    check(resize(encode(quarters().convert("L"), "PNG", transparency=GREYS[0][0]), **KEEP), [white, *GREYS[1:]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(orientation: int, format: str) -> None:
    turns = Image.Transpose
    # what a camera stores so that a viewer who obeys the tag sees the upright picture
    undo = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_90,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_270,
    }
    image = quarters() if orientation == 1 else quarters().transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encode(image, format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    stored = resize(body, image_size=128, resize_mode="keep_ratio_largest")
    check(stored, COLOURS)
    assert (stored.original_width, stored.original_height) == (64, 48)
    assert (stored.width, stored.height) == (128, 96)
    assert stored.exif_transposed == (orientation > 1)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_costs_nothing() -> None:
    assert resize(encode(quarters(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff junk")).status == "success"


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(format: str) -> None:
    frames = [Image.new("RGB", (64, 48), BLUE), Image.new("RGB", (64, 48), RED)]
    options = {"lossless": True} if format == "WEBP" else {}
    body = encode(quarters(), format, save_all=True, append_images=frames, duration=50, **options)
    assert Image.open(io.BytesIO(body)).is_animated  # type: ignore[attr-defined]
    check(resize(body, **KEEP), COLOURS)


def test_the_first_picture_of_an_mpo_is_taken() -> None:
    body = encode(quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48), BLUE)])
    check(resize(body, **KEEP), COLOURS)


MODES = ["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"]
#: What each format of stored files is written with: img2dataset's usual quality, and another.
ENCODINGS = [("jpg", 95), ("jpg", 60), ("png", 6), ("png", 0), ("webp", 90), ("webp", 100)]


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(7).integers(0, 255, (height, width, 3), np.uint8).astype(np.uint8))


def same_as_img2dataset(body: bytes, **options: Any) -> None:
    """Ours and img2dataset's own Resizer make the same bytes of a file, or both make none."""
    from img2dataset.resizer import Resizer

    usual: dict[str, Any] = {"image_size": 256, "resize_mode": "border", "resize_only_if_bigger": False}
    expected, *sizes, error = Resizer(**{**usual, **options})(io.BytesIO(body))
    stored = resize(body, **{**usual, **options})
    if error:
        words = {"image too small": "too_small", "aspect ratio too large": "bad_aspect"}
        assert stored.status == words.get(error, "too_large_area" if "area" in error else "resize_error"), error
    else:
        assert stored.body == expected
        ours = [stored.width, stored.height, stored.original_width, stored.original_height]
        assert ours == sizes


def test_every_mode_of_img2dataset_is_there() -> None:
    from img2dataset.resizer import ResizeMode

    assert set(MODES) == set(ResizeMode.__members__)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (400, 300), (97, 311)])
@pytest.mark.parametrize("bigger", [False, True])
def test_equal_to_img2dataset(mode: str, size: tuple[int, int], bigger: bool) -> None:
    same_as_img2dataset(encode(noise(*size), "JPEG", quality=90), resize_mode=mode, resize_only_if_bigger=bigger)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(91, 60), (60, 91), (300, 7)])
@pytest.mark.parametrize("encoding", [("jpg", 95), ("png", 6), ("webp", 90)])
def test_equal_to_img2dataset_of_grey(mode: str, size: tuple[int, int], encoding: tuple[str, int]) -> None:
    """A JPEG of one channel stays one; what pads it is white."""
    body = encode(noise(*size).convert("L"), "JPEG", quality=90)
    for side in (64, 101):
        same_as_img2dataset(
            body, image_size=side, resize_mode=mode, encode_format=encoding[0], encode_quality=encoding[1]
        )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_equal_to_img2dataset_in_every_format(mode: str, encoding: tuple[str, int], format: str) -> None:
    body = encode(noise(180, 130), format, **({"lossless": True} if format == "WEBP" else {}))
    stored = {"encode_format": encoding[0], "encode_quality": encoding[1]}
    for keep in (False, True):
        same_as_img2dataset(body, image_size=96, resize_mode=mode, skip_reencode=keep, **stored)


INTERPOLATIONS = ["nearest", "linear", "bilinear", "cubic", "bicubic", "area", "lanczos", "lanczos4"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_equal_to_img2dataset_in_every_interpolation(mode: str, interpolation: str) -> None:
    body = encode(noise(120, 90), "PNG")
    for side, option in ((64, "downscale_interpolation"), (200, "upscale_interpolation")):
        same_as_img2dataset(body, image_size=side, resize_mode=mode, **{option: interpolation})


@pytest.mark.parametrize("limit", [{"min_image_size": 50}, {"max_aspect_ratio": 1.2}, {"max_image_area": 3000}])
@pytest.mark.parametrize("mode", MODES)
def test_equal_to_img2dataset_at_its_limits(mode: str, limit: dict[str, Any]) -> None:
    for size in ((64, 48), (60, 50), (50, 60), (49, 50)):
        same_as_img2dataset(encode(noise(*size), "PNG"), resize_mode=mode, **limit)


@pytest.mark.parametrize("mode", MODES)
def test_equal_to_img2dataset_on_a_real_pool(mode: str) -> None:
    pool = os.environ.get("CURATE_TEST_POOL")
    if not pool:
        pytest.skip("needs CURATE_TEST_POOL")
    files = [path for path in sorted(Path(pool).rglob("*")) if path.suffix in (".jpg", ".jpeg", ".png", ".webp")]
    assert len(files) >= 30
    for path in files[:: len(files) // 30]:
        body = path.read_bytes()
        with Image.open(io.BytesIO(body)) as image:
            # Of others img2dataset stores other colours than the file shows, or a picture that lies on its side.
            plain = image.mode in ("RGB", "L") and not image.info.get("icc_profile") and not image.getexif().get(0x0112)
        if plain:
            same_as_img2dataset(body, resize_mode=mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_one_pixel(mode: str) -> None:
    stored = resize(encode(Image.new(mode, (1, 1)), "PNG"))
    assert (stored.width, stored.height, stored.original_width, stored.original_height) == (256, 256, 1, 1)


def test_formats_of_the_stored_file() -> None:
    body = encode(quarters(), "JPEG")
    for name, quality in (("jpg", 95), ("png", 6), ("webp", 90)):
        stored = resize(body, encode_format=name, encode_quality=quality, **KEEP)
        assert stored.body is not None
        assert Image.open(io.BytesIO(stored.body)).format == {"jpg": "JPEG"}.get(name, name.upper())
        check(stored, COLOURS)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_not_decoded() -> None:
    bomb = encode(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000
    assert resize(bomb).status == "too_many_pixels"
    middling = encode(Image.new("1", (12_000, 10_000)), "PNG")
    assert resize(middling).status == "too_many_pixels"
    exact = encode(quarters(), "PNG")
    assert resize(exact, max_image_pixels=64 * 48).status == "success"
    stored = resize(exact, max_image_pixels=64 * 48 - 1)
    assert (stored.status, stored.original_width) == ("too_many_pixels", 64)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_cut_files(format: str) -> None:
    noise = Image.effect_noise((200, 150), 60).convert("RGB")
    body = encode(noise, format, **({"progressive": True} if format == "JPEG" else {}))
    for keep in (len(body) // 2, len(body) - 20):
        stored = resize(body[:keep])
        assert stored.status == "truncated" or (format == "AVIF" and stored.status != "success"), (keep, stored)
        assert resize(body[:keep], disable_all_reencoding=True).status == stored.status
    for padding in (b"\0" * 100, b"\r\n", b""):
        assert resize(body + padding).status == "success"


def test_a_cut_jpeg_with_a_whole_thumbnail() -> None:
    exif = b"Exif\0\0" + encode(quarters(), "JPEG")
    body = encode(Image.effect_noise((200, 150), 60), "JPEG", exif=exif)
    assert resize(body[: len(body) // 2]).status == "truncated"
    assert resize(body).status == "success"
    assert resize(body + b"a film of some seconds follows").status == "success"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_every_cut_of_a_small_file_has_a_status(format: str) -> None:
    body = encode(quarters(16, 12), format)
    call = Resize(ResizeOptions())
    statuses = {call(body[:keep]).status for keep in range(len(body))}
    assert statuses <= {"truncated", "not_an_image"}


@pytest.mark.parametrize(
    "body",
    [b"", b"<!DOCTYPE html><html><body>404</body></html>", os.urandom(5000), b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0\n"],
)
def test_not_an_image(body: bytes) -> None:
    stored = resize(body)
    assert stored.status == "not_an_image"
    assert (stored.original_width, stored.format, stored.width) == (None, None, None)


@pytest.mark.filterwarnings("ignore:Image was not the expected size")
def test_damage_has_a_status() -> None:
    rng = np.random.default_rng(3)
    call = Resize(ResizeOptions(max_image_pixels=100_000))  # a damaged header may declare a huge image
    for format in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "ICO", "JPEG2000", "PPM"):
        body = encode(quarters(), format)
        for _ in range(40):
            damaged = bytearray(body)
            for at in rng.integers(0, len(body), 4):
                damaged[at] = rng.integers(256)
            assert call(bytes(damaged)).status in STATUS


def test_a_chunk_that_declares_two_gigabytes_is_not_believed() -> None:
    body = encode(quarters(), "PNG")
    at = body.index(b"IDAT")
    stored = resize(body[: at - 4] + b"\x7f\xff\xff\xf0" + body[at:])
    assert stored.status == "truncated"


def test_limits_of_img2dataset() -> None:
    body = encode(quarters(), "PNG")
    for options, status in (
        ({"min_image_size": 49}, "too_small"),
        ({"max_aspect_ratio": 1.3}, "bad_aspect"),
        ({"max_image_area": 3071}, "too_large_area"),
    ):
        stored = resize(body, **options)
        assert (stored.status, stored.original_width, stored.original_height) == (status, 64, 48)
        assert resize(body, disable_all_reencoding=True, **options).status == "success"
    assert resize(body, min_image_size=48, max_aspect_ratio=1.34, max_image_area=3072).status == "success"


def test_bytes_are_kept_when_asked() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    plain, turned = encode(quarters(), "JPEG"), encode(quarters(), "JPEG", exif=exif)
    for options in ({"disable_all_reencoding": True}, {"skip_reencode": True, "resize_mode": "no"}):
        stored = resize(plain, **options)
        assert (stored.body, stored.width, stored.height) == (plain, 64, 48)
    stored = resize(turned, disable_all_reencoding=True)
    assert (stored.body, stored.width, stored.original_width, stored.exif_transposed) == (turned, 64, 48, False)
    stored = resize(turned, skip_reencode=True, resize_mode="no")
    assert (stored.width, stored.original_width, stored.exif_transposed) == (48, 48, True)
    palette = encode(quarters().quantize(16), "PNG")
    stored = resize(palette, skip_reencode=True, resize_mode="no", encode_format="png", encode_quality=9)
    check(stored, COLOURS)
    assert stored.body != palette
    assert len(stored.body or b"") < 2000, "compressed"


def test_the_longest_sides_are_an_error_not_a_crash() -> None:
    stored = resize(encode(Image.new("1", (70_000, 1)), "PNG"), **KEEP)
    assert stored.status == "resize_error"


def test_several_threads(capfd: pytest.CaptureFixture[str]) -> None:
    """img2dataset's own silencing would leave descriptors 1 and 2 on the null device."""
    call = Resize(ResizeOptions())
    body = encode(quarters(), "JPEG")
    found: list[Stored] = []
    threads = [threading.Thread(target=lambda: found.extend(call(body) for _ in range(20))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(1, b"still heard")
    assert {stored.status for stored in found} == {"success"}
    assert len(found) == 80
    assert "still heard" in capfd.readouterr().out


def test_options_are_checked() -> None:
    for wrong in ({"resize_mode": "squash"}, {"image_size": 0}, {"encode_format": "png"}, {"encode_format": "gif"}):
        with pytest.raises(ValidationError):
            ResizeOptions.model_validate(wrong)
    assert ResizeOptions.model_validate_json(ResizeOptions().model_dump_json()) == ResizeOptions()
