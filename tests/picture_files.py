"""Pictures of every kind that a crawl brings, made here: modes, bit depths, transparency, turns and colour profiles."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageDraw

#: What a phone stores when it is held upright: the picture lies on its side.
TURNED = 6


def scene(width: int = 72, height: int = 48) -> Image.Image:
    """A gradient with shapes on it: any turn, flip, change of colour or loss of a channel shows."""
    across = np.linspace(30, 220, width)[None].repeat(height, 0)
    down = np.linspace(200, 40, height)[:, None].repeat(width, 1)
    image = Image.fromarray(np.dstack([across, down, np.full_like(across, 90)]).round().astype(np.uint8))
    pen = ImageDraw.Draw(image)
    pen.rectangle((4, 4, width // 3, height // 3), fill=(210, 40, 50))
    pen.ellipse((width // 2, height // 2, width - 6, height - 5), fill=(40, 60, 200))
    return image


def see_through() -> Image.Image:
    """Of the scene, the left third is clear (with colours below that must not show), the middle half so."""
    image = scene().convert("RGBA")
    alpha = np.full((image.height, image.width), 255, np.uint8)
    alpha[:, : image.width // 3], alpha[:, image.width // 3 : image.width // 2] = 0, 128
    image.putalpha(Image.fromarray(alpha))
    return image


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, format, **options)
    return written.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def p3_profile() -> bytes:
    """Display P3: sRGB's curve, wider primaries."""
    return _matrix_profile([(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)])


def odd_srgb_profile() -> bytes:
    """sRGB's primaries and a table of its curve, as programs write it: not the bytes of any other one."""
    return _matrix_profile([(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)])


def linear_grey_profile() -> bytes:
    return _profile(b"GRAY", b"XYZ ", {b"wtpt": _xyz(0.9642, 1, 0.8249), b"kTRC": b"curv" + struct.pack(">II", 0, 0)})


def cmyk_profile() -> bytes:
    """Inks of a press: by Lab values of their corners, and the darker of two that lie on one another."""
    inks = np.array([(55, -37, -50), (48, 74, -3), (89, -5, 93), (16, 0, 0)], float)
    table = b""
    for corner in np.ndindex(2, 2, 2, 2):
        lying = inks[np.array(corner, bool)]
        lightness = 95 * np.prod(lying[:, 0] / 95) if len(lying) else 95.0
        a, b = lying[:, 1:].mean(0) * (0.5 if corner[3] else 1) if len(lying) else (0.0, -2.0)
        table += bytes([round(lightness * 2.55), round(a) + 128, round(b) + 128])
    straight = bytes(range(256))
    unit = struct.pack(">9i", *(65536 if i in (0, 4, 8) else 0 for i in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + straight * 4 + table + straight * 3
    return _profile(b"CMYK", b"Lab ", {b"wtpt": _xyz(0.9642, 1, 0.8249), b"A2B0": lut}, kind=b"prtr")


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))


def _matrix_profile(primaries: list[tuple[float, float, float]]) -> bytes:
    levels = np.arange(1024) / 1023
    curve = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    table = b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *np.rint(curve * 65535).astype(int))
    tags = {b"wtpt": _xyz(0.9642, 1, 0.8249)}
    for name, primary in zip(b"rgb", primaries, strict=True):
        tags[bytes([name]) + b"XYZ"], tags[bytes([name]) + b"TRC"] = _xyz(*primary), table
    return _profile(b"RGB ", b"XYZ ", tags)


def _profile(space: bytes, between: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    """An ICC profile, version 2.4 (ICC.1:2001-04)."""
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78), **tags}
    at, directory, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        directory += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = bytes(8) + struct.pack(">I", 0x02400000) + kind + space + between + bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 63190, 65536, 54061)
    head = head.ljust(128, b"\0")
    return struct.pack(">I", at + len(body)) + head[4:] + directory + body


def plain_files() -> Iterator[tuple[str, bytes, Image.Image, int]]:
    """(name, file, the RGB picture that it shows, levels by which its pixels may differ from that)."""
    whole, grey = scene(), scene().convert("L").convert("RGB")
    for format in ("PNG", "TIFF", "BMP", "PPM", "ICO", "JPEG2000"):
        options = {"ICO": {"sizes": [whole.size]}, "JPEG2000": {"irreversible": False}}.get(format, {})
        yield f"RGB {format}", encoded(whole, format, **options), whole, 0
    yield "RGB WEBP lossless", encoded(whole, "WEBP", lossless=True), whole, 0
    for format, options in (
        ("JPEG", {"quality": 97, "subsampling": 0}),
        ("AVIF", {"quality": 99, "subsampling": "4:4:4"}),
        ("MPO", {"quality": 97, "subsampling": 0, "save_all": True, "append_images": [whole.rotate(180)]}),
    ):
        yield f"RGB {format}", encoded(whole, format, **options), whole, 24
    # Colours at half the size: far off at edges.
    yield "RGB WEBP", encoded(whole, "WEBP", quality=99), whole, 110
    yield "RGB JPEG progressive", encoded(whole, "JPEG", quality=97, subsampling=0, progressive=True), whole, 24
    for format in ("PNG", "TIFF", "BMP", "PPM", "GIF"):
        yield f"L {format}", encoded(whole.convert("L"), format), grey, 0
    yield "L JPEG", encoded(whole.convert("L"), "JPEG", quality=98), grey, 12
    palette = whole.quantize(64)
    for format in ("PNG", "TIFF", "BMP", "GIF"):
        yield f"P {format}", encoded(palette, format), palette.convert("RGB"), 0
    bits = whole.convert("1")
    for format in ("PNG", "TIFF", "BMP", "PPM", "GIF"):
        yield f"1 {format}", encoded(bits, format), bits.convert("RGB"), 0
    cmyk = whole.convert("CMYK")
    yield "CMYK TIFF", encoded(cmyk, "TIFF"), whole, 2
    yield "CMYK JPEG as Adobe writes it", encoded(cmyk, "JPEG", quality=98), whole, 24
    yield "YCbCr TIFF", encoded(whole.convert("YCbCr"), "TIFF"), whole, 3
    yield "YCbCr JPEG", encoded(whole.convert("YCbCr"), "JPEG", quality=97, subsampling=0), whole, 24
    spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(whole, *spaces, outputMode="LAB")
    assert lab is not None
    yield "LAB TIFF", encoded(lab, "TIFF"), whole, 16


def deep_files() -> Iterator[tuple[str, bytes, Image.Image, int]]:
    """More than 8 bits."""
    whole, grey = scene(), scene().convert("L").convert("RGB")
    levels = np.asarray(whole.convert("L"))
    for format in ("PNG", "TIFF", "JPEG2000"):
        yield f"I;16 {format}", encoded(Image.fromarray(levels.astype(np.uint16) * 257), format), grey, 0
    dark = Image.fromarray(levels.astype(np.uint16))
    yield "I;16 PNG, nearly black", encoded(dark, "PNG"), Image.new("RGB", dark.size), 1
    yield "I TIFF", encoded(Image.fromarray(levels.astype(np.int32)), "TIFF"), grey, 0
    yield "F TIFF", encoded(Image.fromarray(levels.astype(np.float32) / 255), "TIFF"), grey, 0
    deep = np.asarray(whole)[..., ::-1].astype(np.uint16) * 257
    yield "RGB of 16 bits PNG", cv2.imencode(".png", deep)[1].tobytes(), whole, 0
    yield "RGB of 16 bits TIFF", cv2.imencode(".tiff", deep)[1].tobytes(), whole, 0
    clear = np.dstack([deep, np.asarray(see_through().getchannel("A")).astype(np.uint16) * 257])
    yield "RGBA of 16 bits PNG", cv2.imencode(".png", clear)[1].tobytes(), on_white(see_through()), 1


def clear_files() -> Iterator[tuple[str, bytes, Image.Image, int]]:
    """Transparency, in every form."""
    layer = see_through()
    grey = layer.convert("LA")
    for format, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("ICO", {"sizes": [layer.size]})):
        yield f"RGBA {format}", encoded(layer, format, **options), on_white(layer), 1
    yield "RGBA AVIF", encoded(layer, "AVIF", quality=99, subsampling="4:4:4"), on_white(layer), 40
    yield "LA PNG", encoded(grey, "PNG"), on_white(grey), 1
    yield "LA TIFF", encoded(grey, "TIFF"), on_white(grey), 1
    palette = scene().quantize(32)
    left = palette.getpixel((6, 6))
    assert isinstance(left, int)
    shown = palette.convert("RGB")
    shown.paste("white", mask=Image.fromarray(np.asarray(palette) == left))
    for format in ("PNG", "GIF"):
        yield f"P {format} with a clear colour", encoded(palette, format, transparency=left), shown, 0
    alphas = bytes([128]) * 32
    half = on_white(Image.merge("RGBA", (*palette.convert("RGB").split(), Image.new("L", palette.size, 128))))
    yield "P PNG with alpha for each colour", encoded(palette, "PNG", transparency=alphas), half, 1
    red = scene()
    shown = red.copy()
    shown.paste("white", mask=Image.fromarray((np.asarray(red) == (210, 40, 50)).all(-1)))
    yield "RGB PNG with a clear colour", encoded(red, "PNG", transparency=(210, 40, 50)), shown, 0
    light = scene().convert("L")
    level = light.getpixel((6, 6))
    assert isinstance(level, int)
    shown = light.convert("RGB")
    shown.paste("white", mask=Image.fromarray(np.asarray(light) == level))
    yield "L PNG with a clear level", encoded(light, "PNG", transparency=level), shown, 0
    deep = Image.fromarray(np.asarray(light).astype(np.uint16) * 257)
    yield "I;16 PNG with a clear level", encoded(deep, "PNG", transparency=level * 257), shown, 0
    bits = scene().convert("1")
    yield "1 PNG with a clear level", encoded(bits, "PNG", transparency=0), Image.new("RGB", bits.size, "white"), 0


def turned_files() -> Iterator[tuple[str, bytes, Image.Image, int]]:
    whole = scene()
    lying = whole.transpose(Image.Transpose.ROTATE_90)
    for format, options, within in (
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("TIFF", {}, 0),
        ("JPEG", {"quality": 97, "subsampling": 0}, 24),
        ("AVIF", {"quality": 99, "subsampling": "4:4:4"}, 24),
    ):
        yield f"turned {format}", encoded(lying, format, exif=exif(TURNED), **options), whole, within
    clear = see_through().transpose(Image.Transpose.ROTATE_90)
    yield "turned and clear PNG", encoded(clear, "PNG", exif=exif(TURNED)), on_white(see_through()), 1


def profiled_files() -> Iterator[tuple[str, bytes, Image.Image, int]]:
    whole = scene()
    wide = ImageCms.ImageCmsProfile(io.BytesIO(p3_profile()))
    stored = ImageCms.profileToProfile(whole, ImageCms.createProfile("sRGB"), wide)
    assert stored is not None and np.abs(np.asarray(stored).astype(int) - np.asarray(whole)).max() > 8
    for format, options, within in (
        ("PNG", {}, 3),
        ("WEBP", {"lossless": True}, 3),
        ("TIFF", {}, 3),
        ("JPEG", {"quality": 97, "subsampling": 0}, 28),
        ("AVIF", {"quality": 99, "subsampling": "4:4:4"}, 28),
    ):
        yield f"P3 {format}", encoded(stored, format, icc_profile=p3_profile(), **options), whole, within
        yield f"sRGB {format}", encoded(whole, format, icc_profile=odd_srgb_profile(), **options), whole, within
        yield f"damaged profile {format}", encoded(whole, format, icc_profile=b"junk" * 40, **options), whole, within
    clear = stored.copy()
    clear.putalpha(see_through().getchannel("A"))
    yield "P3 and clear PNG", encoded(clear, "PNG", icc_profile=p3_profile()), on_white(see_through()), 4
    lying = stored.transpose(Image.Transpose.ROTATE_90)
    turned = encoded(lying, "JPEG", quality=97, subsampling=0, icc_profile=p3_profile(), exif=exif(TURNED))
    yield "P3 and turned JPEG", turned, whole, 28
    grey = whole.convert("L")
    shown = np.asarray(grey) / 255
    shown = np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)
    bright = Image.fromarray(np.rint(shown * 255).astype(np.uint8)).convert("RGB")
    yield "linear grey PNG", encoded(grey, "PNG", icc_profile=linear_grey_profile()), bright, 3
    yield "grey with a profile of colours", encoded(grey, "TIFF", icc_profile=p3_profile()), grey.convert("RGB"), 3


def files() -> Iterator[tuple[str, bytes, Image.Image, int]]:
    for kind in (plain_files, deep_files, clear_files, turned_files, profiled_files):
        yield from kind()


def on_white(image: Image.Image) -> Image.Image:
    """By the formula, in floats."""
    layer = np.asarray(image.convert("RGBA")).astype(float)
    alpha = layer[..., 3:] / 255
    return Image.fromarray(np.rint(layer[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8))
