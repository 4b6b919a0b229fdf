"""Sizes by threshold: what a filter of each would keep, in one pass and without a keep table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import MakeStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curate
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.filter.sweep import sweep, thresholds_of

SCORES = [0.1, 0.2, 0.3, None, 0.4, 0.5, float("nan"), 0.3]


def test_an_example(make_store: MakeStore) -> None:
    root = make_store([{"s": s} for s in SCORES], 3).store.url
    before = {path: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}
    swept = curate.sweep(root, "s", "0.2:0.4:0.1")
    assert swept.table.rows() == [(0.2, 5, 5 / 8), (0.3, 4, 4 / 8), (0.4, 2, 2 / 8)]
    assert (swept.column, swept.relation, swept.rows, swept.no_value) == ("s", ">=", 8, 2)
    assert curate.sweep(root, "s", [0.25], at_most=True).table.rows() == [(0.25, 2, 0.25)]
    assert {path: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()} == before


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(st.none(), st.sampled_from([0.1, 0.3, -2.0]), st.floats(width=32)), min_size=1, max_size=20),
    st.lists(st.sampled_from([0.1, 0.3, 0.30000001, -1, 0]), min_size=1, max_size=4),
    st.sampled_from([pa.float32(), pa.float64(), pa.float16()]),
    st.booleans(),
)
def test_as_a_filter_of_each_threshold(make_store, values, limits, kind, at_most) -> None:  # type: ignore[no-untyped-def]
    view = make_store([{"k": n % 3} for n in range(len(values))], 50)
    array = pa.array(np.array([0.0 if v is None else v for v in values]), pa.float64()).cast(kind, safe=False)
    table = pa.table({"s": pa.array(array.to_pylist(), kind, mask=np.array([v is None for v in values]))})
    view.store.write_part("s-x", 0, table)
    view = view.with_table("s-x", ["s"])
    after, counts = select(view, Filter(name="in", where="k <> 1"))
    swept = sweep(after, "s", limits, at_most)
    assert swept.rows == counts["kept"]
    for limit, kept in zip(limits, swept.table["kept"], strict=True):
        sql = f"s {swept.relation} {limit:.10f}"
        assert select(after, Filter(name="f", where=sql))[1]["kept"] == kept


def test_of_the_rows_of_a_keep_table(make_store: MakeStore) -> None:
    root = make_store([{"s": i, "order": i} for i in range(10)], 4).store.url
    curate.filter(root, where="s < 6", name="low")
    assert curate.sweep(root, "order", "3 5", after="low").table.rows() == [(3.0, 3, 0.5), (5.0, 1, 1 / 6)]
    curate.filter(root, where="s > 90", name="none")
    empty = curate.sweep(root, "s", [1, 2], after="keep_none")
    assert (empty.rows, empty.table.rows()) == (0, [(1.0, 0, None), (2.0, 0, None)])


def test_ranges_have_both_ends() -> None:
    assert thresholds_of("0.2:0.4:0.02") == [f"0.{n}" for n in range(20, 42, 2)]
    assert thresholds_of("1:2:0.4") == ["1.0", "1.4", "1.8"]
    assert thresholds_of("-1:-1:1") == ["-1"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("", "0 thresholds"),
        ("high", "'high' is no number: write from:to:step"),
        ("0.1:0.2", "is no range"),
        ("0.2:0.1:0.1", "never ends"),
        ("0.1:0.2:0", "never ends"),
        ("0:1:0.000001", "10,001 thresholds, expected 1 to 10,000"),
        ([float("nan")], "'nan' is no number"),
    ],
)
def test_what_is_no_threshold(values: object, message: str) -> None:
    with pytest.raises(CurateError, match=message):
        thresholds_of(values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "message"),
    [("words", r"score\.words makes it"), ("txt", r"did you mean 'text'"), ("text", "text")],
)
def test_columns_without_numbers(make_store: MakeStore, column: str, message: str) -> None:
    with pytest.raises(CurateError, match=message):
        curate.sweep(make_store(2).store.url, column, [1])


def test_it_is_one_pass(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    view = make_store([{"s": i} for i in range(9)], 2)
    opened: list[str] = []
    read = type(view.store).opened
    monkeypatch.setattr(type(view.store), "opened", lambda store, name: (opened.append(name), read(store, name))[1])
    assert len(sweep(view, "s", "0:8:0.01").table) == 801
    assert sorted(opened) == [f"records/{n:05d}.parquet" for n in (0, 0, 1, 2, 3, 4)]
    assert pl.Series(opened).n_unique() == 5
