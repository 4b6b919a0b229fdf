"""Perceptual hash of the image, 64 bits: near copies differ in a few bits, exact ones in none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.alike.colours import BYTES, cell_colours
from curate.alike.shrink import shrunk
from curate.op import Rows
from curate.pictures.decoded import Decoded
from curate.pictures.sums import sums
from curate.score._pixel_score import PixelScore

#: Width and height of the small picture that each kind makes its bits of.
SIZES = {"phash": (32, 32), "dhash": (9, 8), "ahash": (8, 8)}
#: Frequencies as far from their median as rounding goes are at it.
ROUNDING = 1e-6
#: dhash: a picture is flat with fewer of its 64 differences that are `STEP` grey levels or more.
LEAST_STEPS, STEP = 20, 2


class Phash(PixelScore):
    """imagehash's 64 bits as uint64, the first bit the most significant; the column is called as the `kind`.

    kind: `phash` compares the low frequencies of a 32 x 32 DCT with their median, `dhash` each pixel of 9 x 8 with its
        right neighbour, `ahash` each of 8 x 8 with their mean. Usual distances for "same": 4 to 10 bits, 4 to 10, 5.

    The image is shrunk by Lanczos' filter across, then down, rounded to whole grey levels each time: so did Pillow up
    to version 12, and later ones do so where an image is not tall.

    All three look at brightness only: a red circle and an orange one are equal. `<kind>_colours` tells those apart: the
    mean red, green and blue of 4 x 4 cells.

    A flat image has no hash and the status `flat`, so it is nobody's duplicate: little but rounding decides its bits.
    flat_std: an image is flat with a smaller standard deviation of its grey levels (0 to 255). For dhash, also one that
        shrinks to 9 x 8 pixels of which fewer than 20 of 64 neighbours differ by 2 grey levels or more.
    Looked at on 3,500 real clip-arts, figures, icons and screenshots, groups of different pixels within 4 bits: with a
    limit of 2, phash made 18 groups (1 wrong, at a deviation of 10.8) and dhash 40 (5 wrong); with 16, phash made 16
    (none wrong, no group of one picture lost), and dhash 32 (none of those 5). 50 images have no phash then (1.4 %),
    116 no dhash.
    """

    version: ClassVar[int] = 4
    cite: ClassVar[str] = "imagehash (pHash: Zauner, 2010); COYO-700M drops by equal pHash"
    kind: Literal["phash", "dhash", "ahash"] = "phash"
    flat_std: float = Field(16, ge=0)

    def table(self) -> str:
        return self.name or self.kind

    def makes(self) -> dict[str, pa.DataType]:
        return {self.kind: pa.uint64(), f"{self.kind}_colours": pa.binary(BYTES)}

    def prepare_image(self, decoded: Decoded) -> tuple[int | None, bytes]:
        """The bits, None for a flat image, and the colours."""
        return self._bits(decoded.grey_levels), cell_colours(decoded.pixels)

    def _bits(self, levels: np.ndarray) -> int | None:
        if standard_deviation(levels) < self.flat_std:
            return None
        width, height = SIZES[self.kind]
        small = shrunk(levels, width, height)
        if self.kind == "dhash" and _steps(small) < LEAST_STEPS:
            return None
        return int.from_bytes(np.packbits(BITS[self.kind](small)).tobytes(), "big")

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        bits = [value for value, _ in rows.images]
        colours = [value for _, value in rows.images]
        status = ["flat" if value is None else "ok" for value in bits]
        return {self.kind: bits, f"{self.kind}_colours": colours, "status": status}


def standard_deviation(levels: np.ndarray) -> float:
    """Of all uint8 grey levels, rounded as Pillow's ImageStat rounds it, which takes a histogram for it.

    >>> standard_deviation(np.array([[100, 132], [100, 132]], np.uint8))
    16.0
    """
    count, total, squares = sums(levels)
    return math.sqrt(max(0.0, (squares - total**2.0 / count) / count))


def phash_bits(small: np.ndarray) -> np.ndarray:
    """bool[8, 8] of uint8[32, 32]: which of the lowest frequencies are above their median, the constant among them.

    Of a symmetric picture many frequencies are zero, and rounding must not set their bits.
    """
    from curate.alike.shrink_kernels import frequencies

    waves = frequencies(_cosines(), small.astype(np.float64))
    bits: np.ndarray = waves > np.median(waves) + ROUNDING
    return bits


def dhash_bits(small: np.ndarray) -> np.ndarray:
    """bool[8, 8] of uint8[8, 9]: which pixels are brighter than the one to their left."""
    bits: np.ndarray = small[:, 1:] > small[:, :-1]
    return bits


def ahash_bits(small: np.ndarray) -> np.ndarray:
    """bool[8, 8] of uint8[8, 8]: which pixels are brighter than the mean."""
    bits: np.ndarray = small > small.mean()
    return bits


BITS = {"phash": phash_bits, "dhash": dhash_bits, "ahash": ahash_bits}


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """float64[8, 32]: frequencies 0 to 7 of the cosine transform of 32 pixels."""
    waves: np.ndarray = np.cos(np.pi / 64 * np.outer(np.arange(8), 2 * np.arange(32) + 1))
    return waves


def _steps(small: np.ndarray) -> int:
    """How many of dhash's 64 differences, of 9 x 8 pixels, are more than rounding."""
    return int((np.abs(np.diff(small.astype(np.int16), axis=1)) >= STEP).sum())
