"""Pixels of an image file: upright, sRGB, 8 bits, on white; the same ones whichever way the file came."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import simplejpeg
from PIL import Image

from curate.pictures.colour_profile import is_srgb, to_srgb
from curate.pictures.cut_files import is_cut
from curate.pictures.jpeg_marks import MAX_SEGMENTS, JpegHead, is_jpeg, jpeg_head
from curate.pictures.picture_file import (
    FINAL,
    MAX_WORKING_BYTES,
    TooCostly,
    check_cost,
    check_decoding,
    check_scans,
    header_orientation,
    opened,
    without_side_chunks,
)
from curate.pictures.upright import orientation_of, turned, upright

#: Version of what `decode` gives. It is part of the identity of every op that reads images: raise it when the pixels of
#: any file change.
DECODING = 2

#: What decoding takes beside the base install: cv2 for damaged files.
PACKAGES = ("cv2",)

#: Pixels of a large Pillow image that are copied into an array at a time.
STRIP_PIXELS = 1_000_000


class Decoded:
    """An RGB image at its full size, as an array and as a Pillow image; each is made of the other when asked for."""

    def __init__(self, pixels: np.ndarray | None = None, image: Image.Image | None = None):
        if pixels is None and image is None:
            raise TypeError("an image is made of an array or of a Pillow image, and here is neither")
        if pixels is not None:
            self.pixels = pixels
        if image is not None:
            self.image = image

    @cached_property
    def pixels(self) -> np.ndarray:
        """uint8, height x width x 3."""
        return _array(self.image)

    @cached_property
    def image(self) -> Image.Image:
        return Image.fromarray(self.pixels)

    @classmethod
    def halves(cls) -> Decoded:
        """A small picture, black above and white below: what an op compiles its loops with."""
        return cls(np.repeat(np.array([0, 255], np.uint8), 8 * 16 * 3).reshape(16, 16, 3))

    @cached_property
    def grey_levels(self) -> np.ndarray:
        """uint8, height x width: luma of ITU-R 601, rounded, as Pillow's mode L; one for all ops of a pass. OpenCV's is
        one level off in a thousandth of all colours, which moves a hash, and the sharpness of a flat drawing by 1 %."""
        from curate.pictures.grey_kernels import luma

        height, width = self.pixels.shape[:2]
        return luma(np.ascontiguousarray(self.pixels).reshape(-1)).reshape(height, width)  # type: ignore[no-any-return]


def _array(image: Image.Image) -> np.ndarray:
    """Of an RGB image, strip by strip: Pillow makes two copies of what is asked for at once. It may be written to, as
    the array of a JPEG: compiled loops are compiled once more for one that may not."""
    pixels, top = np.empty((image.height, image.width, 3), np.uint8), 0
    for strip in _strips(image):
        pixels[top : top + len(strip)] = strip
        top += len(strip)
    return pixels


def _strips(image: Image.Image) -> Iterator[np.ndarray]:
    rows = max(1, STRIP_PIXELS // max(1, image.width))
    for top in range(0, image.height, rows):
        below = min(top + rows, image.height)
        yield np.asarray(image if below - top == image.height else image.crop((0, top, image.width, below)))


def strips(decoded: Decoded) -> Iterator[np.ndarray]:
    """Its pixels, some rows at a time, without a second copy of all."""
    if "pixels" in vars(decoded):
        yield np.ascontiguousarray(decoded.pixels)
    else:
        yield from map(np.ascontiguousarray, _strips(decoded.image))


def decode(
    data: bytes,
    *,
    convert_to_srgb: bool = True,
    max_working_bytes: int = MAX_WORKING_BYTES,
    head: JpegHead | None = None,
) -> Decoded:
    """RGB pixels of a file at its full size, as `curate.pictures.upright` makes them of whatever it holds.

    JPEG by simplejpeg (libjpeg-turbo), which gives the same pixels as Pillow in 0.6 of the time. What it refuses, and
    any file that is no JPEG, is Pillow's to open or to name the fault of. Damage that img2dataset forgives is forgiven.

    Not scaled while it is decoded (libjpeg's n/8): with a short side of twice the model's input, cosines of
    lite0-minilm moved by 0.0028 (median) and 0.0126 (99 %) on 250 real JPEGs brought to 512 px, by 0.0016 and 0.0085
    at 1024 px. And all ops of a pass share these pixels: a hash must not depend on what else runs.

    convert_to_srgb: false keeps the numbers of colours that an ICC profile describes. head: of a JPEG, if it is known.

    Raises:
        TooCostly: before anything is decoded, for a file that would take more than `max_working_bytes` of memory, or
            a JPEG with too many scans.
        Exception: whatever Pillow raises on a damaged or unknown file.
    """
    if is_jpeg(data):
        decoded = _jpeg(data, head or jpeg_head(data), max_working_bytes)
        if decoded is not None:
            return decoded
    try:
        return _by_pillow(data, convert_to_srgb, max_working_bytes)
    except TooCostly:
        raise
    except Exception:
        decoded = _forgiven(data, convert_to_srgb, max_working_bytes)
        if decoded is None:
            raise
        return decoded


def _by_pillow(data: bytes, convert_to_srgb: bool, max_working_bytes: int) -> Decoded:
    with opened(data, max_working_bytes) as image:
        check_decoding(image, data, max_working_bytes)
        # Of other formats Pillow knows it when they are loaded, and has turned a TIFF by then.
        orientation = header_orientation(image, data) if image.format == "PNG" else None
        return Decoded(image=upright(image, convert_to_srgb=convert_to_srgb, orientation=orientation))


def _forgiven(data: bytes, convert_to_srgb: bool, max_working_bytes: int) -> Decoded | None:
    """What img2dataset would store of a damaged file whose end is there: a PNG by its pixels alone, a JPEG or WebP as
    cv2 decodes it. None where that has no pixels either."""
    plain = without_side_chunks(data)
    if plain is not None:
        return _by_pillow(plain, convert_to_srgb, max_working_bytes)
    with opened(data, max_working_bytes) as image:
        if image.format not in ("JPEG", "MPO", "WEBP") or image.mode not in ("L", "RGB") or is_cut(data):
            return None
        orientation, profile = orientation_of(image), image.info.get("icc_profile") if convert_to_srgb else None
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        return None
    return Decoded(image=turned(to_srgb(Image.fromarray(pixels[..., ::-1]), profile), orientation))


def _jpeg(data: bytes, head: JpegHead, max_working_bytes: int) -> Decoded | None:
    """None where Pillow has to look: four colours, a turn, a profile that changes colours, damage."""
    if head.channels not in (1, 3) or head.segments >= MAX_SEGMENTS:
        return None
    check_cost(head.width, head.height, max(head.frequencies + 4.5, FINAL), max_working_bytes)
    if head.frequencies:
        check_scans(data, head.width * head.height)
    if head.noted and not _is_plain(data):
        return None
    try:
        return Decoded(simplejpeg.decode_jpeg(data, "RGB"))
    except ValueError:
        return None


def _is_plain(data: bytes) -> bool:
    """Whether EXIF and profile leave the pixels as they are."""
    try:
        with opened(data) as image:
            return orientation_of(image) == 1 and is_srgb(image.info.get("icc_profile"))
    except Exception:  # noqa: BLE001 - Pillow will name the fault
        return False
