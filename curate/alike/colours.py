"""Coarse colours of an image: what perceptual hashes do not see, so that recoloured pictures are told apart."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

#: Cells along each side; the mean of each is three bytes, red, green and blue.
CELLS = 4
BYTES = CELLS * CELLS * 3


def cell_colours(pixels: np.ndarray) -> bytes:
    """Means of the 4 x 4 cells of uint8[height, width, 3], row by row; a mean across a cell is rounded before the mean
    down is taken, as Pillow's box filter did of every image up to version 12.

    A pixel belongs to the cell that its middle lies in.

    >>> cell_colours(np.full((20, 30, 3), (255, 128, 0), np.uint8)) == bytes([255, 128, 0]) * 16
    True
    """
    from curate.alike import colours_kernels as kernels

    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, 3 * width)
    return kernels.means(rows, _cells(width), _cells(height)).tobytes()  # type: ignore[no-any-return]


@lru_cache(maxsize=512)
def _cells(pixels: int) -> np.ndarray:
    """int64[4, 2]: the first pixel of each cell and the one behind its last; of fewer than four pixels some are in
    several cells."""
    middle = (np.arange(CELLS) + 0.5) * (pixels / CELLS)
    reach = max(1.0, pixels / CELLS) / 2
    ends = np.stack([np.maximum(middle - reach + 0.5, 0), np.minimum(middle + reach + 0.5, pixels)], axis=1)
    return ends.astype(np.int64)


def kinds(cells: np.ndarray, bounds: np.ndarray, apart: int) -> np.ndarray:
    """Which row each row is of one kind with, by place: in every group, the first row in whose cells no colour channel
    is more than `apart` from the row's own; a row that finds none is the first of a new kind.

    cells: uint8[n, k]. bounds: int64, of the groups.

    >>> kinds(np.array([[0], [9], [30], [21], [0]], np.uint8), np.array([0, 4, 5]), 10).tolist()
    [0, 0, 2, 2, 4]
    """
    from curate.alike import colours_kernels as kernels

    kind = np.arange(len(cells))
    kernels.kinds(cells, bounds, apart, np.empty(kernels.MOST_KINDS, np.int64), kind)
    return kind
