"""The ledger: every row kept or dropped once, by one step, for one reason; sums that add up; old verdicts that stay."""

from __future__ import annotations

import re
from collections import Counter

import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE, ledger
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stopping import stopped_at_part

from curate.annotate.step import annotate
from curate.catalog import load
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import check_columns, funnel, nothing_left, select
from curate.filter.top import Top
from curate.store.view import View


@pytest.fixture
def view(make_store) -> View:
    return make_store([{"uid": f"{i:032x}", "n": i % 10, "s": i / 100 if i % 7 else None} for i in range(95)], 20)


def test_the_ledger_adds_up(view):
    first, a = select(view, Filter(name="a", where={"odd": "n % 2 = 0", "nine": "n < 8"}))
    second, b = select(first, Filter(name="b", where={"low": "s > 0.3"}))
    third, c = select(second, Filter(name="c", top=Top(by="s", rows=5)))
    assert a == {"entered": 95, "kept": 39, "dropped": {"odd": 47, "nine": 9}}
    assert b["entered"] == a["kept"]
    assert c["entered"] == b["kept"]
    for counts in (a, b, c):
        assert counts["entered"] == counts["kept"] + sum(counts["dropped"].values())
    rows = ledger(third)
    assert len(rows) == 95
    assert rows["uid"].to_list() == [f"{i:032x}" for i in range(95)]
    assert rows["kept"].sum() == c["kept"] == 5
    assert rows.filter("kept").select("dropped_by", "reason").null_count().row(0) == (5, 5)
    assert rows.filter(~pl.col("kept")).select("dropped_by", "reason").null_count().row(0) == (0, 0)
    by_step = Counter(rows["dropped_by"].drop_nulls())
    assert by_step == {"a": 56, "b": sum(b["dropped"].values()), "c": sum(c["dropped"].values())}
    reasons = Counter(zip(rows["dropped_by"], rows["reason"], strict=True))
    for step, counts in (("a", a), ("b", b), ("c", c)):
        assert {r: n for (s, r), n in reasons.items() if s == step} == counts["dropped"]
    assert funnel(view.store.manifest(), third.keep) == [{"step": s, **x} for s, x in (("a", a), ("b", b), ("c", c))]
    assert sum(step["entered"] - step["kept"] for step in funnel(view.store.manifest(), third.keep)) + 5 == 95


def test_verdicts_are_cumulative(view):
    """A row that is out keeps the step and the reason that put it out, whatever a later step would say."""
    first, _ = select(view, Filter(name="a", where={"odd": "n % 2 = 0"}))
    second, _ = select(first, Filter(name="b", where={"never": "1 = 2"}))
    rows = ledger(second)
    odd = pl.Series([i % 2 == 1 for i in range(95)])
    assert rows.filter(odd).select("dropped_by", "reason").unique().rows() == [("a", "odd")]
    assert rows.filter(~odd).select("dropped_by", "reason").unique().rows() == [("b", "never")]


def test_a_changed_threshold_is_a_new_table_beside_the_old(view):
    folders = {}
    for limit in (0.2, 0.5, 0.2):
        after, counts = select(view, Filter(name="f", where=f"s > {limit}"))
        folders.setdefault(after.keep, []).append(counts["kept"])
        assert View.of(view.store, "keep_f").keep == after.keep, "the name means the last one"
    assert sorted(len(kept) for kept in folders.values()) == [1, 2]
    for folder, kept in folders.items():
        assert view.store.scan(folder).collect()["kept"].sum() == kept[0]


def test_the_same_filter_is_not_applied_twice(view, monkeypatch):
    rule = Filter(name="f", where="s > 0.2", top=Top(by="s", fraction=0.5))
    first, counts = select(view, rule)
    monkeypatch.setattr("curate.filter.job.decision", None)
    assert select(View.of(view.store), rule) == (first, counts)


def test_a_stopped_filter_is_applied_again(view):
    rule = Filter(name="f", where="s > 0.2")
    with stopped_at_part(2):
        select(view, rule)
    assert "keep_f" not in view.store.manifest().current
    after, counts = select(view, rule)
    assert ledger(after)["kept"].sum() == counts["kept"] == 63


def test_one_name_used_twice_in_a_chain_still_adds_up(view):
    """`--name x --after x`: rows that the first x dropped are not the second's."""
    first, a = select(view, Filter(name="x", where={"odd": "n % 2 = 0"}))
    second, b = select(View.of(view.store, "keep_x"), Filter(name="x", where={"high": "n < 4"}))
    assert b == {"entered": 48, "kept": 20, "dropped": {"high": 28}}
    assert ledger(second)["kept"].sum() == 20
    assert [step["entered"] for step in funnel(view.store.manifest(), second.keep)] == [95, 48]
    assert first.keep != second.keep
    assert a["kept"] == 48


def test_the_counts_do_not_depend_on_the_shards(make_store):
    rows = [{"uid": f"{i:032x}", "n": i % 10} for i in range(60)]
    rule = Filter(name="f", where={"c": "n > 2", "b": "n != 5", "a": "n < 9"}, top=Top(by="n", rows=20))
    tables = []
    for per_shard in (1, 7, 60):
        after, counts = select(make_store(rows, per_shard), rule)
        tables.append((list(counts["dropped"].items()), ledger(after).rows()))
    assert tables[0] == tables[1] == tables[2]
    assert list(dict(tables[0][0])) == ["c", "not in the top 20 rows by n", "a", "b"], (
        "most frequent first, then by name"
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["n > 2", "n % 2 = 0", "s > 0.1", "s IS NULL", "n IS NOT NULL", "s < 0.8 OR n = 3"]), max_size=5
    )
)
def test_any_chain_adds_up(view, chain):
    step, left = view, 95
    for number, sql in enumerate(chain):
        step, counts = select(step, Filter(name=f"f{number}", where=sql))
        assert counts["entered"] == left
        assert counts["kept"] + sum(counts["dropped"].values()) == left
        left = counts["kept"]
    if chain:
        assert ledger(step)["kept"].sum() == left
        whole = " AND ".join(f"({sql})" for sql in chain)
        assert select(view, Filter(name="all", where={"x": whole}))[1]["kept"] == left


def test_a_missing_column_names_the_command_that_makes_it(view):
    rule = Filter(name="long", columns={"words": "score.words"}, where="words > 3")
    with pytest.raises(
        CurateError,
        match=r"column 'words', which is not there: score\.words makes it; run `curate score STORE --filter long`",
    ):
        select(view, rule)
    assert select(annotate(view, list(rule.ops), HERE), rule)[1]["kept"] == 0
    with pytest.raises(CurateError, match=r"needs column 'txt', which is not there \(did you mean 'text'\?\)"):
        select(view, Filter(name="f", where="txt != 'a'"))
    with pytest.raises(CurateError, match="filter f: "):
        select(view, Filter(name="f", where="text > 3"))


def test_a_row_without_a_value_is_counted_apart(make_store):
    view = annotate(make_store([{"text": "a b c"}, {"text": None}, {"text": "a"}]), [load("score.words")], HERE)
    after, counts = select(view, Filter(name="f", where={"short": "words > 2"}))
    assert counts["dropped"] == {"short": 1, "short (no value)": 1}
    assert ledger(after)["reason"].to_list() == [None, "short (no value)", "short"]


def test_a_step_that_drops_every_row_is_said_in_one_line(view):
    _, counts = select(
        view, Filter(name="none", keep=[{"if": "n > 90", "else": "few"}, {"if": "s > 2", "else": "low"}])
    )
    line = nothing_left(counts, "none", "STORE")
    assert line == (
        "none dropped all 95 rows (95 few): nothing is left; look at them with `curate show STORE`, change the "
        "conditions or the input, and run again"
    )
    assert nothing_left({"entered": 0, "kept": 0, "dropped": {}}, "none", "STORE") == ""
    assert nothing_left({"entered": 3, "kept": 1, "dropped": {"few": 2}}, "none", "STORE") == ""


def test_a_reason_of_no_letters_counts_as_one(make_store):
    view = make_store([{"why": why, "n": n} for n, why in enumerate(["", "x", None, "", "x"])], 2)
    after, counts = select(view, Filter(name="f", where={"own": "n = 1"}, reason="why"))
    assert counts == {"entered": 5, "kept": 1, "dropped": {"": 2, "own": 1, "x": 1}}
    assert ledger(after)["reason"].to_list() == ["", None, "own", "", "x"]


def parts_of(view: View) -> list[bytes]:
    return [view.store.read_bytes(view.store.part(view.keep, shard)) for shard in view.store.shard_rows()]


@pytest.mark.parametrize(
    "name", ["filter.batches.BATCH_BYTES", "cluster.many_shards.RUN_ROWS", "cluster.many_shards.THREADS"]
)
def test_how_many_shards_are_looked_at_together_changes_no_byte(view, make_store, monkeypatch, name):
    rules = [
        Filter(name="a", where={"low": "n > 2", "x": "s > 0.1"}),
        Filter(name="b", where="n != 5", reason="text"),
        Filter(name="c", top=Top(by="s", rows=30, among="passing"), where="n < 9"),
    ]
    files = []
    for number in range(2):
        if number:
            monkeypatch.setattr(f"curate.{name}", 1)
        rows = [{"uid": f"{i:032x}", "n": i % 10, "s": i / 100 if i % 7 else None} for i in range(95)]
        step = make_store(rows, 20)
        for rule in rules:
            step, _ = select(step, rule)
            files.append((step.keep.rpartition("-")[0], parts_of(step)))
    assert files[:3] == files[3:]


def test_shards_whose_columns_have_other_types_are_judged_apart(make_store):
    """A float32 is compared with 0.1 as it was rounded, a float64 is not."""
    view = make_store(3, 2)
    for shard, (kind, values) in enumerate([(pa.float32(), [0.1, 0.2]), (pa.float64(), [0.1 + 2e-17])]):
        view.store.write_part("s-x", shard, pa.table({"s": pa.array(values, kind)}))
    after, counts = select(view.with_table("s-x", ["s"]), Filter(name="f", where={"low": "s > 0.1"}))
    assert counts == {"entered": 3, "kept": 2, "dropped": {"low": 1}}
    assert ledger(after)["kept"].to_list() == [False, True, True]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("text > 3", "text is a text, 3 is a whole number"),
        ("n", "'n' is a whole number, no condition"),
        (
            "characters > 3",
            "score.words makes it; run `curate score STORE score.words` or add score.words",
        ),
        ('text = "en"', "\"en\" in double quotes is a column, a text stands in single quotes: 'en'"),
        ("original_width > 3", "download makes it"),
        ("txt = 'a'", r"(did you mean 'text'?)"),
    ],
)
def test_conditions_are_checked_before_any_row_is_read(view, monkeypatch, sql, message):
    monkeypatch.setattr("curate.filter.job.decision", None)
    with pytest.raises(CurateError, match=re.escape(message)):
        select(view, Filter(name="f", where=sql))


def test_columns_with_types_are_checked_without_a_store():
    types = {"lang": pa.string(), "words": pa.uint32(), "e": pa.list_(pa.uint32()), "x": None}
    check_columns(Filter(name="f", where="lang = 'en' AND words > 3 AND ARRAY_LENGTH(e) > 0 AND x > 3"), types)
    for sql in ("lang > 3", "words", "e > 1", "x > 3 AND words = 'a'"):
        with pytest.raises(CurateError, match="filter f: "):
            check_columns(Filter(name="f", where=sql), types)
    with pytest.raises(CurateError, match="top ranks numbers, and 'lang' holds String"):
        check_columns(Filter(name="f", top=Top(by="lang", rows=1)), types)
