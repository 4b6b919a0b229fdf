"""Perceptual hash of the image, 64 bits: near copies differ in a few bits, exact ones in none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from curate.alike.colours import BYTES, cell_colours
from curate.op import Rows, Score
from curate.pictures.decoded import Decoded
from curate.pictures.sums import sums

#: dhash: a picture is flat with fewer of its 64 differences that are `STEP` grey levels or more.
LEAST_STEPS, STEP = 20, 2


class Phash(Score):
    """imagehash's 64 bits as uint64, the first bit the most significant; the column is called as the `kind`.

    kind: `phash` compares the low frequencies of a 32 x 32 DCT with their median, `dhash` each pixel of 9 x 8 with its
        right neighbour, `ahash` each of 8 x 8 with their mean. Usual distances for "same": 4 to 10 bits, 4 to 10, 5.

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

    version: ClassVar[int] = 3
    cite: ClassVar[str] = "imagehash (pHash: Zauner, 2010); COYO-700M drops by equal pHash"
    kind: Literal["phash", "dhash", "ahash"] = "phash"
    flat_std: float = Field(16, ge=0)

    def table(self) -> str:
        return self.name or self.kind

    def reads(self) -> tuple[str, ...]:
        return ("image",)

    def packages(self) -> tuple[str, ...]:
        return (*super().packages(), "imagehash")

    def makes(self) -> dict[str, pa.DataType]:
        return {self.kind: pa.uint64(), f"{self.kind}_colours": pa.binary(BYTES)}

    def prepare_image(self, decoded: Decoded) -> tuple[int | None, bytes]:
        """The bits, None for a flat image, and the colours."""
        return self._bits(decoded), cell_colours(decoded.image)

    def _bits(self, decoded: Decoded) -> int | None:
        import imagehash

        if standard_deviation(decoded.grey_levels) < self.flat_std:
            return None
        make, grey = imagehash.phash, decoded.grey
        if self.kind == "dhash":
            # Of this size already, imagehash takes it as it is.
            make, grey = imagehash.dhash, grey.resize((9, 8), Image.Resampling.LANCZOS)
            if _steps(grey) < LEAST_STEPS:
                return None
        elif self.kind == "ahash":
            make = imagehash.average_hash
        return int.from_bytes(np.packbits(make(grey).hash).tobytes(), "big")

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


def _steps(small: Image.Image) -> int:
    """How many of dhash's 64 differences, of 9 x 8 pixels, are more than rounding."""
    levels = np.asarray(small, np.int16)
    return int((np.abs(np.diff(levels, axis=1)) >= STEP).sum())
