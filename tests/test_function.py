"""A score that is a function: at hand, from YAML, in a store, and what its author is told."""

from __future__ import annotations

import importlib
import io
import pickle
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE
from PIL import Image

import curate
from curate.annotate.step import annotate
from curate.catalog import find, load
from curate.errors import CurateError
from curate.function import IMAGES_AT_A_TIME, score_function

MODULE = '''
import polars as pl
import pyarrow as pa

from curate.function import score_function


@score_function(reads="text", makes={"loud": pa.float32()})
def loud(text: pl.Series, mark: str = "!") -> pl.Series:
    """Share of characters that are exclamation marks."""
    return text.str.count_matches(mark, literal=True) / text.str.len_chars().clip(1)


@score_function(reads=("image", "text"), makes={"wide": pa.int32(), "long": pa.bool_()}, version=3, cite="a paper")
def shape(images, text, most: int, least: int = 2):
    widths = [image.width for image in images]
    return {"wide": widths, "long": text.str.len_chars().is_between(least, most)}


def plain(text):
    return text
'''


@pytest.fixture
def my_ops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes the module `my_ops`, changed, and forgets what was imported of it before."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(old: str = "", new: str = "") -> None:
        assert old in MODULE
        (tmp_path / "my_ops.py").write_text(MODULE.replace(old, new))
        sys.modules.pop("my_ops", None)

    yield write
    sys.modules.pop("my_ops", None)


def picture(width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_it_is_tried_on_lists():
    @score_function(reads="text", makes={"letters": pa.int32()})
    def letters(text, more: int = 0):
        return text.str.len_chars() + more

    assert list(letters().apply({"text": ["ab", ""]})["letters"]) == [2, 0]
    assert list(letters(more=5).apply({"text": ["ab", ""]})["letters"]) == [7, 5]


def test_by_its_name_in_yaml_with_options(my_ops):
    my_ops()
    op = load({"my_ops:loud": {"mark": "?"}})
    assert (op.table(), op.reads(), op.makes()) == ("loud", ("text",), {"loud": pa.float32()})
    assert list(op.apply({"text": ["a?", "??", "!"]})["loud"]) == [0.5, 1.0, 0.0]
    assert load({"my_ops:loud": {"name": "asks"}}).table() == "asks"
    with pytest.raises(CurateError, match=r"my_ops:loud: no option 'marc' \(did you mean 'mark'\?\)"):
        load({"my_ops:loud": {"marc": "?"}})
    with pytest.raises(CurateError, match="my_ops:loud: option 'mark': Input should be a valid string, got 1"):
        load({"my_ops:loud": {"mark": 1}})
    with pytest.raises(CurateError, match="my_ops:shape: option 'most' is required"):
        load("my_ops:shape")


def test_rows_without_what_it_reads_never_reach_it(make_store, my_ops):
    my_ops()
    view = annotate(make_store([{"text": "a!"}, {"text": None}, {"text": ""}]), [load("my_ops:loud")], HERE)
    table = view.store["loud"].collect()
    assert table["loud"].to_list() == [0.5, None, 0.0]
    assert table["loud_status"].to_list() == ["ok", "no_text", "ok"]


def test_images_and_captions_of_a_store(make_store, my_ops):
    my_ops()
    view = make_store([{"text": "a"}, {"text": "ab"}, {"text": "abc"}], images=[picture(3), picture(4), None])
    table = annotate(view, [load({"my_ops:shape": {"most": 9}})], HERE).store["shape"].collect()
    assert table["wide"].to_list() == [3, 4, None]
    assert table["long"].to_list() == [False, True, None]
    assert table["shape_status"].to_list() == ["ok", "ok", "no_image"]


def test_its_identity_is_its_code_its_options_and_its_version(my_ops):
    def identity(old: str = "", new: str = "", **options):
        my_ops(old, new)
        return load({"my_ops:loud": options}).spec()

    usual = identity()
    assert usual | {"code": ""} == {
        "op": "my_ops:loud", "options": {"mark": "!"}, "version": 1, "weights": "", "code": ""
    }  # fmt: skip
    assert identity('"""Share of', '"""The share of') == usual, "a docstring is no code"
    assert identity(batch_size=7) == usual
    assert identity(mark="?")["options"] == {"mark": "?"}
    assert identity(".clip(1)", ".clip(2)")["code"] != usual["code"]
    my_ops()
    assert load({"my_ops:shape": {"most": 4}}).spec()["version"] == 3
    assert find("my_ops:shape").cite == "a paper"


def test_a_worker_gets_it(my_ops):
    my_ops()
    op = load({"my_ops:loud": {"mark": "?"}})
    again = pickle.loads(pickle.dumps(op))
    assert again.spec() == op.spec() and list(again.apply({"text": ["?"]})["loud"]) == [1.0]


def test_rows_of_a_call(my_ops):
    my_ops()
    assert load("my_ops:loud").rows_at_a_time() == 256
    assert load({"my_ops:shape": {"most": 4}}).rows_at_a_time() == IMAGES_AT_A_TIME
    assert load({"my_ops:loud": {"batch_size": 5}}).rows_at_a_time() == 5

    @score_function(reads="text", makes={"n": pa.int32()}, batch_size=9)
    def n(text):
        return text.str.len_chars()

    assert n().rows_at_a_time() == 9


@pytest.mark.parametrize("rows", [0, -3, "many"])
def test_a_call_has_rows(rows):
    @score_function(reads="text", makes={"n": pa.int32()}, batch_size=rows)
    def n(text):
        return text.str.len_chars()

    with pytest.raises(CurateError, match="option 'batch_size': "):
        load(n)


def test_a_default_is_checked_as_any_value_is():
    @score_function(reads="text", makes={"n": pa.int32()})
    def n(text, least: int = "three"):
        return text.str.len_chars()

    with pytest.raises(CurateError, match=r"n: option 'least': Input should be a valid integer.*, got 'three'"):
        load(n)


@pytest.mark.parametrize(
    "values",
    [
        [1.0, None],
        np.array([1.0, np.nan]),
        pl.Series([1.0, None]),
        pa.array([1, None]),
        {"n": [1, None]},
        pl.DataFrame({"n": [1, None]}),
    ],
)
def test_values_come_in_any_of_the_usual_forms(make_store, values):
    @score_function(reads="text", makes={"n": pa.float32()})
    def n(text):
        return values

    view = annotate(make_store([{"text": "a"}, {"text": "b"}]), [n()], HERE)
    assert view.store["n"].collect()["n"].to_list() == [1.0, None]


def test_it_may_say_why_a_row_has_no_value(make_store):
    @score_function(reads="text", makes={"n": pa.int32()})
    def n(text):
        return {"n": [1, None], "status": [None, "odd"]}

    view = annotate(make_store([{"text": "a"}, {"text": "b"}]), [n()], HERE)
    assert view.store["n"].collect()["n_status"].to_list() == ["ok", "odd"]


def test_a_wrong_number_of_values_is_the_function_s_fault(make_store):
    @score_function(reads="text", makes={"n": pa.int32()})
    def n(text):
        return [1]

    with pytest.raises(CurateError, match="column 'n' has 1 value for 2 rows"):
        annotate(make_store([{"text": "a"}, {"text": "b"}]), [n()], HERE)


def test_several_columns_come_by_name(make_store):
    @score_function(reads="text", makes={"a": pa.int32(), "b": pa.int32()})
    def both(text):
        return [1, 2]

    with pytest.raises(CurateError, match=r"both: the function makes several columns \(a, b\) and must return them by"):
        annotate(make_store([{"text": "a"}, {"text": "b"}]), [both()], HERE)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('mark: str = "!"', 'mark="!"', "an option needs its type: `mark: str = '!'`"),
        ('mark: str = "!"', "mark", "an option needs its type: `mark: str`"),
        ('mark: str = "!"', 'mark: strr = "!"', "NameError: name 'strr' is not defined (my_ops.py, line 9"),
        ('mark: str = "!"', 'mark: "strr" = "!"', "the type of an option is not known: "),
        ('mark: str = "!"', 'version: str = "!"', "an option cannot be called 'version'"),
        ('mark: str = "!"', 'batch_size: int = "!"', "an option cannot be called 'batch_size'"),
        ('mark: str = "!"', "**marks", "'**marks' names no options: each is an argument of its own"),
        (
            'reads="text"',
            'reads=("text", "lang")',
            "`reads` names text, lang: the function's first arguments take the columns, without a default: "
            "def loud(text, lang, ...)",
        ),
        ('reads="text", ', "", "missing 1 required keyword-only argument: 'reads' (my_ops.py, line 8"),
    ],
)
def test_what_does_not_fit_is_told_with_the_function_s_line(my_ops, old, new, message):
    my_ops(old, new)
    with pytest.raises(CurateError) as caught:
        load("my_ops:loud")
    assert message in str(caught.value), str(caught.value)
    assert "my_ops.py, line " in str(caught.value) and "\n" not in str(caught.value)


def test_columns_in_another_order_than_the_arguments_are_told():
    with pytest.raises(CurateError, match="`reads` names lang, text, the arguments are text, lang: they go"):

        @score_function(reads=("lang", "text"), makes={"n": pa.int32()})
        def n(text, lang):
            return text


def test_a_function_without_the_decorator_is_told(my_ops):
    my_ops()
    with pytest.raises(CurateError, match=r"my_ops.plain is a function: put `@score_function\(reads=..., makes=...\)`"):
        load("my_ops:plain")
    with pytest.raises(CurateError, match=r"my_ops: no op 'lout' \(did you mean 'loud'\?\)"):
        load("my_ops:lout")


def test_makes_is_checked_when_it_is_loaded(my_ops):
    my_ops('{"loud": pa.float32()}', '["loud"]')
    with pytest.raises(CurateError, match=r"op 'my_ops:loud': `makes` returns \['loud'\], expected columns and their"):
        load("my_ops:loud")


def test_it_is_given_to_curate_score_as_it_is(make_store, my_ops):
    my_ops()
    loud = importlib.import_module("my_ops").loud
    root = make_store([{"text": "a!"}, {"text": "?"}]).store.url
    curate.score(root, loud, workers=0)
    assert curate.open(root)["loud"].collect()["loud"].to_list() == [0.5, 0.0]
    curate.score(root, [loud(mark="?", name="asks")], workers=0)
    assert curate.open(root)["asks"].collect()["loud"].to_list() == [0.0, 1.0]
