"""Sums of doubles without rounding: the same in any order, in any number of parts."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

#: A double is a whole number of this part of 1: 2^-1074, the smallest one.
SCALE = 1074

_HALF = 1 << 32


def exact_sum(values: np.ndarray) -> int:
    """The sum of finite doubles in parts of 2^-1074: whole numbers of Python, which add up in any order.

    >>> of_sum(exact_sum(np.array([1e16, 1.0, -1e16]))), of_sum(exact_sum(np.array([0.1])) + exact_sum(np.array([0.2])))
    (1.0, 0.30000000000000004)

    Raises:
        ValueError: for NaN or an infinite value.
    """
    doubles = np.asarray(values, np.float64)
    if not np.isfinite(doubles).all():
        raise ValueError("only finite numbers have a sum")
    mantissas, exponents = np.frexp(doubles)
    whole = (mantissas * 2.0**53).astype(np.int64)
    total = 0
    for exponent in np.unique(exponents).tolist():
        some = whole[exponents == exponent]
        # In two halves, so that 2^31 values do not leave 64 bits.
        high, low = some // _HALF, some % _HALF
        sums = int(high.sum()) * _HALF + int(low.sum())
        shift = exponent - 53 + SCALE
        total += sums << shift if shift >= 0 else sums >> -shift
    return total


def of_sum(parts: int) -> float:
    """The double nearest to a sum."""
    return float(Fraction(parts, 1 << SCALE))
