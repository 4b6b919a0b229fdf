"""Opening an image file: only formats that are read here, only the header, and what its decoding would cost."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from PIL import Image, ImageFile, UnidentifiedImageError

from curate.pictures.cut_files import gif_parts
from curate.pictures.jpeg_marks import LEAST_SCAN_BYTES, MAX_SEGMENTS, is_jpeg, jpeg_head, scans
from curate.pictures.upright import ORIENTATION, orientation_of

#: A list, since Pillow's others include EPS, which runs Ghostscript on what a stranger wrote.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "ICO", "AVIF", "JPEG2000", "PPM")

#: Bytes that may be in memory at once to decode one image, all copies together.
MAX_WORKING_BYTES = 1_000_000_000

#: Scans times pixels of a JPEG: some ten seconds. A picture of 89 million pixels may have 22 scans; programs write ten.
MAX_SCANNED_PIXELS = 2_000_000_000

#: Chunks of a PNG, of which 50 MB in the smallest ones that programs write are 12,000; blocks of a GIF's head.
MAX_CHUNKS = 100_000

#: Bytes a pixel of what is made in the end: a Pillow image and an array.
FINAL = 8.0
#: Bytes a pixel of one more copy, of an image that is not RGB, and of alpha with the white behind it.
_COPY, _ALPHA = 4.5, 5.5
#: Bytes a pixel that a decoder holds beside its result.
_DECODER = {"WEBP": 12, "AVIF": 8, "TIFF": 2, "ICO": 12}
#: Bytes a pixel and channel of OpenJPEG, which works on whole numbers.
_JPEG2000_CHANNEL = 5
#: Bytes a pixel of Pillow's own images; 4.5 for all others.
_STORED = {"1": 2.5, "L": 1.5, "P": 1.5, "I;16": 7, "I;16L": 7, "I;16B": 7, "I;16N": 7, "I": 13, "F": 13}

_PNG = b"\x89PNG\r\n\x1a\n"
#: Chunks of a PNG without which there are no pixels, and those that say what the pixels mean.
_PIXELS, _ABOUT_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND"), (b"tRNS", b"iCCP", b"eXIf")


class TooCostly(ValueError):
    """An image that is not decoded, since that would take too much memory or time. `status` is a word for it."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


def no_memory(problem: Exception) -> bool:
    """Whether a decoder raised it since memory was refused."""
    words = ("out of memory", "insufficient memory", "failed to allocate", "cannot allocate")
    return isinstance(problem, MemoryError) or any(word in str(problem).lower() for word in words)


@dataclass(frozen=True)
class PictureSize:
    """format: Pillow's, in small letters. width, height: as stored. upright: (width, height) as a viewer shows it."""

    format: str
    width: int
    height: int
    upright: tuple[int, int]


def opened(data: bytes, max_working_bytes: int = MAX_WORKING_BYTES) -> ImageFile.ImageFile:
    """The image, of which the header is read and nothing decoded.

    Not by `Image.open`: its limit of pixels is one for the whole process.

    Raises:
        UnidentifiedImageError: for no image, or one of a format that is not read here.
        TooCostly: for a file whose mere opening would take more than `max_working_bytes` of memory, or of hundred
            thousand parts.
        Exception: whatever Pillow raises on a header that breaks its format's rules.
    """
    _check_opening(data, max_working_bytes)
    try:
        return _opened(data)
    except Exception:
        plain = without_side_chunks(data)
        if plain is None:
            raise
        return _opened(plain)


def picture_size(data: bytes) -> PictureSize:
    """What a file says of itself; raises what `opened` raises."""
    with opened(data) as image:
        return size_of(image, data)


def size_of(image: ImageFile.ImageFile, data: bytes) -> PictureSize:
    width, height = image.size
    lies = header_orientation(image, data) >= 5 and image.format != "TIFF"  # of a TIFF, Pillow gives the upright size
    return PictureSize((image.format or "").lower(), width, height, (height, width) if lies else (width, height))


def header_orientation(image: ImageFile.ImageFile, data: bytes) -> int:
    """EXIF's, 1 to 8, without decoding: of a PNG, Pillow decodes all to look for EXIF behind the pixels."""
    if image.format != "PNG":
        return orientation_of(image)
    notes = [data[start:end] for kind, start, end in _chunks(data) if kind == b"eXIf"]
    if notes and _sound(b"eXIf", notes[-1]):
        image.info["exif"] = notes[-1][8:-4]
    try:
        value = Image.Image.getexif(image).get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - whatever strange EXIF raises
        return 1
    return int(value) if value in range(1, 9) else 1


def _opened(data: bytes) -> ImageFile.ImageFile:
    for name in _formats():
        factory, accept = Image.OPEN[name]
        try:
            if accept is None or accept(data[:16]) is not True:
                continue
            return factory(io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, KeyError, struct.error):
            continue
    raise UnidentifiedImageError("empty" if not data else f"starts with {data[:16]!r}")


def claimed_format(data: bytes) -> str:
    r"""The format that a file's first bytes claim, as Pillow knows them, with nothing opened; "" for none.

    >>> claimed_format(b"\x89PNG\r\n\x1a\n"), claimed_format(b"<html>")
    ('PNG', '')
    """
    for name in _formats():
        accept = Image.OPEN[name][1]
        try:
            if accept is None or accept(data[:16]) is True:
                return name
        except (IndexError, TypeError, struct.error):
            continue
    return ""


@cache
def _formats() -> tuple[str, ...]:
    """Those of them that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_opening(data: bytes, most: int) -> None:
    """Two formats are partly decoded when they are opened, before Pillow has told their size; of three others, Pillow
    looks at each part of the file by itself."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        check_cost(*webp_size(data), _DECODER["WEBP"], most)
    elif data.startswith(b"\0\0\1\0"):
        for width, height in _ico_sizes(data):
            check_cost(width, height, _DECODER["ICO"], most)
    elif is_jpeg(data):
        _check_parts(jpeg_head(data).segments, MAX_SEGMENTS)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        _check_parts(gif_parts(data, MAX_CHUNKS), MAX_CHUNKS)
    elif data.startswith(_PNG):
        _check_parts(sum(1 for _ in islice(_chunks(data), MAX_CHUNKS)), MAX_CHUNKS)


def _check_parts(count: int, most: int) -> None:
    if count >= most:
        raise TooCostly("too_many_parts", f"a file of {most:,} parts or more")


def check_cost(width: int, height: int, bytes_a_pixel: float, most: int = MAX_WORKING_BYTES) -> None:
    """
    Raises:
        TooCostly: when decoding takes more than `most` bytes.
    """
    cost = int(width * height * bytes_a_pixel)
    if cost > most:
        raise TooCostly(
            "too_large_to_decode",
            f"{width} x {height} pixels take {cost:,} bytes of memory, at most {most:,} are allowed",
        )


def decoding_bytes(image: ImageFile.ImageFile, data: bytes) -> float:
    """Bytes a pixel that are in memory at once, at most, from the file to RGB: seen in the header alone."""
    stored = _STORED.get(image.mode, 4.5)
    pixels = stored + _DECODER.get(image.format or "", 0)
    if is_jpeg(data):
        pixels += jpeg_head(data).frequencies or (8 if image.info.get("progressive") else 0)
    if image.format == "JPEG2000":
        pixels += _JPEG2000_CHANNEL * len(image.getbands())
    if image.mode != "RGB":
        pixels += _COPY
    if image.has_transparency_data:
        pixels += _ALPHA + (0 if image.mode == "RGBA" else _COPY)
    if {"icc_profile", "exif", "xmp", "XML:com.adobe.xmp"} & image.info.keys():
        pixels += _COPY  # in other colours, or turned
    return max(pixels, FINAL + (0 if image.mode == "RGB" else stored))


def check_decoding(image: ImageFile.ImageFile, data: bytes, most: int = MAX_WORKING_BYTES) -> None:
    """
    Raises:
        TooCostly: `too_large_to_decode`, or `too_many_scans` for a JPEG.
    """
    width, height = image.size
    check_cost(width, height, decoding_bytes(image, data), most)
    tile = _tile_pixels(image)
    check_cost(tile, 1, 4, most)
    if is_jpeg(data):
        check_scans(data, width * height)


def check_scans(data: bytes, pixels: int) -> None:
    """
    Raises:
        TooCostly: for a JPEG whose scans would take too long.
    """
    allowed = max(1, MAX_SCANNED_PIXELS // max(1, pixels))
    head = jpeg_head(data)
    # A decoder stops behind a scan of all channels, unless it is a progressive one. And most files are too short, or
    # have too few such bytes even with those of thumbnails and those by chance.
    single = head.channels and not head.frequencies
    if single or len(data) // LEAST_SCAN_BYTES <= allowed or data.count(b"\xff\xda") <= allowed:
        return
    if head.scan is not None and scans(data, head.scan, allowed + 1) > allowed:
        raise TooCostly("too_many_scans", f"more than {allowed} scans of {pixels:,} pixels each")


def _tile_pixels(image: Any) -> int:
    """Of a TIFF in tiles, those of one: it may be larger than the image."""
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(322), tags.get(323)
    return width * height if isinstance(width, int) and isinstance(height, int) else 0


def webp_size(data: bytes) -> tuple[int, int]:
    kind, at = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return int.from_bytes(at[4:7], "little") + 1, int.from_bytes(at[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(at[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(at[6:8], "little") & 0x3FFF, int.from_bytes(at[8:10], "little") & 0x3FFF


def _ico_sizes(data: bytes) -> list[tuple[int, int]]:
    """Of the pictures in an icon, as they say themselves: the directory says at most 256."""
    sizes = []
    for entry in range(6, 6 + 16 * int.from_bytes(data[4:6], "little"), 16):
        at = int.from_bytes(data[entry + 12 : entry + 16], "little")
        if data[at : at + 8] == _PNG:
            sizes.append(struct.unpack(">II", data[at + 16 : at + 24].ljust(8, b"\0")))
        else:
            width, height = struct.unpack("<ii", data[at + 4 : at + 12].ljust(8, b"\0"))
            sizes.append((abs(width), abs(height) // 2))
        if entry > len(data):
            break
    return sizes


def without_side_chunks(data: bytes) -> bytes | None:
    """A PNG without whatever does not decide its pixels, and without profiles and EXIF that are damaged; None for
    another file. Its end must be there: what follows is left out."""
    if not data.startswith(_PNG):
        return None
    kept = [_PNG]
    for kind, start, end in _chunks(data):
        if kind in _PIXELS or (kind in _ABOUT_PIXELS and _sound(kind, data[start:end])):
            kept.append(data[start:end])
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the chunks of a PNG, to its last one."""
    at, kind = 8, b""
    while at + 12 <= len(data) and kind != b"IEND":
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield kind, at, end
        at = end


def _sound(kind: bytes, chunk: bytes) -> bool:
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        return False
    if kind != b"iCCP":
        return True
    packed = chunk[8:-4].partition(b"\0")[2][1:]
    try:
        profile = zlib.decompressobj().decompress(packed, 1 << 20)
    except zlib.error:
        return False
    return len(profile) < 1 << 20  # Pillow's limit: what is larger, it refuses with the whole file
