"""Every filter that ships proves itself on the examples in its own file."""

import re

import numpy as np
import polars as pl
import pytest
import yaml

from curate.catalog import library
from curate.filter.decide import decide
from curate.filter.passes import Ranked
from curate.filter.rule import Filter, load_filter
from curate.filter.sql import condition
from curate.filter.threshold import find_threshold

NAMES = list(library("filters"))


@pytest.fixture(params=NAMES)
def rule(request) -> Filter:
    return load_filter(request.param)


def example_rows(rule: Filter, floats: type[pl.DataType]) -> pl.DataFrame:
    frame = pl.DataFrame([example.row for example in rule.examples], infer_schema_length=None)
    frame = frame.with_columns(pl.col(pl.Float64).cast(floats))
    return frame.with_columns(uid=pl.Series([f"{i:032x}" for i in range(len(frame))]))


def threshold(rule: Filter, frame: pl.DataFrame):
    """Where `top` cuts among the example rows."""
    if rule.top is None:
        return None
    if rule.top.among == "passing":
        frame = frame.filter(decide(frame, rule.model_copy(update={"top": None}))["kept"])
    scored = frame.with_row_index("row").filter(pl.col(rule.top.by).is_not_null())
    rows = Ranked(scored[rule.top.by].to_numpy(), scored["uid"], 0, scored["row"].to_numpy())
    return find_threshold(lambda one, zero: zero + one.of(rows), rule.top.count, rule.top.ties)


# Scores are stored as float32, and a threshold in SQL is no float32: a row at the limit must stay in both.
@pytest.mark.slow
@pytest.mark.parametrize("floats", [pl.Float32, pl.Float64])
def test_examples(rule, floats):
    frame = example_rows(rule, floats)
    verdict = decide(frame, rule, threshold(rule, frame))
    wrong = [
        (example.row, example.why, reason)
        for example, kept, reason in zip(rule.examples, verdict["kept"], verdict["reason"], strict=True)
        if kept != example.keep
    ]
    assert not wrong


def test_every_condition_has_a_row_that_fails_only_there(rule):
    frame = example_rows(rule, pl.Float64)
    if not rule.where:
        return
    reasons = set()
    for reason, sql in rule.where.items():
        others = {name: condition for name, condition in rule.where.items() if name != reason}
        alone = decide(frame, rule.model_copy(update={"where": {reason: sql}, "top": None}))["kept"]
        rest = decide(frame, rule.model_copy(update={"where": others, "top": None}))["kept"]
        reasons |= {reason} if (~alone & rest).any() else set()
    assert reasons == set(rule.where)


def test_says_what_it_is_and_where_from(rule):
    assert rule.about and rule.cite
    kept = {example.keep for example in rule.examples}
    assert kept == ({True} if rule.name == "no_filter" else {True, False})


def test_examples_have_the_columns_it_needs(rule):
    for example in rule.examples:
        assert set(rule.needs()) <= set(example.row)


def test_columns_it_makes_are_used(rule):
    """By a condition, or by another op of the filter."""
    used = {*rule.needs(), *(name for op in rule.ops for name in op.reads())}
    assert set(rule.columns) <= used


@pytest.mark.parametrize("name", NAMES)
def test_file_name_is_its_name(name):
    assert load_filter(name).name == name


def test_fraction_as_datacomp_counts_it():
    """int(10 * 0.3) is the index of the threshold in the descending order: four of ten stay."""
    rule = load_filter("datacomp_clip_l14_30")
    frame = pl.DataFrame({"clip_l14": np.arange(10) / 10, "uid": [f"{i}" for i in range(10)]})
    cut = threshold(rule, frame)
    assert cut.score == pytest.approx(0.6) and cut.rows == 4


#: How reasons write small numbers.
WORDS = {1: "one", 2: "two", 3: "three", 5: "five", 10: "ten"}


def test_a_reason_says_the_number_that_was_missed(rule):
    for reason, sql in rule.where.items():
        for _, _, number in condition(sql).compared():
            digits = f"{number:,.10g}"
            forms = (digits, digits.replace(",", ""), WORDS.get(int(number), digits), f"{number / 1000:g} KB")
            assert number == 0 or any(form in reason for form in forms), (reason, sql)


def test_what_ships_is_written_in_the_form_that_cannot_be_read_backwards(capsys):
    for path in library("filters").values():
        load_filter(str(path))
    for path in library("pipelines").values():
        for step in yaml.safe_load(re.sub(r"\$\{\w+\}", "0.5", path.read_text()))["steps"]:
            load_filter(step.get("filter", "no_filter"))
    assert capsys.readouterr().err == ""
