"""Equal values of a key are linked to the first of them; distinct ones are compared key by key."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from curate.alike.equal_first import links_of_keys

KEYS = pl.Series([7, 7, 7, 7, 9, 9, 3, 7], dtype=pl.UInt64)
VALUES = pl.Series([30, 10, 30, 20, 5, 5, 1, 10], dtype=pl.UInt64)


@pytest.mark.parametrize(("most", "runs"), [(None, [[10, 20, 30]]), (2, [[10, 20], [30]]), (1, [[10], [20], [30]])])
def test_one_of_equal_rows_is_compared(most: int | None, runs: list[list[int]]) -> None:
    """Key 9 holds equal rows only, key 3 one row: neither has anything to compare."""
    compared: list[list[int]] = []

    def near(values: pl.Series, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        compared.extend(values[start:end].to_list() for start, end in pairwise(bounds.tolist()))
        # Say that the first and the second of all are alike: 10 and 20, the places 1 and 3.
        return np.array([0]), np.array([1]), np.array([0.5])

    links = links_of_keys(KEYS, VALUES, near, most)
    assert compared == runs
    assert sorted(zip(*(column.tolist() for column in links), strict=True)) == [
        (0, 2, 1.0), (1, 3, 0.5), (1, 7, 1.0), (4, 5, 1.0)
    ]  # fmt: skip


def test_no_row() -> None:
    empty = pl.Series([], dtype=pl.UInt64)
    links = links_of_keys(empty, empty, lambda values, bounds: (bounds[:0], bounds[:0], np.empty(0)))
    assert [len(column) for column in links] == [0, 0, 0]
