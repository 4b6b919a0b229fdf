"""Coarse colours of an image: what perceptual hashes do not see, so that recoloured pictures are told apart."""

from __future__ import annotations

import numpy as np
from PIL import Image

#: Cells along each side; the mean of each is three bytes, red, green and blue.
CELLS = 4
BYTES = CELLS * CELLS * 3


def cell_colours(image: Image.Image) -> bytes:
    """Means of the 4 x 4 cells of an RGB image, row by row.

    >>> cell_colours(Image.new("RGB", (30, 20), (255, 128, 0))) == bytes([255, 128, 0]) * 16
    True
    """
    return image.resize((CELLS, CELLS), Image.Resampling.BOX).tobytes()


def kinds(cells: np.ndarray, bounds: np.ndarray, apart: int) -> np.ndarray:
    """Which row each row is of one kind with, by place: in every group, the first row in whose cells no colour channel
    is more than `apart` from the row's own; a row that finds none is the first of a new kind.

    cells: uint8[n, k]. bounds: int64, of the groups.

    >>> kinds(np.array([[0], [9], [30], [21], [0]], np.uint8), np.array([0, 4, 5]), 10).tolist()
    [0, 0, 2, 2, 4]
    """
    from curate.alike import colours_kernels as kernels

    return kernels.kinds(cells, bounds, apart)  # type: ignore[no-any-return]
