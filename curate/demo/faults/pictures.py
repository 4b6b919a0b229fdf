"""Picture files of the fault web: sound ones, each unlike all others, and those that break a decoder or a limit."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
#: Sides in pixels; by the number of a picture.
SIZES = ((160, 120), (96, 128), (320, 200), (64, 64), (240, 300))

_FAST: dict[str, dict[str, Any]] = {"JPEG": {"quality": 85}, "WEBP": {"quality": 85, "method": 0}}
_FAST["PNG"] = {"compress_level": 1}
_PNG = b"\x89PNG\r\n\x1a\n"
_PAGE = b"<!doctype html><html><head><title>Gone</title></head><body><p>Please log in.</p></body></html>"


def picture(number: int) -> bytes:
    """A file that no other number has."""
    format = FORMATS[number % len(FORMATS)]
    return encoded(scene(number), format, **_FAST.get(format, {}))


def scene(number: int, size: tuple[int, int] | None = None) -> Image.Image:
    """Coloured clouds of a known size."""
    clouds = np.random.default_rng(number).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(clouds).resize(size or SIZES[number % len(SIZES)], Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _cut(format: str) -> Callable[[int], bytes]:
    def half(number: int) -> bytes:
        whole = encoded(scene(number), format)
        return whole[: len(whole) // 2]

    return half


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, colours: int, pixels: bytes = b"\0", middle: bytes = b"") -> bytes:
    """A PNG of 8 bits that declares a size, with whatever pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    return _PNG + _chunk(b"IHDR", header) + middle + _chunk(b"IDAT", zlib.compress(pixels)) + _chunk(b"IEND", b"")


@cache
def many_scans(side: int = 1000, scans: int = 3000) -> bytes:
    """A progressive JPEG of so many scans: each costs a decoder a pass over all pixels."""
    whole = encoded(scene(1, (side, side)), "JPEG", progressive=True, quality=50)
    # The last scan refines one channel; it may come again as often as one likes.
    start, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    last = whole[start:end][:40]
    return whole[:end] + last * scans + b"\xff\xd9"


def _webp_header(number: int) -> bytes:
    """34 bytes that declare the largest WebP that there is."""
    sides = (16_383).to_bytes(2, "little") * 2
    frame = b"\x10\0\0\x9d\x01\x2a" + sides + bytes(4)
    return b"RIFF" + (26).to_bytes(4, "little") + b"WEBPVP8 " + len(frame).to_bytes(4, "little") + frame


def _frames(number: int) -> bytes:
    return _animation() + b"%d" % number


@cache
def _animation() -> bytes:
    one, other = (scene(turn, (64, 48)).quantize(16) for turn in (0, 1))
    return encoded(one, "GIF", save_all=True, append_images=[other, one] * 100)


def _spoiled(number: int) -> bytes:
    """A PNG whose packed pixels are noise."""
    noise = np.random.default_rng(number).bytes(4000)
    header = struct.pack(">IIBBBBB", 90, 90, 8, 2, 0, 0, 0)
    return _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", noise) + _chunk(b"IEND", b"")


def _see_through(number: int) -> bytes:
    image = scene(number).convert("RGBA")
    image.putalpha(128)
    return encoded(image, "PNG")


def _turned(number: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = 6
    return encoded(scene(number), "JPEG", exif=tags)


_NOTES = _chunk(b"tEXt", b"") * 120_000
_POSTER = encoded(scene(0, (1100, 1000)), "JPEG")

#: Files by their name: (status, what they are, the file of a number).
FILES: dict[str, tuple[str, str, Callable[[int], bytes]]] = {
    "jpeg_cmyk": ("success", "JPEG in the four inks of a press", lambda n: encoded(scene(n).convert("CMYK"), "JPEG")),
    "jpeg_grey": ("success", "grey JPEG", lambda n: encoded(scene(n).convert("L"), "JPEG")),
    "jpeg_progressive": ("success", "progressive JPEG", lambda n: encoded(scene(n), "JPEG", progressive=True)),
    "jpeg_turned": ("success", "JPEG that lies on its side, as its EXIF says", _turned),
    "png_palette": ("success", "PNG of 16 colours", lambda n: encoded(scene(n).quantize(16), "PNG")),
    "png_transparent": ("success", "PNG that one can see through", _see_through),
    "gif_frames": ("success", "GIF of 201 frames", _frames),
    "picture_and_more": ("success", "picture with a web page behind its end", lambda n: picture(4 * n) + _PAGE),
    "jpeg_cut": ("truncated", "half of a JPEG, served as whole", _cut("JPEG")),
    "png_cut": ("truncated", "half of a PNG, served as whole", _cut("PNG")),
    "webp_cut": ("truncated", "half of a WebP, served as whole", _cut("WEBP")),
    "gif_cut": ("truncated", "half of a GIF, served as whole", _cut("GIF")),
    "html_as_jpeg": ("not_an_image", "web page called image/jpeg", lambda n: _PAGE + b"%d" % n),
    "svg": ("not_an_image", "drawing in SVG", lambda n: b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "zeros": ("not_an_image", "zeros", lambda n: bytes(5000)),
    "png_spoiled": ("resize_error", "PNG whose pixels are noise", _spoiled),
    "png_bomb": ("too_many_pixels", "PNG that declares 50,000 x 50,000 pixels", lambda n: png(50_000, 50_000, 2)),
    "png_costly": ("too_large_to_decode", "PNG of 81 million pixels with alpha", lambda n: png(9000, 9000, 6)),
    "webp_costly": ("too_large_to_decode", "34 bytes of WebP for 268 million pixels", _webp_header),
    "png_chunks": ("too_many_parts", "PNG of 120,000 chunks", lambda n: png(9, 9, 2, middle=_NOTES)),
    "jpeg_scans": ("too_many_scans", "progressive JPEG of 3,000 scans", lambda n: many_scans()),
    "tiny": ("too_small", "picture of 5 x 5 pixels", lambda n: encoded(scene(n, (5, 5)), "PNG")),
    "banner": ("bad_aspect", "picture of 900 x 20 pixels", lambda n: encoded(scene(n, (900, 20)), "PNG")),
    "poster": ("too_large_area", "picture of too many pixels", lambda n: _POSTER),
}  # fmt: skip
