"""Perceptual hash of the image, 64 bits: near copies differ in a few bits, exact ones in none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image, ImageStat

from curate.decoded import Decoded
from curate.near.colours import BYTES, cell_colours
from curate.op import Rows, Score

#: Under this standard deviation of its grey levels an image is flat.
FLAT_STD = 2.0


class Phash(Score):
    """imagehash's 64 bits as uint64, the first bit the most significant; the column is called as the `kind`.

    kind: `phash` compares the low frequencies of a 32 x 32 DCT with their median, `dhash` each pixel of 9 x 8 with its
        right neighbour, `ahash` each of 8 x 8 with their mean. Usual distances for "same": 4 to 10 bits, 4 to 10, 5.

    All three look at brightness only: a red circle and an orange one are equal. `<kind>_colours` tells those apart: the
    mean red, green and blue of 4 x 4 cells. A flat image (standard deviation of the grey levels under 2) has no hash
    and the status `flat`: its bits would be rounding noise.
    """

    reads: ClassVar[tuple[str, ...]] = ("image",)
    version: ClassVar[int] = 2
    cite: ClassVar[str] = "imagehash (pHash: Zauner, 2010); COYO-700M drops by equal pHash"
    kind: Literal["phash", "dhash", "ahash"] = "phash"

    def table(self) -> str:
        return self.name or self.kind

    def makes(self) -> dict[str, pa.DataType]:
        return {self.kind: pa.uint64(), f"{self.kind}_colours": pa.binary(BYTES)}

    def prepare_image(self, decoded: Decoded) -> tuple[int | None, bytes]:
        """The bits, None for a flat image, and the colours."""
        return self._bits(decoded.image), cell_colours(decoded.image)

    def _bits(self, image: Image.Image) -> int | None:
        import imagehash

        # Once to grey, for both: imagehash would do the same conversion.
        grey = image.convert("L")
        if ImageStat.Stat(grey).stddev[0] < FLAT_STD:
            return None
        make = {"phash": imagehash.phash, "dhash": imagehash.dhash, "ahash": imagehash.average_hash}[self.kind]
        return int.from_bytes(np.packbits(make(grey).hash).tobytes(), "big")

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        bits = [found for found, _ in rows.images]
        colours = [found for _, found in rows.images]
        status = ["flat" if found is None else "ok" for found in bits]
        return {self.kind: bits, f"{self.kind}_colours": colours, "status": status}
