"""Remarks of a step: summed in any order, kept beside the parts, shown."""

from __future__ import annotations

from itertools import permutations

from curate.messages.remarks import Remarks
from curate.store.store import Store


def part(rows, example, place):
    remarks = Remarks()
    remarks.add("malformed", rows, example, place)
    return remarks


def test_the_sum_is_the_same_in_any_order():
    parts = [part(2, "b", (1, 0)), part(3, "a", (0, 7)), part(1, "c", (2, 1))]
    for order in permutations(parts):
        total = Remarks()
        for remarks in order:
            total.merge(remarks)
        assert total.to_json() == {"malformed": {"rows": 6, "example": "a", "place": [0, 7]}}


def test_the_largest_count_comes_first():
    remarks = Remarks()
    remarks.add("cut")
    remarks.add("left out", 2_000, "row 7")
    assert remarks.lines() == ["2,000 left out (row 7)", "1 cut"]


def test_a_store_keeps_those_of_each_shard(tmp_path):
    store = Store(str(tmp_path))
    store.write_remarks("records", 0, part(2, "line 3", (0, 3)))
    store.write_remarks("records", 1, part(1, "line 1", (1, 1)))
    assert store.remarks("records").lines() == ["3 malformed (line 3)"]
    store.write_remarks("records", 0, Remarks())
    assert store.remarks("records").lines() == ["1 malformed (line 1)"]
    assert store.parts("records") == set()
