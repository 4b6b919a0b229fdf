"""Counts, probabilities, thresholds and draws on the examples that can be done by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.arrays.string_hash import hash_strings
from curate.errors import CurateError
from curate.metaclip.balance import (
    entry_counts,
    entry_probability,
    expected_matches,
    expected_rows,
    keep_probability,
    tail_share,
    threshold_for_tail_share,
    thresholds_for_tail_shares,
)
from curate.metaclip.draws import draw
from curate.metaclip.matching import Matcher

pytestmark = pytest.mark.slow

ENTRIES = ["a", "A", "photo", "dog", "cat", "2019", "of", "dog house"]
TEXTS = ["A photo of a dog", "photo of cat, 2019", "a dog", "dog-house", "the photo"]
LISTS = pa.list_(pa.uint32())


def example(entries: list[str]) -> tuple[pa.ListArray, np.ndarray]:
    matched = Matcher(entries).match(pa.array(TEXTS))
    return matched, entry_counts(matched, len(entries))


def test_counts() -> None:
    matched, counts = example(ENTRIES)
    assert counts.dtype == np.uint64
    assert dict(zip(ENTRIES, counts.tolist(), strict=True)) == {
        "a": 2, "A": 1, "photo": 3, "dog": 2, "cat": 1, "2019": 1, "of": 2, "dog house": 0,
    }  # fmt: skip
    chunks = pa.chunked_array([matched.slice(0, 2), matched.slice(2)])
    assert (entry_counts(chunks, 8) == counts).all()
    assert (entry_counts(matched.slice(1, 2), 8) == [1, 0, 1, 1, 1, 1, 1, 0]).all()


@pytest.mark.parametrize(
    ("entries", "t", "expected"),
    [
        (ENTRIES, 1, [1, 1, 0.75, 0, 1 / 3]),
        (ENTRIES, 2, [1, 1, 1, 0, 2 / 3]),
        (["a", "photo", "dog", "of", "dog house"], 1, [11 / 12, 2 / 3, 0.75, 0, 1 / 3]),
    ],
)
def test_keep_probability(entries: list[str], t: int, expected: list[float]) -> None:
    matched, counts = example(entries)
    assert keep_probability(matched, counts, t).to_pylist() == pytest.approx(expected, abs=1e-15)
    assert expected_rows([matched.slice(0, 3), matched.slice(3)], counts, [t])[0] == pytest.approx(sum(expected))


def test_published_sizes() -> None:
    counts = np.array([1, 20_000, 40_000, 100_000, 54e6, 120e6, 30_000], np.uint64)
    p = entry_probability(counts, 20_000)
    assert p[:6] == pytest.approx([1, 1, 0.5, 0.2, 3.7037e-4, 1.6667e-4], rel=1e-4)
    matched = pa.array([[2, 3], [4, 5], [4, 5, 6], [], None], LISTS)
    kept = keep_probability(matched, counts, 20_000).to_pylist()
    assert kept[:4] == pytest.approx([0.6, 5.36975e-4, 0.666846, 0], rel=1e-5)
    assert kept[4] is None
    assert keep_probability(matched.slice(3), counts, 20_000).to_pylist() == [0, None]


def test_tail_share() -> None:
    counts = np.array([3, 1, 10, 2, 4], np.uint64)
    assert [tail_share(counts, t) for t in (4, 5)] == [0.3, 0.5]
    assert [threshold_for_tail_share(counts, share) for share in (0.3, 0.5, 0.06)] == [3, 4, 1]
    assert threshold_for_tail_share(np.array([0, 0, 50, 50]), 0.01) == 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=40).filter(any), st.lists(st.floats(0, 1), max_size=6))
def test_thresholds_for_tail_shares_are_those_of_the_definition(counts: list[int], shares: list[float]) -> None:
    ordered = np.array(sorted(counts))
    cumulative = np.cumsum(ordered.astype(np.float64)) / ordered.sum()
    expected = [max(1, int(ordered[np.argmin(np.abs(cumulative - share))])) for share in shares]
    assert thresholds_for_tail_shares(np.array(counts, np.uint64), shares) == expected


@settings(deadline=None, max_examples=50)
@given(st.lists(st.none() | st.sets(st.integers(0, 9), max_size=4), max_size=30), st.integers(1, 9))
def test_expected_matches_are_sums_of_probabilities(sets: list[set[int] | None], t: int) -> None:
    matched = pa.array([None if ids is None else sorted(ids) for ids in sets], LISTS)
    counts = entry_counts(matched, 10)
    expected = np.zeros(10)
    for ids in filter(None, sets):
        stays = 1 - np.prod([1 - t / max(int(counts[i]), t) for i in ids])
        for i in ids:
            expected[i] += stays
    assert expected_matches(matched, counts, t) == pytest.approx(expected)


def test_faults_are_named() -> None:
    matched, counts = example(ENTRIES)
    with pytest.raises(CurateError, match="all entry counts are 0"):
        threshold_for_tail_share(counts * np.uint64(0), 0.06)
    with pytest.raises(CurateError, match=r"tail share is 1.5, expected 0 to 1"):
        threshold_for_tail_share(counts, 1.5)
    with pytest.raises(CurateError, match="expected a number above 0"):
        keep_probability(matched, counts, 0)
    with pytest.raises(CurateError, match="come from another entry list"):
        entry_counts(matched, 3)


@settings(deadline=None)
@given(st.lists(st.text(max_size=90), max_size=10))
def test_hash_is_xxh64(strings: list[str]) -> None:
    expected = [xxhash.xxh64_intdigest(text.encode()) for text in strings]
    assert hash_strings(pa.array(strings, pa.string())).tolist() == expected
    assert hash_strings(pa.array(["x", *strings], pa.large_string()).slice(1)).tolist() == expected


def pool(rows: int, seed: int = 0) -> tuple[pa.ListArray, np.ndarray, pa.Array, list[str]]:
    """Captions with one to three of 20 entries, the first entries far more common."""
    rng = np.random.default_rng(seed)
    ids = np.minimum(rng.geometric(0.25, (rows, 3)) - 1, 19)
    matched = pa.array([sorted({int(i) for i in row[: 1 + n % 3]}) for n, row in enumerate(ids)], LISTS)
    uids = pa.array([f"{i:032x}" for i in range(rows)])
    return matched, entry_counts(matched, 20), uids, [f"e{i}" for i in range(20)]


def test_draw_keeps_the_expected_share() -> None:
    matched, counts, uids, entries = pool(40_000)
    expected = keep_probability(matched, counts, 500).to_numpy()
    kept = np.mean([
        draw(matched, uids, counts, 500, entry_hashes=hash_strings(entries), seed=seed).to_numpy(zero_copy_only=False)
        for seed in range(20)
    ], axis=0)  # fmt: skip
    for low, high in [(0, 0.1), (0.1, 0.3), (0.3, 0.8), (1, 1.1)]:
        some = (expected >= low) & (expected < high)
        spread = np.sqrt((expected[some] * (1 - expected[some])).sum() / 20) / some.sum()
        assert abs(kept[some].mean() - expected[some].mean()) <= 4 * spread + 1e-12
    assert (kept[expected == 1] == 1).all()


def test_draw_does_not_depend_on_order_and_nests() -> None:
    matched, counts, uids, entries = pool(5_000)
    hashes = hash_strings(entries)
    kept = draw(matched, uids, counts, 100, entry_hashes=hashes, seed=7)
    order = np.random.default_rng(1).permutation(5_000)
    again = draw(matched.take(order), uids.take(order), counts, 100, entry_hashes=hashes, seed=7)
    assert again == kept.take(order)
    assert draw(matched.slice(9), uids.slice(9), counts, 100, entry_hashes=hashes, seed=7) == kept.slice(9)
    assert draw(matched, uids, counts, 100, entry_hashes=hashes, seed=8) != kept
    for t in (101, 150, 1000):
        more = draw(matched, uids, counts, t, entry_hashes=hashes, seed=7)
        assert not any(a and not b for a, b in zip(kept.to_pylist(), more.to_pylist(), strict=True))


def test_draw_survives_a_longer_entry_list() -> None:
    matched, counts, uids, entries = pool(2_000)
    kept = draw(matched, uids, counts, 100, entry_hashes=hash_strings(entries), seed=7)
    moved = pa.array([[i + 1 for i in row] for row in matched.to_pylist()], LISTS)
    longer = np.concatenate([[0], counts]).astype(np.uint64)
    assert draw(moved, uids, longer, 100, entry_hashes=hash_strings(["new", *entries]), seed=7) == kept


def test_draw_nulls_and_empties() -> None:
    matched = pa.array([[0], [], None], LISTS)
    uids = pa.array(["x", "y", "z"])
    arguments = {"counts": np.array([1]), "t": 1, "entry_hashes": hash_strings(["a"]), "seed": -1}
    assert draw(matched, uids, **arguments).to_pylist() == [True, False, None]
    with pytest.raises(CurateError, match="every row needs a uid"):
        draw(matched, pa.array(["x", None, "z"]), **arguments)
    with pytest.raises(CurateError, match="every row needs a uid"):
        draw(matched, pa.array(["x"]), **arguments)
