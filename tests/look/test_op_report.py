"""What an op reports, as text and tables."""

from __future__ import annotations

from curate.look.op_report import MOST_ROWS, Lines, sentence, tables

REPORT = {
    "t": 20000,
    "tail_share": 0.0612,
    "expected_rows": 1234567.8,
    "list": "en",
    "head": [
        {"entry": "of", "matches_before": 120000, "after": 21.06},
        {"entry": 7, "matches_before": 1, "after": 1.0},
    ],
    "empty": [],
}


def test_single_values_are_a_sentence() -> None:
    assert sentence(REPORT) == "t 20,000, tail share 0.0612, expected rows 1,234,568, list en"
    assert sentence({}) == ""


def test_lists_are_tables() -> None:
    rows = [["of", "120,000", "21.1"], ["7", "1", "1"]]
    assert tables(REPORT) == [Lines("head", ["entry", "matches before", "after"], [False, True, True], rows)]
    assert len(tables({"many": [{"a": 1}] * 99})[0].rows) == MOST_ROWS
