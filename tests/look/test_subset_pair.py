"""Two subset files: counts, Jaccard, copies and first differences, as sets and counters have them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curate
from curate.errors import CurateError
from curate.write.subset import subset_rows, write_subset


def uid(number: int) -> str:
    return f"{number:032x}"


def saved(path: Path, numbers: list[int]) -> str:
    write_subset([subset_rows([uid(n) for n in numbers])], str(path))
    return str(path)


def test_an_example(tmp_path: Path) -> None:
    """1 2 2 4 against 2 3 4 4 4: shared 2 and 4, none as often; rows in common: one 2, one 4."""
    first, second = saved(tmp_path / "a.npy", [1, 2, 2, 4]), saved(tmp_path / "b.npy", [2, 3, 4, 4, 4])
    pair = curate.compare_subset(first, second)
    assert (pair.first, pair.second, pair.first_copies, pair.second_copies) == (3, 3, 4, 5)
    assert (pair.both, pair.same_copies, pair.copies_of_both) == (2, 0, 2)
    assert (pair.jaccard, pair.jaccard_of_copies) == (2 / 4, 2 / 7)
    assert pair.differences == ((uid(1), 1, 0), (uid(2), 2, 1), (uid(3), 0, 1), (uid(4), 1, 3))


NUMBERS = st.lists(st.integers(0, 30), max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NUMBERS, NUMBERS, st.sampled_from([1, 3, 1 << 20]))
def test_as_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, a: list[int], b: list[int], rows: int) -> None:
    monkeypatch.setattr("curate.look.subset_pair.ROWS", rows)
    # Not sorted: read as if they were.
    np.save(tmp_path / "a.npy", np.array([(0, n) for n in a], "u8,u8"))
    pair = curate.compare_subset(str(tmp_path / "a.npy"), saved(tmp_path / "b.npy", b))
    one, other = Counter(a), Counter(b)
    shared = one.keys() & other.keys()
    assert (pair.first, pair.second, pair.both) == (len(one), len(other), len(shared))
    assert pair.same_copies == sum(one[n] == other[n] for n in shared)
    assert pair.copies_of_both == (one & other).total()
    either = one.keys() | other.keys()
    assert pair.jaccard == (len(shared) / len(either) if either else 1)
    differing = sorted(n for n in either if one[n] != other[n])[:10]
    assert list(pair.differences) == [(uid(n), one[n], other[n]) for n in differing]


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="subset: there is no file"):
        curate.compare_subset(saved(tmp_path / "a.npy", [1]), str(tmp_path / "b.npy"))
