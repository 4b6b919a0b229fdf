"""From a wanted size to t, against every t tried."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import CurateError
from curate.metaclip.balance import entry_counts, expected_rows
from curate.metaclip.size import POINTS_PER_PASS, SizeSearch

pytestmark = pytest.mark.slow


def found(matched: pa.ListArray, counts: np.ndarray, rows: float) -> SizeSearch:
    search = SizeSearch(rows, int(counts.max()))
    while search.points:
        search.narrow(expected_rows([matched.slice(0, 5), matched.slice(5)], counts, search.points))
    return search


@settings(deadline=None, max_examples=80)
@given(st.lists(st.sets(st.integers(0, 9), max_size=4), min_size=1, max_size=60), st.floats(0.01, 1))
def test_it_is_the_nearest(sets: list[set[int]], share: float) -> None:
    matched = pa.array([sorted(ids) for ids in sets], pa.list_(pa.uint32()))
    counts = entry_counts(matched, 10)
    rows = share * sum(bool(ids) for ids in sets)
    if rows == 0:
        return
    search = found(matched, counts, rows)
    every = expected_rows([matched], counts, range(1, int(counts.max()) + 1))
    assert abs(every[search.t - 1] - rows) == pytest.approx(np.abs(every - rows).min())
    assert search.size == pytest.approx(every[search.t - 1])


@pytest.mark.soak
def test_a_large_pool_takes_four_passes() -> None:
    # One entry of 120 million captions: the size under t is t itself.
    search, passes = SizeSearch(1_234_567, 120_000_000), 0
    while search.points:
        assert len(search.points) <= POINTS_PER_PASS + 1
        search.narrow(search.points)
        passes += 1
    assert (search.t, search.size, passes) == (1_234_567, 1_234_567.0, 4)


def test_between_two_the_nearer_one_and_the_lower_of_equals() -> None:
    for rows, t in [(14, 1), (15, 1), (16, 2), (30, 3)]:
        search = SizeSearch(rows, 3)
        search.narrow([10 * t for t in search.points])
        assert (search.points, search.t) == ([], t)


def test_more_than_match_is_refused() -> None:
    search = SizeSearch(5, 3)
    with pytest.raises(CurateError, match="5 rows wanted, but 4 match an entry: no t gives that many"):
        search.narrow([3.0, 3.5, 4.0])
