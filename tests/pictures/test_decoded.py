"""Pixels of stored files are those of Pillow's full decode, whoever decodes them."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from curate.demo import scenes
from curate.pictures import decoded
from curate.pictures.decoded import Decoded, decode


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def drawn(seed: int = 5) -> Image.Image:
    return scenes.draw(random.Random(seed), size_px=(301, 257))[0]


def pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        seen = image.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB"))


@pytest.mark.parametrize(
    "options", [{}, {"quality": 60}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"optimize": True}]
)
def test_a_jpeg_has_the_pixels_that_pillow_gives_it(options):
    data = jpeg(drawn(), **options)
    found = decode(data)
    assert "image" not in vars(found), "Pillow had no part in it"
    np.testing.assert_array_equal(found.pixels, pillow(data))
    np.testing.assert_array_equal(np.asarray(found.image), found.pixels)
    assert (found.image.mode, found.image.size) == ("RGB", (301, 257))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_every_kind_of_jpeg_becomes_rgb_at_its_full_size(mode):
    data = jpeg(drawn().convert(mode))
    found = decode(data)
    assert found.pixels.shape == (257, 301, 3)
    np.testing.assert_array_equal(found.pixels, pillow(data))


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("WEBP", "RGB"), ("GIF", "P")])
def test_other_files_are_pillow_s(kind, mode):
    file = io.BytesIO()
    drawn().convert(mode).save(file, kind)
    np.testing.assert_array_equal(decode(file.getvalue()).pixels, pillow(file.getvalue()))


@pytest.mark.slow
def test_a_palette_with_transparency_is_decoded_without_a_word(tmp_path):
    """In a process of its own: pytest has other filters for warnings."""
    file = tmp_path / "icon.png"
    drawn().convert("P", palette=Image.Palette.ADAPTIVE, colors=8).save(file, transparency=bytes([0, 128, 255]))
    code = f"from curate.pictures.decoded import decode; print(decode(open({str(file)!r}, 'rb').read()).pixels.shape)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("(257, 301, 3)", "")


def test_damage_raises():
    data = jpeg(drawn())
    for damaged in (data[: len(data) // 2], data[:3], b"", b"no picture", b"\xff\xd8no picture"):
        with pytest.raises(OSError):
            decode(damaged)


def test_what_pillow_forgives_is_forgiven():
    data = jpeg(drawn())
    np.testing.assert_array_equal(decode(data + b"more").pixels, pillow(data))
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0x55
    np.testing.assert_array_equal(decode(bytes(flipped)).pixels, pillow(bytes(flipped)))


def test_a_damaged_jpeg_is_not_taken_for_a_png():
    """What fails keeps the error of its own format."""
    with pytest.raises(OSError, match="truncated"):
        decode(jpeg(drawn())[:-900])


def test_several_threads():
    files = [jpeg(drawn(seed)) for seed in range(12)]
    with ThreadPoolExecutor(4) as threads:
        for data, found in zip(files, threads.map(decode, files), strict=True):
            np.testing.assert_array_equal(found.pixels, pillow(data))


def test_each_form_is_made_of_the_other():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert Decoded(pixels).image.getpixel((3, 1)) == (21, 22, 23)
    assert Decoded(image=Image.fromarray(pixels)).pixels.tolist() == pixels.tolist()
    assert decoded.Decoded(pixels).pixels is pixels
