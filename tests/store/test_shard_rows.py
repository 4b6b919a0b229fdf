"""Row counts of shards, against a dict that is filled shard by shard."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.store.shard_rows import ShardRows, Stretch


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(1, 5)), max_size=4))
def test_as_a_dict(inputs):
    """Of each input: full shards, rows per shard, rows of the last shard."""
    expected: dict[int, int] = {}
    stretches = []
    for full, per_shard, most in inputs:
        first, last = len(expected), min(most, per_shard)
        stretches.append(Stretch(range(first, first + full + 1), full * per_shard + last, per_shard))
        expected.update(dict.fromkeys(range(first, first + full), per_shard) | {first + full: last})
    rows = ShardRows(stretches)
    assert rows == expected
    assert (list(rows), len(rows), sum(rows.values())) == (list(expected), len(expected), sum(expected.values()))
    assert rows.keys() <= set(expected) and not rows.keys() - set(expected)
    for shard in (-1, len(expected)):
        assert shard not in rows
        with pytest.raises(KeyError):
            rows[shard]


def test_a_million_shards_take_no_room():
    rows = ShardRows(
        [Stretch(range(1_000_000), 9_999_999_999, 10_000), Stretch(range(1_000_000, 1_000_000), 0, 10_000)]
    )
    assert (rows[0], rows[999_999], rows.get(1_000_000), len(rows)) == (10_000, 9_999, None, 1_000_000)
    assert len(pickle.dumps(rows)) < 500


def test_an_input_of_no_rows():
    assert dict(ShardRows([Stretch(range(0, 1), 0, 10)])) == {0: 0}
    assert dict(ShardRows([])) == {}
