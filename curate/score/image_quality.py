"""How much an image shows: spread of its grey levels, variance of its Laplacian (sharpness), entropy in bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.op import Rows
from curate.pictures.decoded import Decoded
from curate.pictures.sums import variance
from curate.score._pixel_score import PixelScore


def laplacian_variance(grey: np.ndarray) -> float:
    """Population variance of the 3 x 3 Laplacian (0 1 0 / 1 -4 1 / 0 1 0) of uint8 grey levels.

    Beyond an edge the image is mirrored without its edge pixel, as OpenCV does by default.

    One bright pixel gives 20 at its four neighbours (twice 10, once mirrored), -40 at itself and 0 at the corners:

    >>> round(laplacian_variance(np.array([[0, 0, 0], [0, 10, 0], [0, 0, 0]], np.uint8)), 6)
    335.802469
    """
    import cv2

    return variance(cv2.Laplacian(grey, cv2.CV_16S))


def entropy(counts: Sequence[int]) -> float:
    """Shannon entropy, in bits, of a histogram: 0 to 8 for one of 256 levels.

    >>> entropy([1, 1, 1, 1]), entropy([4, 0])
    (2.0, 0.0)
    """
    present = np.array([count for count in counts if count], np.float64)
    share = present / present.sum()
    return float(max(0.0, -(share * np.log2(share)).sum()))


class ImageQuality(PixelScore):
    """Columns `pixel_std` (population standard deviation of the grey levels), `laplacian_variance`, `image_entropy`.

    Grey is ITU-R 601 luma (.299 R + .587 G + .114 B, rounded), 0 to 255. All three are of the stored image: the
    variance of the Laplacian mostly grows as an image is shrunk, so a threshold fits one size only.
    """

    cite: ClassVar[str] = "DanQing (thresholds); Pech-Pacheco et al., 2000 (variance of the Laplacian)"

    def makes(self) -> dict[str, pa.DataType]:
        return dict.fromkeys(("pixel_std", "laplacian_variance", "image_entropy"), pa.float32())

    def prepare_image(self, decoded: Decoded) -> tuple[float, float, float]:
        from curate.pictures.grey_kernels import histogram

        levels = decoded.grey_levels
        counts = histogram(levels.reshape(-1)).tolist()
        return math.sqrt(variance(levels)), laplacian_variance(levels), entropy(counts)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        values = np.array(rows.images, np.float32).reshape(-1, 3)
        return dict(zip(self.makes(), values.T, strict=True))
