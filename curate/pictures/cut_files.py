"""Whether the end of an image is missing from its file, told by its format's end mark before any of it is decoded."""

from __future__ import annotations

from curate.pictures.jpeg_marks import is_jpeg, jpeg_head


def is_cut(body: bytes) -> bool:
    """Whether the end of the image is missing, by its format's end mark; padding or data after the end is fine."""
    if is_jpeg(body):
        start = jpeg_head(body).scan  # past the headers, whose thumbnail has an end mark of its own
        return start is None or body.rfind(b"\xff\xd9", start) < 0
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return not _png_ends(body)
    if body.startswith((b"GIF87a", b"GIF89a")):
        return not _gif_ends(body)
    if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
        return len(body) < int.from_bytes(body[4:8], "little") + 8
    return False


def _png_ends(body: bytes) -> bool:
    """Whether the chunks lead to IEND inside the file. cv2 must not see one that does not: it sets aside whatever a
    chunk's length declares, up to 2 GB, before it reads (10 s for a damaged file of 200 bytes).
    """
    at = 8
    while at + 12 <= len(body):
        if body[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(body[at : at + 4], "big")
    return False


def _gif_ends(body: bytes) -> bool:
    """Whether the blocks of a GIF lead past its first image to the trailer, or to something that is no block: pages
    and counters that servers append."""
    at = 13 + _colours(body[10:11])
    seen = False
    while at < len(body):
        kind = body[at]
        if kind == 0x21:  # an extension: its label, then parts
            at += 2
        elif kind == 0x2C:  # an image: its place, its colours, the width of its codes, then parts
            at += 11 + _colours(body[at + 9 : at + 10])
        else:
            return seen
        while at < len(body) and body[at]:
            at += 1 + body[at]
        seen = seen or (kind == 0x2C and at < len(body))
        at += 1
    return False


def gif_frame(body: bytes) -> tuple[int, int]:
    """Width and height of the first frame and of the screen that it is on, whichever is larger; (0, 0) if it is not
    there."""
    at = 13 + _colours(body[10:11])
    while body[at : at + 1] == b"!":
        at += 2
        while body[at : at + 1] not in (b"", b"\0"):
            at += 1 + body[at]
        at += 1
    if body[at : at + 1] != b"," or at + 9 > len(body):
        return 0, 0
    left, top, width, height = (int.from_bytes(body[i : i + 2], "little") for i in range(at + 1, at + 9, 2))
    screen = (int.from_bytes(body[i : i + 2], "little") for i in (6, 8))
    return max(left + width, next(screen)), max(top + height, next(screen))


def gif_parts(body: bytes, most: int) -> int:
    """Blocks and parts of blocks before the first image; counted no further than `most`."""
    at, count = 13 + _colours(body[10:11]), 0
    while body[at : at + 1] == b"!" and count < most:
        at += 2
        while body[at : at + 1] not in (b"", b"\0") and count < most:
            at, count = at + 1 + body[at], count + 1
        at, count = at + 1, count + 1
    return count


def _colours(flags: bytes) -> int:
    """Bytes of a table of colours, by the flags that announce it."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0
