"""Batch sizes from memory: a line through two measurements."""

from __future__ import annotations

import pytest

from curate.models.fitting import MOST, TRIED, fitting


@pytest.mark.parametrize(
    ("fixed", "each", "free", "most"),
    [
        (100, 10, 10_000, 512),  # (10,000 - 100) / 10 = 990
        (100, 10, 10_341, MOST),  # 1,024.1
        (100, 10, 10_339, 512),  # 1,023.9
        (0, 1, 1 << 40, MOST),
        (5_000, 10, 5_075, 4),  # the model leaves room for 7.5
        (5_000, 10, 1_000, 1),  # not even one: it is tried all the same, and says so if it does not fit
    ],
)
def test_the_greatest_power_of_two_that_fits(fixed: int, each: int, free: int, most: int):
    tried: list[int] = []

    def peak(images: int) -> int:
        tried.append(images)
        return fixed + each * images

    found = fitting(peak, free)
    assert found == most
    assert tuple(tried) == TRIED
    assert found in (1, MOST) or peak(found) <= free < peak(2 * found)


def test_an_allocator_that_rounds_up_is_no_fault():
    assert fitting(lambda images: 4096, 1 << 20) == MOST
