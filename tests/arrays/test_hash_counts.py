"""Counts by hash: those of a Counter, however parts are added."""

from __future__ import annotations

import pickle
import random
from collections import Counter

import pyarrow as pa
import pytest

from curate.arrays.hash_counts import HashCounts
from curate.arrays.string_hash import hash_strings

pytestmark = pytest.mark.slow


def test_against_a_counter_in_any_order() -> None:
    draw = random.Random(0)
    parts = [[f"w{draw.randint(0, 60)}" for _ in range(draw.randint(0, 40))] for _ in range(30)]
    expected = Counter(word for part in parts for word in part)
    words = [f"w{i}" for i in range(70)]
    for _ in range(5):
        draw.shuffle(parts)
        total = HashCounts.of(pa.array(parts[0], pa.string()))
        for part in parts[1:]:
            total = total + pickle.loads(pickle.dumps(HashCounts.of(pa.array(part, pa.string()))))
        assert total.find(hash_strings(words)).tolist() == [expected[word] for word in words]
        assert (len(total), total.total()) == (len(expected), expected.total())
        assert len(total.at_least(15)) == sum(count >= 15 for count in expected.values())
    assert (total.hashes[1:] > total.hashes[:-1]).all()


def test_nothing() -> None:
    none = HashCounts.of(pa.array([], pa.string()))
    assert (none + none).total() == 0 and none.find(hash_strings(["a"])).tolist() == [0]
