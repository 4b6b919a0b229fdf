"""Verdicts in files: any parquet reader understands them, a small number a row, and earlier forms are read."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ledger
from earlier_form import LEDGER, keep_tables_to_ledgers
from hypothesis import given, settings
from hypothesis import strategies as st
from stopping import stopped_at_part

from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.store.store import Store
from curate.store.verdict import Verdicts, ledger_columns, verdict_of
from curate.store.view import View

TEXTS = ["kept", "a: too short", "b: lang: 'ß'", "b-2: "]
ROWS = [
    (True, None, None),
    (False, "a", "too short"),
    (False, "b", "lang: 'ß'"),
    (False, "b-2", ""),
]


def people_read(table: pa.Table) -> list[tuple]:
    return pl.DataFrame(table).select(ledger_columns(table.column_names)).rows()


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 3), max_size=30))
def test_a_row_is_a_number_and_its_text_is_there(codes):
    table = Verdicts(np.array(codes, np.uint16), TEXTS).to_arrow()
    assert table["verdict"].to_pylist() == [TEXTS[code] for code in codes]
    words = table["verdict"].chunk(0).dictionary.to_pylist()
    assert words == ["kept", *(text for code, text in enumerate(TEXTS) if code and code in codes)]
    assert people_read(table) == [ROWS[code] for code in codes]
    again = Verdicts.of(table)
    assert again.kept.tolist() == [code == 0 for code in codes]
    assert again.to_arrow().equals(table)


def test_texts_that_are_twice_are_one():
    table = Verdicts(np.array([2, 1, 0]), ["kept", "a: x", "a: x"]).to_arrow()
    assert table["verdict"].chunk(0).dictionary.to_pylist() == ["kept", "a: x"]
    assert table["verdict"].to_pylist() == ["a: x", "a: x", "kept"]


def test_a_row_that_is_out_keeps_its_verdict():
    first = Verdicts(np.array([0, 1, 0, 2], np.int32), ["kept", "a: x", "a: y"])
    second = Verdicts(np.array([0, 2, 2, 1], np.uint16), ["kept", "b: z", "a: x"])
    then = first.then(second)
    assert then.to_arrow()["verdict"].to_pylist() == ["kept", "a: x", "a: x", "a: y"]
    assert then.kept.tolist() == [True, False, False, False]


def test_the_order_of_the_dictionary_does_not_matter():
    texts = ["a: x", "kept", "b: y"]
    column = pa.DictionaryArray.from_arrays(pa.array([1, 0, 2, 1], pa.int32()), pa.array(texts))
    assert Verdicts.of(pa.table({"verdict": column})).kept.tolist() == [True, False, False, True]
    none = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array(["a: x"]))
    assert Verdicts.of(pa.table({"verdict": none})).kept.tolist() == [False]


def test_a_large_part_has_several_dictionaries():
    parts = [Verdicts(np.array(codes, np.int32), TEXTS).to_arrow() for codes in ([0, 3], [2, 2], [])]
    together = Verdicts.of(pa.concat_tables(parts))
    assert together.to_arrow()["verdict"].to_pylist() == ["kept", "b-2: ", "b: lang: 'ß'", "b: lang: 'ß'"]


def test_the_form_with_three_columns_is_read():
    kept, steps, reasons = zip(*ROWS, strict=True)
    words = {"dropped_by": steps, "reason": reasons}
    columns = {name: pa.array(values).dictionary_encode() for name, values in words.items()}
    table = pa.table({"kept": pa.array(kept), **columns}, LEDGER)
    assert Verdicts.of(table).to_arrow()["verdict"].to_pylist() == TEXTS
    assert people_read(table) == ROWS
    assert people_read(table.slice(0, 0)) == []


def test_verdict_of():
    assert verdict_of("a", "b: c") == "a: b: c"


# ---- in a store ----


@pytest.fixture
def view(make_store) -> View:
    return make_store([{"uid": f"{i:032x}", "n": i} for i in range(25)], 10)


def test_any_parquet_reader_understands_a_keep_table(view):
    after, _ = select(view, Filter(name="few", where={"odd": "n % 2 = 0"}))
    after, _ = select(after, Filter(name="big", where={"over 20": "n <= 20"}))
    path = view.store.path(view.store.part(after.keep, 2))
    rows = ["kept", "few: odd", "big: over 20", "few: odd", "big: over 20"]
    assert pq.read_table(path, partitioning=None).to_pydict() == {"verdict": rows}
    assert pl.read_parquet(path, hive_partitioning=False)["verdict"].to_list() == rows


def test_what_people_read_of_it(view):
    after, _ = select(view, Filter(name="few", where={"odd": "n % 2 = 0"}))
    table = view.store["keep_few"]
    assert dict(table.collect_schema()) == {
        "uid": pl.String,
        "kept": pl.Boolean,
        "dropped_by": pl.Categorical,
        "reason": pl.Categorical,
    }
    assert table.filter(pl.col("reason") == "odd").select("uid").collect().height == 12
    assert table.select("kept").collect()["kept"].to_list() == [i % 2 == 0 for i in range(25)]
    assert [after.kept(shard).tolist() for shard in (0, 2)] == [[True, False] * 5, [True, False, True, False, True]]


def test_a_keep_table_of_an_earlier_version_is_read_and_built_upon(view):
    old, _ = select(view, Filter(name="old", where={"odd": "n % 2 = 0"}))
    top = Filter(name="top", top={"by": "n", "rows": 5})
    today = ledger(select(old, top)[0]).rows()
    verdicts = ledger(old)
    assert keep_tables_to_ledgers(view.store.url) == 6
    opened = View.of(Store(view.store.url), "keep_old")
    assert ledger(opened).equals(verdicts)
    assert opened.kept(1).tolist() == [True, False] * 5
    view.store.remove(view.store.manifest().current["keep_top"])
    assert ledger(select(opened, top)[0]).rows() == today


def test_an_earlier_form_with_a_missing_part_is_written_anew(view):
    rule = Filter(name="old", where={"odd": "n % 2 = 0"})
    old, _ = select(view, rule)
    verdicts = ledger(old)
    keep_tables_to_ledgers(view.store.url)
    view.store.remove(view.store.part(old.keep, 1))
    with stopped_at_part(2):
        select(view, rule)
    assert ledger(select(view, rule)[0]).equals(verdicts)
    assert view.store.manifest().keep(old.keep).columns == ["verdict"]


def test_verdicts_of_other_records_are_refused(view):
    first, _ = select(view, Filter(name="a", where="n > 3"))
    part = view.store.read_part(first.keep, 1)
    view.store.write_part(first.keep, 1, part.replace_schema_metadata({}), owner="0123456789abcdef")
    with pytest.raises(CurateError, match=r"shard 1 of keep_a-\w+ is not of the same records"):
        select(first, Filter(name="b", where="n > 5"))
