"""How much an image shows: spread of its grey levels, variance of its Laplacian (sharpness), entropy in bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.op import Rows, Score
from curate.pictures.decoded import Decoded


def laplacian_variance(grey: np.ndarray) -> float:
    """Population variance of the 3 x 3 Laplacian (0 1 0 / 1 -4 1 / 0 1 0) of uint8 grey levels.

    Beyond an edge the image is mirrored without its edge pixel, as OpenCV's `Laplacian(grey, CV_64F)` does by default.

    One bright pixel gives 20 at its four neighbours (twice 10, once mirrored), -40 at itself and 0 at the corners:

    >>> round(laplacian_variance(np.array([[0, 0, 0], [0, 10, 0], [0, 0, 0]], np.uint8)), 6)
    335.802469
    """
    wide = np.pad(grey.astype(np.int16), 1, mode="reflect")
    inner = wide[1:-1, 1:-1]
    laplacian = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:] - 4 * inner
    return float(laplacian.var(dtype=np.float64))


def entropy(grey: np.ndarray) -> float:
    """Shannon entropy, in bits, of the 256-bin histogram of uint8 grey levels: 0 to 8.

    >>> entropy(np.array([[0, 1], [2, 3]], np.uint8)), entropy(np.zeros((2, 2), np.uint8))
    (2.0, 0.0)
    """
    counts = np.bincount(grey.ravel(), minlength=256)
    share = counts[counts > 0] / grey.size
    return float(max(0.0, -(share * np.log2(share)).sum()))


class ImageQuality(Score):
    """Columns `pixel_std` (population standard deviation of the grey levels), `laplacian_variance`, `image_entropy`.

    Grey is ITU-R 601 luma (.299 R + .587 G + .114 B, rounded), 0 to 255. All three are of the stored image: the
    variance of the Laplacian mostly grows as an image is shrunk, so a threshold fits one size only.
    """

    cite: ClassVar[str] = "DanQing (thresholds); Pech-Pacheco et al., 2000 (variance of the Laplacian)"

    def reads(self) -> tuple[str, ...]:
        return ("image",)

    def makes(self) -> dict[str, pa.DataType]:
        return dict.fromkeys(("pixel_std", "laplacian_variance", "image_entropy"), pa.float32())

    def prepare_image(self, decoded: Decoded) -> tuple[float, float, float]:
        grey = np.asarray(decoded.image.convert("L"))
        return float(grey.std(dtype=np.float64)), laplacian_variance(grey), entropy(grey)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        values = np.array(rows.images, np.float32).reshape(-1, 3)
        return dict(zip(self.makes(), values.T, strict=True))
