"""Sums over whole numbers that are exact, so that what is made of them is the same on any machine."""

from __future__ import annotations

import numpy as np


def sums(values: np.ndarray) -> tuple[int, int, int]:
    """(count, sum, sum of squares) of a uint8 or int16 array of two dimensions.

    >>> sums(np.array([[1, 2], [3, 250]], np.uint8))
    (4, 256, 62514)
    """
    import cv2

    # OpenCV takes the root of the squares' sum and squares that again: off by far less than a half.
    return values.size, int(cv2.sumElems(values)[0]), round(cv2.norm(values, cv2.NORM_L2SQR))


def variance(values: np.ndarray) -> float:
    """Population variance of the same, rounded once.

    >>> variance(np.array([[100, 132], [100, 132]], np.uint8))
    256.0
    """
    count, total, squares = sums(values)
    return (squares * count - total * total) / (count * count)
