"""What the markers of a JPEG tell before any of it is decoded: its frame, where its picture begins, its scans."""

from __future__ import annotations

import re
from dataclasses import dataclass

_END, _SCAN = 0xD9, 0xDA
#: A marker, not a stuffed byte, a restart mark or a fill byte.
_MARK = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
#: Frames: sequential and progressive ones, by Huffman or arithmetic coding; not the tables C4, C8 and CC.
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
#: What cameras and programs write: baseline, extended and progressive, by Huffman coding, of 8 bits.
_USUAL, _USUAL_BITS = frozenset({0xC0, 0xC1, 0xC2}), 8

#: Segments before a picture, of which files have some twenty; Pillow takes a minute for ten million empty ones.
MAX_SEGMENTS = 20_000

#: Bytes of the shortest scan: its marker and head.
LEAST_SCAN_BYTES = 10


@dataclass(frozen=True)
class JpegHead:
    """width, height: in pixels, 0 where there is no frame. channels: 1, 3 or 4. frequencies: bytes a pixel that the
    decoder keeps until the last of several scans, 0 for one. noted: whether APP1 or APP2 are there, where EXIF, XMP
    and ICC profiles stand. scan: where the picture begins; None in a file that ends before. segments: how many stand
    before the picture; counted no further than MAX_SEGMENTS. is_rare: arithmetic coding, 12 bits, no loss, layers.
    """

    width: int = 0
    height: int = 0
    channels: int = 0
    frequencies: float = 0.0
    noted: bool = False
    scan: int | None = None
    segments: int = 0
    is_rare: bool = False


def is_jpeg(data: bytes) -> bool:
    return data.startswith(b"\xff\xd8\xff")


def jpeg_head(data: bytes) -> JpegHead:
    width = height = channels = 0
    frequencies, several, noted, at, segments, rare = 0.0, False, False, 2, 0, False
    while at + 4 <= len(data) and segments < MAX_SEGMENTS:
        mark = data[at + 1]
        if data[at] == 0xFF and mark == 0xFF:  # fill byte
            at, segments = at + 1, segments + 1
            continue
        if data[at] != 0xFF or mark == _SCAN:  # no marker: damaged, the decoder will judge
            several = several or data[at + 4 : at + 5] != bytes([channels])
            return JpegHead(width, height, channels, frequencies if several else 0.0, noted, at, segments, rare)
        if mark in _FRAMES and not channels and at + 9 < len(data):
            height, width = (int.from_bytes(data[i : i + 2], "big") for i in (at + 5, at + 7))
            channels, several = data[at + 9], mark in _PROGRESSIVE
            rare = mark not in _USUAL or data[at + 4] != _USUAL_BITS
            frequencies = _frequencies(data[at + 11 : at + 10 + 3 * channels : 3])
        noted = noted or mark in (0xE1, 0xE2)
        segments += 1
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return JpegHead(width, height, channels, 0.0, noted, None, segments, rare)


def _frequencies(sampling: bytes) -> float:
    """Bytes a pixel of the frequencies of all channels, two each, by their sampling."""
    parts = [(each >> 4, each & 15) for each in sampling]
    most = max((h for h, _ in parts), default=1) * max((v for _, v in parts), default=1)
    return 2 * sum(h * v for h, v in parts) / max(1, most)


def scans(data: bytes, at: int, most: int) -> int:
    """How many scans begin from `at` to the end of the picture; counted no further than `most`.

    Each scan costs a pass over all blocks, however few bytes it has: hundreds of scans in 2 MB take minutes.
    """
    count = marks = 0
    # So many marks that are no scans have no place in a file that a camera or a program wrote.
    while count < most and marks < 10_000 + most:
        mark = _MARK.search(data, at)
        if mark is None or data[mark.start() + 1] == _END:
            return count
        count += data[mark.start() + 1] == _SCAN
        marks += 1
        at = mark.start() + 2 + int.from_bytes(data[mark.start() + 2 : mark.start() + 4], "big")
    return most
