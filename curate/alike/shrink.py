"""Grey levels shrunk to a few pixels, for hashes: across first, then down, whatever the shape and Pillow's version.

The numbers are those of Pillow's `resize`, which rounds to whole levels after each direction. Up to version 12 it began
across; from 13 on it begins down where an image is tall, and its levels are others then.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

#: Bits after the point of a weight, as Pillow has them for levels of 8 bits.
BITS = 22

#: Pixels of the small side that the Lanczos filter reaches to each side.
REACH = 3


def shrunk(levels: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8[height, width] of uint8[rows, columns], by Lanczos' filter; a smaller image grows.

    >>> shrunk(np.array([[0, 0, 200, 200]], np.uint8), 2, 1).tolist()
    [[14, 186]]
    """
    from curate.alike import shrink_kernels as kernels

    rows, columns = levels.shape
    across = kernels.across(np.ascontiguousarray(levels), *lanczos(columns, width))
    return kernels.down(across, *lanczos(rows, height))  # type: ignore[no-any-return]


@lru_cache(maxsize=512)
def lanczos(pixels: int, places: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(int32[places, most] weights, int64[places] of the first pixel, int64[places] how many), of a side."""
    scale = max(1.0, pixels / places)
    centre = (np.arange(places) + 0.5) * (pixels / places)
    first = np.maximum((centre - REACH * scale + 0.5).astype(np.int64), 0)
    count = np.minimum((centre + REACH * scale + 0.5).astype(np.int64), pixels) - first
    steps = np.arange(count.max())
    away = (first[:, None] + steps - centre[:, None] + 0.5) * (1 / scale)
    inside = (away >= -REACH) & (away < REACH) & (steps < count[:, None])
    weights = np.where(inside, np.sinc(away) * np.sinc(away / REACH), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    rounded = np.trunc(weights * (1 << BITS) + np.where(weights < 0, -0.5, 0.5))
    return rounded.astype(np.int32), first, count
