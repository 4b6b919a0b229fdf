"""How a name, a mapping, a class or an op becomes an op, and what is told when it does not."""

from __future__ import annotations

import re

import pytest

from curate.catalog import library, load, load_all, names
from curate.errors import CurateError
from curate.op import Op
from curate.score.words import Words


@pytest.mark.parametrize("spec", ["score.words", {"score.words": None}, {"score.words": {}}, Words, Words()])
def test_the_forms_of_one_op(spec):
    assert load(spec) == Words()


def test_options_are_of_the_mapping():
    assert load({"score.words": {"name": "count", "batch_size": 7}}) == Words(name="count", batch_size=7)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("score.wrds", r"no op 'score.wrds' \(did you mean 'score.words'\?\)"),
        ({"score.words": {}, "score.clip": {}}, "an op is written `name` or `{name: {option: value}}`, got"),
        ({"score.words": "x"}, "an op is written `name`"),
        (7, "an op is written `name` or `{name: {option: value}}`, got 7"),
        ({"score.words": {"nam": "x"}}, r"score.words: no option 'nam' \(did you mean 'name'\?\)"),
        ({"score.words": {"name": "../x"}}, "score.words: '../x' cannot be the name of a table"),
        (Op, "op 'curate.op:Op' cannot be made"),
    ],
)
def test_what_is_no_op_is_told(spec, message):
    with pytest.raises(CurateError, match=message):
        load(spec)


def test_one_op_twice_is_one_and_two_of_one_table_are_refused():
    assert load_all(["score.words", {"score.words": {"batch_size": 10_000}}]) == [Words()]
    message = "two ops would write table 'words': give one of them another `name`: {score.language: {name: words_2}}"
    with pytest.raises(CurateError, match=f"^{re.escape(message)}$"):
        load_all(["score.words", {"score.language": {"name": "words"}}])


def test_two_ops_of_one_table_that_drop_other_rows_are_refused():
    """`most` is no part of what a table holds: only the decision tells the two apart."""
    ten, five = ({"dedupe.shared": {"most": most}} for most in (10, 5))
    assert [op.most for op in load_all([ten, ten])] == [10]
    message = "two ops would write table 'text_images': give one of them another `name`: "
    with pytest.raises(CurateError, match=re.escape(message + "{dedupe.shared: {most: 5, name: text_images_2}}")):
        load_all([ten, five])
    other = {"dedupe.shared": {"most": 5, "name": "text_images_2"}}
    assert [op.table() for op in load_all([ten, other])] == ["text_images", "text_images_2"]


def test_what_ships_is_found_by_its_file():
    assert {"score.words", "dedupe.exact", "balance.metaclip"} <= set(names())
    assert {"coyo", "datacomp_basic"} <= set(library("filters")) and {"web", "demo"} <= set(library("pipelines"))
    assert all(path.is_file() for path in library("filters").values())
