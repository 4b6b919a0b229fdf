"""Conditions: how they are split, what null and NaN do, which reason a row gets, what is refused at load."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import CurateError
from curate.filter.decide import decide
from curate.filter.rule import Filter, load_filter
from curate.filter.sql import condition, conjuncts
from curate.filter.threshold import Threshold
from curate.filter.top import Top

COLUMNS = {"a": pl.Float32, "b": pl.Float64, "n": pl.Int64, "s": pl.String}


def frame(rows) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema={n: k for n, k in COLUMNS.items() if any(n in r for r in rows) or not rows})
    return table.with_columns(uid=pl.Series([f"{i:032x}" for i in range(len(table))], dtype=pl.String))


def verdicts(rows, rule, threshold=None):
    return decide(frame(rows), rule, threshold).rows()


# ---- splitting at AND ----

ATOMS = st.sampled_from(
    [
        "a > 0",
        "b <= 0.5",
        "n BETWEEN -1 AND 2",
        "n NOT BETWEEN 0 AND 1",
        "s = 'x AND y'",
        "s IN ('x', 'it''s', ')')",
        "s LIKE '%and%'",
        "a IS NULL",
        "b IS NOT NULL",
        "NOT (a > 0 AND n > 0)",
        "(a > 0 OR b > 0)",
        "(CASE WHEN n > 0 THEN a ELSE b END) > 0",
        "(n > 0 AND (a > b OR s = 'AND'))",
        "n + 1 > 2",
        '"a" > 0.25',
        "COALESCE(a, b) > 0",
        "((a > 0) XOR (n > 0))",
    ]
)
VALUES = {
    "a": st.sampled_from([None, -1.0, 0.0, 0.25, 1.0]),
    "b": st.sampled_from([None, -1.0, 0.5, 1.0]),
    "n": st.sampled_from([None, -2, 0, 1, 3]),
    "s": st.sampled_from([None, "x", "x AND y", "it's", ")", "AND", "sand"]),
}


@st.composite
def conditions(draw):
    """Any mix of AND and OR, in any case and spacing."""
    sql = draw(ATOMS)
    for _ in range(draw(st.integers(0, 4))):
        word = draw(st.sampled_from(["AND", "and", "\nAnd  ", "AND", "OR", "or"]))
        sql = f"{sql} {word} {draw(ATOMS)}"
    return sql


@settings(max_examples=100, deadline=None, derandomize=True)
@given(conditions(), st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=12))
def test_the_pieces_together_decide_as_the_whole(sql, rows):
    pieces = conjuncts(sql)
    table = pl.DataFrame(rows, schema=COLUMNS)
    whole = table.select(pl.sql_expr(sql).fill_null(False)).to_series()
    together = table.select(pl.all_horizontal(pl.sql_expr(piece).fill_null(False) for piece in pieces)).to_series()
    assert whole.to_list() == together.to_list()
    kept = [kept for kept, _ in verdicts(rows, Filter(name="f", where=sql))]
    assert kept == whole.to_list()


@pytest.mark.parametrize(
    ("sql", "pieces"),
    [
        ("a > 1", ["a > 1"]),
        ("a > 1 AND b > 2 AND n > 3", ["a > 1", "b > 2", "n > 3"]),
        ("a > 1 OR b > 2 AND n > 3", ["a > 1 OR b > 2 AND n > 3"]),
        ("s = 'a AND b' AND \"x AND y\" > 1 AND `p AND q` > 1", ["s = 'a AND b'", '"x AND y" > 1', "`p AND q` > 1"]),
        (
            "n BETWEEN 1 AND 2 AND NOT n BETWEEN (1 AND 1) AND 3 and a > 1",
            ["n BETWEEN 1 AND 2", "NOT n BETWEEN (1 AND 1) AND 3", "a > 1"],
        ),
        ("s = 'it''s AND' AND a > 1", ["s = 'it''s AND'", "a > 1"]),
        ("brand > 1 AND android > 2 AND _and > 3", ["brand > 1", "android > 2", "_and > 3"]),
    ],
)
def test_conjuncts(sql, pieces):
    assert conjuncts(sql) == pieces


# ---- null and NaN ----


def test_null_drops_and_says_so():
    rule = Filter(name="f", where={"low": "a > 0", "short": "n > 2"})
    rows = [
        {"a": 1.0, "n": 3},
        {"a": None, "n": 3},
        {"a": 1.0, "n": None},
        {"a": 0.0, "n": None},
        {"a": None, "n": None},
    ]
    assert verdicts(rows, rule) == [
        (True, None),
        (False, "low (no value)"),
        (False, "short (no value)"),
        (False, "low"),
        (False, "low (no value)"),
    ]


def test_a_condition_may_ask_for_null():
    rows = [{"a": None, "n": 1}, {"a": 1.0, "n": 1}]
    assert verdicts(rows, Filter(name="f", where="a IS NULL")) == [(True, None), (False, "fails: a IS NULL")]
    either = Filter(name="f", where="a > 0 OR n = 1")
    assert verdicts(rows, either) == [(True, None), (True, None)], "true OR null is true"


@pytest.mark.parametrize(
    "sql", ["a > 0", "a >= 0", "a != 0", "a < 1", "NOT a < 1", "a = a", "b > 0 AND a > 0", "a BETWEEN 0 AND 9"]
)
def test_nan_never_passes(sql):
    rows = [{"a": math.nan, "b": 1.0, "n": 1}]
    ((kept, reason),) = verdicts(rows, Filter(name="f", where=sql))
    assert not kept
    assert reason.endswith("(no value)")


def test_infinity_is_a_number_to_a_condition():
    rows = [{"a": math.inf, "b": -math.inf}]
    assert verdicts(rows, Filter(name="f", where="a > 0.3 AND b < 0")) == [(True, None)]


# ---- reasons and forms ----


def test_the_first_failing_condition_is_the_reason():
    rule = Filter(name="f", where="a > 0 AND b > 0 AND n > 0")
    rows = [
        {"a": 1.0, "b": 1.0, "n": 1},
        {"a": 0.0, "b": 0.0, "n": 0},
        {"a": 1.0, "b": 0.0, "n": 0},
        {"a": 1.0, "b": 1.0, "n": 0},
    ]
    assert [reason for _, reason in verdicts(rows, rule)] == [None, "fails: a > 0", "fails: b > 0", "fails: n > 0"]


@pytest.mark.parametrize(
    ("where", "reasons"),
    [
        ("a > 0 AND b > 0", {"fails: a > 0": "a > 0", "fails: b > 0": "b > 0"}),
        (["a > 0", "b > 0 AND n > 1"], {"fails: a > 0": "a > 0", "fails: b > 0": "b > 0", "fails: n > 1": "n > 1"}),
        ({"low": "a > 0 AND b > 0"}, {"low": "a > 0 AND b > 0"}),
        ([{"low": "a > 0"}, "n > 1", {"bad": "s = 'x'"}], {"low": "a > 0", "fails: n > 1": "n > 1", "bad": "s = 'x'"}),
        ([{"low": "a > 0"}, {"low": "b > 0 OR n > 1"}], {"low": "(a > 0) AND (b > 0 OR n > 1)"}),
        (["a > 0", "a > 0"], {"fails: a > 0": "a > 0"}),
    ],
)
def test_forms_of_where(where, reasons):
    assert Filter(name="f", where=where).where == reasons


@pytest.mark.parametrize(
    ("keep", "where"),
    [
        ([{"if": "lang = 'en'", "else": "not English"}], {"not English": "lang = 'en'"}),
        ([{"if": "a > 0 AND b > 0"}], {"fails: a > 0 AND b > 0": "a > 0 AND b > 0"}),
        (
            ["a > 0 AND b > 0", {"if": "n > 1", "else": "few"}],
            {"fails: a > 0": "a > 0", "fails: b > 0": "b > 0", "few": "n > 1"},
        ),
        ("a > 0 AND b > 0", {"fails: a > 0": "a > 0", "fails: b > 0": "b > 0"}),
        ([{"if": "a > 0", "else": "low"}, {"if": "b > 0", "else": "low"}], {"low": "(a > 0) AND (b > 0)"}),
    ],
)
def test_forms_of_keep(keep, where):
    assert Filter(name="f", keep=keep).where == where


def test_where_and_keep_together():
    rule = Filter(name="f", where="n > 1", keep=[{"if": "a > 0", "else": "low"}])
    assert rule.where == {"fails: n > 1": "n > 1", "low": "a > 0"}


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (
            [{"too short": "words <= 2"}],
            r"filter f: option 'keep': a rule is written \{if: words > 2, else: two words or fewer\}",
        ),
        (
            yaml.safe_load("[{if: n IN (3, 4), else: x}]"),
            r"'4\)' is neither: a condition that holds a comma",
        ),
        ([{"else": "too short"}], "a rule is written"),
        ([{"if": 3, "else": "x"}], "a rule is written"),
        ([{"if": "a > 1", "else": 3}], "`else` is the reason of a dropped row, in words, got 3"),
        ([["a > 1"]], "a rule is written"),
        ({"if": "a >", "else": "x"}, "not a SQL condition"),
        (3, "a rule is written"),
    ],
)
def test_rules_that_cannot_be_read(keep, message):
    with pytest.raises(CurateError, match=message):
        load_filter({"keep": keep}, "f")


@pytest.mark.parametrize(
    ("where", "today"),
    [
        ({"too short": "words <= 2"}, "keep: [{if: words <= 2, else: too short}]"),
        ([{"a b": "s IN ('x', 'y')"}, "n > 1"], "shown"),
        ("words > 2", ""),
        (["words > 2"], ""),
    ],
)
def test_the_old_form_loads_and_shows_the_new_one(where, today, capsys):
    rule = load_filter({"where": where}, "f")
    said = capsys.readouterr().err
    assert said.count("\n") == (1 if today else 0)
    if today:
        shown = yaml.safe_load(said.partition("write ")[2])
        pairs = [
            pair
            for item in (where if isinstance(where, list) else [where])
            if isinstance(item, dict)
            for pair in item.items()
        ]
        assert shown == {"keep": [{"if": sql, "else": reason} for reason, sql in pairs]}
        assert all(rule.where[reason] == sql for reason, sql in pairs)


def test_the_reason_may_be_a_column():
    rule = Filter(name="f", where={"no image": "s = 'success'"}, reason="s")
    rows = [{"s": "success"}, {"s": "http_404"}, {"s": None}]
    assert verdicts(rows, rule) == [(True, None), (False, "http_404"), (False, "no image (no value)")]
    assert rule.needs() == ("s",)


@pytest.mark.parametrize("spec", ["no_filter", {"name": "all", "keep": []}])
def test_a_filter_without_conditions_keeps_all(spec):
    rule = load_filter(spec)
    assert rule.where == {}
    assert verdicts([{"a": 1.0}, {"a": None}], rule) == [(True, None)] * 2
    assert decide(frame([]), rule).is_empty()


def test_a_constant_condition_is_decided_for_every_row():
    rows = [{"a": 1.0}, {"a": None}]
    assert verdicts(rows, Filter(name="f", where="1 = 1")) == [(True, None)] * 2
    assert verdicts(rows, Filter(name="f", where="1 = 2")) == [(False, "fails: 1 = 2")] * 2


def test_no_rows_no_verdicts():
    assert decide(frame([]), Filter(name="f", where="a > 0 AND n > 1")).columns == ["kept", "reason"]


def test_top_comes_after_the_conditions():
    rule = Filter(name="f", where="n > 0", top=Top(by="a", rows=2))
    rows = [{"a": 0.9, "n": 0}, {"a": 0.8, "n": 1}, {"a": 0.1, "n": 1}, {"a": None, "n": 1}, {"a": math.nan, "n": 1}]
    assert verdicts(rows, rule, Threshold(0.5, None, 2)) == [
        (False, "fails: n > 0"),
        (True, None),
        (False, "not in the top 2 rows by a"),
        (False, "not in the top 2 rows by a (no value)"),
        (False, "not in the top 2 rows by a (no value)"),
    ]
    assert rule.needs() == ("n", "a")


def test_a_column_is_cut_in_its_own_precision():
    cut = Threshold(0.3, "b", 2)
    table = pl.DataFrame({"a": [0.3, 0.3, 0.3, 0.1 + 0.2], "uid": ["a", "b", "c", "d"]})
    assert table.select(cut.keeps("a")).to_series().to_list() == [True, True, False, True]
    whole = pl.DataFrame({"a": pl.Series([2**64 - 1, 2**64 - 2, None], dtype=pl.UInt64), "uid": ["a", "b", "c"]})
    assert whole.select(Threshold(2**64 - 1, None, 1).keeps("a")).to_series().to_list() == [True, False, None]


# ---- refused at load, with what to do ----


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"where": "a >"}, r"filter f: option 'where'.*not a SQL condition: 'a >'"),
        ({"where": "a > 1 AND"}, "'a > 1 AND': something is missing at its end"),
        ({"where": ""}, "not a SQL condition"),
        ({"where": {"x": 3}}, "option 'where.x': Input should be a valid string, got 3"),
        ({"where": 3}, "option 'where'.*got 3"),
        ({"where": "a > (SELECT b FROM c)"}, "a condition looks at one row, a subquery at others"),
        ({"where": "a > AVG(a)"}, r"'a > AVG\(a\)': a condition looks at one row, AVG at others; see `top`"),
        ({"where": {"x": "ROW_NUMBER() over (ORDER BY a) < 9"}}, "OVER at others"),
        (
            {"wher": "a > 1"},
            r"no option 'wher' \(did you mean 'where'\?\); there are: about, cite, columns, copies, examples, keep",
        ),
        ({}, "give `keep`, `where`, `subset`, `copies` or `top`; `keep: \\[\\]` keeps every row"),
        ({"keep": None}, "give `keep`, `where`, `subset`, `copies` or `top`"),
        ({"where": None}, "give `keep`, `where`, `subset`, `copies` or `top`"),
        ({"top": {"by": "a"}}, "option 'top': give either `fraction` or `rows`"),
        ({"top": {"by": "a", "fraction": 0.5, "rows": 3}}, "give either `fraction` or `rows`"),
        ({"top": {"by": "a", "fraction": 0}}, "option 'top.fraction': Input should be greater than 0, got 0"),
        ({"top": {"by": "a", "fraction": 1.5}}, "less than or equal to 1"),
        ({"top": {"by": "a", "rows": 0}}, "option 'top.rows'"),
        ({"top": {"fraction": 0.5}}, "option 'top.by' is required"),
        ({"top": {"by": "a", "rows": 1, "ties": "random"}}, "'exact' or 'datacomp', got 'random'"),
        (
            {"where": "words > 1", "columns": {"words": "score.wrds"}},
            r"no op 'score.wrds' \(did you mean 'score.words'\?\)",
        ),
        (
            {"where": "w > 1", "columns": {"word": "score.words"}},
            r"filter f: no column made by score.words 'word' \(did you mean 'words'\?\)",
        ),
        (
            {"where": "a > 1", "columns": {"words": {"score.words": {"bach_size": 3}}}},
            r"no option 'bach_size' \(did you mean 'batch_size'\?\)",
        ),
        ({"where": "a > 1", "examples": [{"row": {}}]}, "option 'examples.0.keep' is required"),
    ],
)
def test_what_is_refused(spec, message):
    with pytest.raises(CurateError, match=message):
        load_filter(spec, "f")


def test_words_of_other_rows_are_fine_inside_names_and_strings():
    for sql in (
        "s = 'MAX(a)'",
        '"sum(x)" > 1',
        "max_side > 1",
        "over > 1",
        "count > 2",
        "ABS(a) > 1",
        "GREATEST(a, b) > 1",
    ):
        condition(sql)


@pytest.mark.parametrize(
    ("sql", "message"),
    [("c > 1", "column 'c' is not there"), ("s > 1", "filter f"), ("n", "filter f"), ("a + 1", "filter f")],
)
def test_what_only_the_data_can_tell(sql, message):
    with pytest.raises(CurateError, match=message):
        verdicts([{"a": 1.0, "n": 1, "s": "x"}], Filter(name="f", where=sql))


def test_names_and_files(tmp_path: Path):
    with pytest.raises(CurateError, match=r"no filter 'datacomp_basc' \(did you mean 'datacomp_basic'\?\)"):
        load_filter("datacomp_basc")
    with pytest.raises(CurateError, match=r"no file '.*mine\.yaml'"):
        load_filter(str(tmp_path / "mine.yaml"))
    path = tmp_path / "mine.yaml"
    path.write_text("where: a > 1\n")
    assert load_filter(str(path)).name == "mine"
    path.write_text("- a\n")
    with pytest.raises(CurateError, match="must hold a mapping"):
        load_filter(str(path))
    path.write_text("where: [\n")
    with pytest.raises(CurateError, match="is not YAML"):
        load_filter(str(path))
    path.write_text("keep: [{if: s IN ('a', 'b'), else: other}]\n")
    with pytest.raises(CurateError, match=r"is not YAML: .*a condition that holds a comma stands in double quotes"):
        load_filter(str(path))
    path.write_text("where: a >\n")
    with pytest.raises(CurateError, match=r"filter mine.yaml: option 'where'"):
        load_filter(str(path))


def test_spec_is_what_decides():
    one = Filter(name="f", where="a > 1", about="x")
    assert one.spec() == Filter(name="g", where=["a > 1"]).spec()
    assert one.spec() != Filter(name="f", where="a > 1.0").spec()
    assert one.spec() != Filter(name="f", where={"low": "a > 1"}).spec()
    assert one.spec() != Filter(name="f", where="a > 1", top=Top(by="a", rows=3)).spec()
