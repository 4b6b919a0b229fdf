"""Pixels at the size in which an image is stored, and the file of it: byte for byte what img2dataset writes of them.

Its package would bring 40 others and 340 MB of memory to every worker for what OpenCV does here; tests compare the two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.pictures.resize_options import ResizeOptions

#: Modes whose longer side becomes `image_size`; of the others it is the shorter one.
BY_LONGER_SIDE = ("border", "keep_ratio_largest")

#: OpenCV's numbers, by the names of the options.
_INTERPOLATIONS = {
    "nearest": "INTER_NEAREST",
    "linear": "INTER_LINEAR",
    "bilinear": "INTER_LINEAR",
    "cubic": "INTER_CUBIC",
    "bicubic": "INTER_CUBIC",
    "area": "INTER_AREA",
    "lanczos": "INTER_LANCZOS4",
    "lanczos4": "INTER_LANCZOS4",
}


def fitted(pixels: np.ndarray, options: ResizeOptions, size: tuple[int, int]) -> np.ndarray:
    """uint8, height x width or height x width x 3: scaled, then cut or padded with white; `pixels` itself where nothing
    is to be done.

    size: (width, height) of the original, of which `pixels` may be decoded at a part of them.
    """
    width, height = size
    side = reference_side(width, height, options)
    if options.resize_mode == "no" or (options.resize_only_if_bigger and side <= options.image_size):
        return pixels
    larger, smaller = options.upscale_interpolation, options.downscale_interpolation
    scale = options.image_size / side
    size = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = _scaled(pixels, size, smaller if side > options.image_size else larger)
    if options.resize_mode == "center_crop":
        return _centre(scaled, options.image_size)
    return _padded(scaled, options.image_size) if options.resize_mode == "border" else scaled


def reference_side(width: int, height: int, options: ResizeOptions) -> int:
    """The side that becomes `image_size` pixels."""
    return max(width, height) if options.resize_mode in BY_LONGER_SIDE else min(width, height)


def encoded(pixels: np.ndarray, options: ResizeOptions) -> bytes:
    """The file of BGR or grey pixels; empty where OpenCV has none for them.

    Raises:
        cv2.error: for sides that the format has no numbers for.
    """
    import cv2

    quality = {
        "jpg": cv2.IMWRITE_JPEG_QUALITY,
        "png": cv2.IMWRITE_PNG_COMPRESSION,
        "webp": cv2.IMWRITE_WEBP_QUALITY,
    }
    name = options.encode_format
    cv2.setNumThreads(1)  # there is a worker for every core
    return cv2.imencode(f".{name}", pixels, [quality[name], options.encode_quality])[1].tobytes()


def is_encoded(body: bytes, options: ResizeOptions) -> bool:
    """Whether a file is of the stored format already, by img2dataset's marks: a JPEG without JFIF and EXIF is not."""
    if options.encode_format == "jpg":
        return body[6:10] in (b"JFIF", b"Exif") or body.startswith(b"\xff\xd8\xff\xdb")
    if options.encode_format == "png":
        return body.startswith(b"\x89PNG\r\n\x1a\n")
    return body.startswith(b"RIFF") and body[8:12] == b"WEBP"


def _scaled(pixels: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    import cv2

    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    cv2.setNumThreads(1)
    scaled: Any = cv2.resize(pixels, size, interpolation=getattr(cv2, _INTERPOLATIONS[interpolation]))
    return scaled  # type: ignore[no-any-return]


def _centre(pixels: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def _padded(pixels: np.ndarray, side: int) -> np.ndarray:
    import cv2

    rows, columns = (side - length for length in pixels.shape[:2])
    top, left = rows // 2, columns // 2
    white = (255, 255, 255)
    return cv2.copyMakeBorder(  # type: ignore[no-any-return]
        pixels, top, rows - top, left, columns - left, cv2.BORDER_CONSTANT, value=white
    )
