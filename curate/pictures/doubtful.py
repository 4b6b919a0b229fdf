"""Which files are decoded in a process that may die, told by their bytes before any library has looked at them.

Good files are decoded where they are wanted: most are JPEGs, PNGs, GIFs and WebPs of some million pixels, for which no
second process and no second copy is worth its time. What they may cost is bounded by this rule: HERE_BYTES of memory,
and about a second, since time goes with pixels, scans and the bytes of the file.

Doubtful, with the reason of each:

- other formats (AVIF, TIFF, JPEG 2000, ICO, BMP, PPM): their decoders have a long history of crashes, their headers
  tell little of the cost (tiles, boxes, pictures inside pictures), or Pillow reads them in plain Python;
- an animated WebP: opening it makes room for several canvases before any frame is asked for;
- JPEGs with arithmetic coding, 12 bits, no loss or layers, which cameras and programs do not write;
- a JPEG of many scans: each is a pass over all blocks, however few bytes it has;
- large pictures: they are rare, so that the copy costs little, and one at a time has all the memory;
- files that are cut off, or have so many parts that reading them one by one takes seconds.
"""

from __future__ import annotations

from curate.pictures.cut_files import gif_frame, is_cut
from curate.pictures.jpeg_marks import MAX_SEGMENTS, JpegHead, is_jpeg, jpeg_head
from curate.pictures.picture_file import FINAL, claimed_format, webp_size

#: The reason of a file that is known to take more than HERE_BYTES.
LARGE = "large"

#: Bytes that a file may take in the process that wants it, as `decoding_bytes` counts them at most: a JPEG or PNG of 25
#: million pixels in RGB, one of 14 million with alpha.
HERE_BYTES = 200_000_000

#: Scans times pixels of a JPEG: half a second where scans are empty.
HERE_SCANNED_PIXELS = 300_000_000

#: Bytes of a GIF, of which every part may be of two bytes and is looked at in Python.
HERE_GIF_BYTES = 10_000_000

#: Bytes a pixel, at most, of a picture that is no RGB, has alpha, a profile or a turn; and of a WebP.
_ANY, _WEBP = 14.5, 26.5
#: A PNG's types of colour that need no more than FINAL: grey and RGB, of 8 bits or fewer.
_PLAIN_PNG = (0, 2)
_ANIMATED = 2


def doubt(data: bytes, head: JpegHead | None = None) -> str:
    """Why a file is decoded in a process of its own; "" for one that is not, or that is no picture at all.

    head: of a JPEG, where it is known.

    >>> doubt(b"<html>"), doubt(b"II*\\0")
    ('', 'TIFF')
    """
    if is_jpeg(data):
        return _jpeg(data, head or jpeg_head(data))
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    return claimed_format(data)


def _jpeg(data: bytes, head: JpegHead) -> str:
    if head.is_rare:
        return "a rare kind of JPEG"
    if head.segments >= MAX_SEGMENTS:
        return ""  # refused for that, at once
    pixels = head.width * head.height
    each = max(head.frequencies + 4.5, FINAL) if head.channels in (1, 3) and not head.noted else head.frequencies + _ANY
    if pixels * each > HERE_BYTES:
        return LARGE
    if head.frequencies and pixels * data.count(b"\xff\xda") > HERE_SCANNED_PIXELS:
        return "many scans"
    return "cut off" if head.scan is None or data.rfind(b"\xff\xd9", head.scan) < 0 else ""


def _png(data: bytes) -> str:
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    bits, colours = data[24:25], data[25:26]
    plain = bits <= b"\x08" and colours in [bytes([kind]) for kind in _PLAIN_PNG]
    if width * height * (FINAL if plain else _ANY) > HERE_BYTES:
        return LARGE
    return "cut off" if is_cut(data) else ""


def _gif(data: bytes) -> str:
    if len(data) > HERE_GIF_BYTES:
        return "many parts"
    width, height = gif_frame(data)
    return LARGE if width * height * _ANY > HERE_BYTES else ""


def _webp(data: bytes) -> str:
    if data[12:16] == b"VP8X" and data[20:21] and data[20] & _ANIMATED:
        return "animated"
    width, height = webp_size(data)
    if width * height * _WEBP > HERE_BYTES:
        return LARGE
    return "cut off" if is_cut(data) else ""
