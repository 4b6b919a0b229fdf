"""One text for each image: every distinct matching text is as likely, and P is that of the chosen one."""

from __future__ import annotations

import random

import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE, MakeStore

from curate.annotate.step import annotate
from curate.balance.one_text import OneText
from curate.catalog import load, load_all
from curate.errors import CurateError
from curate.op import Rows

pytestmark = pytest.mark.slow

Row = tuple[str | None, str | None, float | None]


def judged(rows: list[Row], seed: int = 0) -> list[str | None]:
    """Why, of rows of (image, text, P); uids are r0, r1, ..."""
    op = OneText(seed=seed)
    columns = {"sha256": [r[0] for r in rows], "text": [r[1] for r in rows], "metaclip_p": [r[2] for r in rows]}
    types = {"sha256": pa.string(), "text": pa.string(), "metaclip_p": pa.float64()}
    arrays = {name: pa.array(values, types[name]) for name, values in columns.items()}
    places = {"shard": pa.array([0] * len(rows), pa.int32()), "row": pa.array(range(len(rows)), pa.int32())}
    carried = {"uid": pa.array([f"r{i}" for i in range(len(rows))]), **{c: arrays[c] for c in ("text", "metaclip_p")}}
    frame = pl.DataFrame(pa.table({"key": op.keys(Rows(arrays)), **places, **carried}))
    verdict = op.judge(frame.filter(pl.col("key").is_not_null()))
    assert (verdict["one_text_keep"] == (verdict["one_text_why"] == "kept")).all()
    found = dict(zip(verdict["row"].to_list(), verdict["one_text_why"].to_list(), strict=True))
    return [found.get(i) for i in range(len(rows))]


def test_what_is_said_of_each_row() -> None:
    rows: list[Row] = [("i", "a", 1.0), ("j", "b", 0.0), ("j", None, None), (None, "c", 1.0), ("", "c", 1.0)]
    assert judged(rows) == ["kept", "no match", "no match", None, None]
    two = judged([("i", "a", 1.0), ("i", "b", 1.0), ("i", "c", 0.0)])
    assert sorted(two[:2], key=str) == ["another text", "kept"] and two[2] == "no match"


def test_a_text_that_stands_twice_is_one_text() -> None:
    assert judged([("i", "a", 1.0), ("i", "a", 1.0)]) == ["kept", "another text"]
    # One rare text beside one that stands nine times: half of the images take it. Binomial, four deviations: 127.
    rows: list[Row] = [(f"i{n}", "rare" if k == 0 else "often", 1.0) for n in range(1000) for k in range(10)]
    kept = [row[1] for row, why in zip(rows, judged(rows), strict=True) if why == "kept"]
    assert len(kept) == 1000 and abs(kept.count("rare") - 500) < 64


def test_the_probability_is_that_of_the_chosen_text() -> None:
    # Half of 4,000 images take the text of P 1, the others the one of P 0.2: kept are 0.6.
    rows: list[Row] = [(f"i{n}", text, p) for n in range(4000) for text, p in (("sure", 1.0), ("thin", 0.2))]
    why = judged(rows)
    sure, thin = why[::2].count("kept"), why[1::2].count("kept")
    assert abs(sure - 2000) < 127 and abs(thin - 400) < 77
    assert why[::2].count("thinned") == 0 and why.count("kept") + why.count("thinned") == 4000
    assert why.count("another text") == 4000


def test_the_choice_is_seeded_and_needs_no_order() -> None:
    rows: list[Row] = [(f"i{n % 50}", f"text {n % 7}", 0.5) for n in range(400)]
    first = judged(rows)
    assert judged(rows) == first and judged(rows, seed=1) != first
    kept = {rows[i][:2] for i, why in enumerate(first) if why == "kept"}
    order = list(range(400))
    random.Random(0).shuffle(order)
    again = judged([rows[i] for i in order])
    assert {rows[order[i]][:2] for i, why in enumerate(again) if why == "kept"} == kept and 10 < len(kept) < 40


@pytest.mark.parametrize("rows_per_shard", [2, 100])
def test_through_a_store(make_store: MakeStore, rows_per_shard: int) -> None:
    rows = [
        {"url": "http://a.example/1", "text": "a", "metaclip_p": 1.0},
        {"url": "http://a.example/2", "text": "b", "metaclip_p": 0.0},
        {"url": "HTTP://A.example/1", "text": "no", "metaclip_p": 0.0},
        {"url": "http://a.example/3", "text": "c", "metaclip_p": 1e-12},
    ]
    view = annotate(make_store(rows, rows_per_shard), load_all([{"balance.one_text": {"by": "url"}}]), HERE)
    made = view.store["one_text"].collect()
    assert made["one_text_why"].to_list() == ["kept", "no match", "no match", "thinned"]
    assert made["one_text_keep"].to_list() == [True, False, False, False]


def test_faults(make_store: MakeStore) -> None:
    with pytest.raises(CurateError, match="option 'by': name the column of the image"):
        load({"balance.one_text": {"by": ""}})
    with pytest.raises(CurateError, match="no column 'metaclip_p'"):
        annotate(make_store(1), load_all([{"balance.one_text": {"by": "url"}}]), HERE)
