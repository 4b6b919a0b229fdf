"""PDQ of the image, 256 bits and a quality: near copies differ in 31 bits or fewer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.alike.colours import BYTES, cell_colours
from curate.op import Rows
from curate.pictures.decoded import Decoded
from curate.score._pixel_score import PixelScore

#: Sides of the picture that is hashed, and of the block of its frequencies that makes the bits.
SIDE, KEPT = 64, 16
#: Passes of the box filter along each side: two make a tent.
PASSES = 2
#: A smaller side has no hash.
LEAST_SIDE = 5
#: Frequencies as far from their median as rounding goes are at it, so that a symmetric picture has no chance bits.
ROUNDING = 1e-6


class Pdq(PixelScore):
    """`pdq` is the hash, 32 bytes that as hexadecimal digits are PDQ's published spelling; `pdq_quality` 0 to 100, how
    much there is to see. An image under `min_quality`, or with a side under 5 pixels, has no hash and the status
    `flat`, so it is nobody's duplicate.

    Colour is not seen: `pdq_colours`, the mean red, green and blue of 4 x 4 cells, is there to tell recoloured pictures
    apart.

    Brightness is shrunk to 64 x 64 by two passes of a box filter; of its cosine transform the 16 x 16 lowest
    frequencies that vary in both directions are compared with their median.
    """

    version: ClassVar[int] = 2
    cite: ClassVar[str] = "Davis & Rosen, Open-Sourcing Photo- and Video-Matching Technology (PDQ), 2019"
    min_quality: int = Field(50, ge=0, le=100)

    def makes(self) -> dict[str, pa.DataType]:
        return {"pdq": pa.binary(32), "pdq_quality": pa.uint8(), "pdq_colours": pa.binary(BYTES)}

    def prepare_image(self, decoded: Decoded) -> tuple[bytes | None, int, bytes]:
        """The hash, None for an image without one; the quality; the colours."""
        value, quality = hash_and_quality(decoded.pixels)
        return (value or None) if quality >= self.min_quality else None, quality, cell_colours(decoded.pixels)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        hashes, quality, colours = ([prepared[i] for prepared in rows.images] for i in range(3))
        status = ["flat" if value is None else "ok" for value in hashes]
        return {
            "pdq": pa.array(hashes, pa.binary(32)),
            "pdq_quality": quality,
            "pdq_colours": colours,
            "status": status,
        }


def hash_and_quality(pixels: np.ndarray) -> tuple[bytes, int]:
    """(32 bytes, 0 to 100) of uint8[height, width, 3]; no bytes for an image that is too small."""
    if min(pixels.shape[:2]) < LEAST_SIDE:
        return b"", 0
    from curate.alike.pdq_kernels import steps

    small, waves = brightness(pixels)
    bits = waves > np.median(waves) + ROUNDING
    return np.packbits(bits.ravel()[::-1]).tobytes(), min(100, int(steps(small)) // 90)


def brightness(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(float64[64, 64], its frequencies float64[16, 16]) of uint8[height, width, 3]."""
    from curate.alike.pdq_kernels import shrunk
    from curate.alike.shrink_kernels import frequencies

    height, width = pixels.shape[:2]
    small = shrunk(np.ascontiguousarray(pixels).reshape(height, 3 * width), *_down(width), *_down(height))
    return small, frequencies(_cosines(), small)


@lru_cache(maxsize=512)
def _down(size: int) -> tuple[np.ndarray, np.ndarray]:
    """float64[64, most]: what each of 64 places takes of the pixels from its first on, of `size`; int64[64, 2]: that
    first pixel and the end of those that it takes anything of. A window is 1/128 of the side, rounded up; one of even
    width reaches one pixel further right than left; at the edges it is what of it lies inside."""
    places = ((np.arange(SIDE) + 0.5) * size / SIDE).astype(int)
    weights = np.zeros((SIDE, size))
    weights[np.arange(SIDE), places] = 1
    window = -(-size // (2 * SIDE))
    right = window // 2
    left = window - 1 - right
    at = np.arange(size)
    count = np.minimum(at + right, size - 1) - np.maximum(at - left, 0) + 1
    for _ in range(PASSES):
        # Pixel k is in the windows of the pixels k - right to k + left.
        total = np.cumsum(np.pad(weights / count, ((0, 0), (1, 0))), axis=1)
        weights = total[:, np.minimum(at + left, size - 1) + 1] - total[:, np.maximum(at - right, 0)]
    ends = np.stack([np.maximum(places - PASSES * left, 0), np.minimum(places + PASSES * right + 1, size)], axis=1)
    from_first = ends[:, :1] + np.arange((ends[:, 1] - ends[:, 0]).max())
    return np.take_along_axis(weights, np.minimum(from_first, size - 1), axis=1), ends


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """float64[16, 64]: frequencies 1 to 16 of the cosine transform; the constant is left out."""
    waves: np.ndarray = np.cos(np.pi / (2 * SIDE) * np.outer(np.arange(1, KEPT + 1), 2 * np.arange(SIDE) + 1))
    waves *= np.sqrt(2 / SIDE)
    return waves
