"""Hash of the decoded pixels: the same picture in another lossless file has the same one."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa
import xxhash

from curate.op import Rows, Score
from curate.pictures.decoded import Decoded


class PixelHash(Score):
    """`pixel_hash`: 128-bit xxh3 of width, height (uint32, little-endian) and the RGB bytes row by row, 32 hex digits.

    Equal for re-encoded twins as long as no step between them lost anything: PNG saved again, as WebP lossless or with
    other metadata. A JPEG saved again differs: score.phash finds it. The pixels are those that every op sees: upright,
    sRGB, on white where they are transparent. Ours.
    """

    cite: ClassVar[str] = "xxHash (Collet), XXH3-128; the rule is ours"

    def reads(self) -> tuple[str, ...]:
        return ("image",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"pixel_hash": pa.string()}

    def prepare_image(self, decoded: Decoded) -> str:
        height, width = decoded.pixels.shape[:2]
        digest = xxhash.xxh3_128(struct.pack("<II", width, height))
        digest.update(decoded.pixels.tobytes())
        return digest.hexdigest()

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {"pixel_hash": rows.images}
