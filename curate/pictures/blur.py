"""Faces made unrecognisable: the parts of an image that boxes name are blurred.

As img2dataset does it for DataComp (BoundingBoxBlurrer of rom1504/img2dataset, 2023), after the obfuscation of faces in
ImageNet (Yang et al. 2022): each box grows by a tenth of its longer side; a Gaussian blur of a tenth of the longest
side of all boxes, cut off at four deviations, is laid over the image where the boxes are; their edges are blurred by
the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from curate.pictures.decoded import decode

#: Packages beside the base install.
PACKAGES = ("cv2",)
#: Share of a box's longer side by which it grows, and of the longest one that the blur's deviation is.
GROWS, DEVIATION = 0.1, 0.1
#: Deviations at which the blur is cut off.
CUT_OFF = 4.0
#: Of files that lose by being written anew; img2dataset's default.
QUALITY = 95

Box = tuple[float, float, float, float]
#: The whole image.
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def boxes_of(value: Any) -> list[Box] | None:
    """Boxes as x0, y0, x1, y1, fractions of the upright image's sides; empty ones are left out.

    None when the value holds something else: what it meant to hide is not known.

    >>> boxes_of([[0.1, 0.2, 0.3, 0.5], [0.5, 0.5, 0.5, 0.9], [-0.1, 0, 2, 1]])
    [(0.1, 0.2, 0.3, 0.5), (0.0, 0.0, 1.0, 1.0)]
    >>> boxes_of([[0.1, 0.2]]), boxes_of("face"), boxes_of(None), boxes_of([[10, 20, 300, 400]])
    (None, None, [], None)
    """
    if value is None:
        return []
    boxes = []
    for box in value if isinstance(value, (list, tuple)) else (None,):
        numbers = list(box) if isinstance(box, (list, tuple)) else []
        if len(numbers) != 4 or not all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers):
            return None
        if min(numbers[2:]) > 2:
            return None  # pixels
        left, top, right, bottom = (min(max(float(n), 0.0), 1.0) for n in numbers)
        if left < right and top < bottom:
            boxes.append((left, top, right, bottom))
    return boxes


def blurred_file(body: bytes, boxes: Sequence[Box], extension: str) -> tuple[bytes, str]:
    """A file with its boxes blurred, upright, and its extension: that of the original where it is jpg, png or webp,
    else png.

    Raises:
        Exception: when the file cannot be decoded, or not be written.
    """
    import cv2

    pixels = blurred(decode(body).pixels, boxes)
    kind = {"jpeg": "jpg"}.get(extension, extension)
    quality = {"jpg": [cv2.IMWRITE_JPEG_QUALITY, QUALITY], "webp": [cv2.IMWRITE_WEBP_QUALITY, QUALITY], "png": []}
    written, new = (kind, extension) if kind in quality else ("png", "png")
    good, data = cv2.imencode(f".{written}", np.ascontiguousarray(pixels[..., ::-1]), quality[written])
    if not good:
        raise ValueError(f"OpenCV cannot write it as {written}")
    return bytes(data.tobytes()), new


def blurred(pixels: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """uint8[height, width, 3] with its boxes blurred; what the blur does not reach stays as it is."""
    import cv2

    if not boxes:
        return pixels
    height, width = pixels.shape[:2]
    mask = np.zeros((height, width), np.float32)
    longest = 0
    for left, top, right, bottom in boxes:
        x0, y0, x1, y1 = int(left * width), int(top * height), int(right * width), int(bottom * height)
        # A face of less than a pixel is one pixel.
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
        side = max(x1 - x0, y1 - y0)
        longest, more = max(longest, side), GROWS * side
        mask[max(0, int(y0 - more)) : int(y1 + more), max(0, int(x0 - more)) : int(x1 + more)] = 1
    cv2.setNumThreads(1)  # there is a worker for every core
    deviation = max(DEVIATION * longest, 0.5)
    size = (2 * math.ceil(CUT_OFF * deviation) + 1,) * 2
    share = cv2.GaussianBlur(mask, size, deviation)[..., None]
    values = pixels.astype(np.float32)
    mixed = values * (1 - share) + cv2.GaussianBlur(values, size, deviation) * share
    result: np.ndarray = np.where(share > 0, np.rint(mixed), values).astype(np.uint8)
    return result
