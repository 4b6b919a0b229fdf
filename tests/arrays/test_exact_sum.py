"""Sums of doubles that no order changes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.arrays.exact_sum import exact_sum, of_sum

DOUBLES = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


@given(st.lists(DOUBLES, max_size=40), st.integers(0, 40))
def test_it_is_the_standard_librarys_exact_sum(values: list[float], cut: int) -> None:
    array = np.array(values)
    parts = exact_sum(array[:cut][::-1]) + exact_sum(array[cut:])
    assert of_sum(parts) == math.fsum(values) and parts == exact_sum(array)


def test_the_smallest_doubles_count() -> None:
    assert exact_sum(np.array([5e-324, 5e-324, -5e-324])) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_has_no_sum_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        exact_sum(np.array([1.0, value]))
