"""What an author overrides, tried at hand: what an op reads, what is prepared for it, and what it is told."""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curate.annotate.op_run import OpRun
from curate.catalog import load
from curate.errors import CurateError
from curate.op import Rows, Score

GREY = Image.new("RGB", (4, 2), (9, 9, 9))


class Both(Score):
    def reads(self):
        return ("image", "text")

    def makes(self):
        return {"width": pa.int32(), "letters": pa.int32()}

    def batch(self, rows):
        return {"width": [image.width for image in rows.images], "letters": [len(text) for text in rows.texts]}


class Prepared(Both):
    def prepare_image(self, decoded):
        return Image.fromarray(decoded.pixels).resize((7, 7))

    def prepare_texts(self, texts):
        return [text + "!" for text in texts]


class CaptionOnly(Prepared):
    def reads(self):
        return ("text",)

    def makes(self):
        return {"letters": pa.int32()}

    def batch(self, rows):
        return {"letters": [len(text) for text in rows.texts]}


def test_by_default_a_batch_has_the_images_and_the_captions_as_they_are():
    assert Both().apply({"text": ["abc", None]}, [GREY, GREY]) == {"width": [4, 4], "letters": [3, 0]}


def test_a_hook_that_is_overridden_prepares_them():
    assert Prepared().apply({"text": ["abc", None]}, [GREY, GREY]) == {"width": [7, 7], "letters": [4, 1]}


def test_what_is_prepared_follows_from_what_is_read_and_overridden():
    assert Both().prepares() == frozenset()
    assert Prepared().prepares() == {"image", "text"}
    assert CaptionOnly().prepares() == {"text"}


@pytest.mark.parametrize("texts", [["abc", "de"], pa.array(["abc", "de"]), ("abc", "de")])
def test_apply_takes_lists_as_well_as_arrow_arrays(texts):
    assert CaptionOnly().apply({"text": texts}) == {"letters": [4, 3]}


def test_a_column_that_is_not_read_is_told_by_name():
    with pytest.raises(LookupError, match="no column 'lang': `reads` of the op names: text"):
        Rows({"text": pa.array(["a"])})["lang"]
    with pytest.raises(LookupError, match="no column 'text': `reads` of the op names: nothing"):
        _ = Rows({}, [GREY]).texts
    with pytest.raises(LookupError, match="no images: `reads` of the op does not name 'image'"):
        _ = Rows({"text": pa.array(["a"])}).images


def test_a_class_with_a_fault_is_told_where_it_is_defined():
    """Not only when YAML names it: a notebook sees the same line."""
    with pytest.raises(CurateError) as old:

        class Loud(Score):
            reads = ("text",)

    assert re.match(r'test_op.py, line \d+: reads = \("text",\): `reads` is a method of an op: `def r', str(old.value))
    with pytest.raises(CurateError) as untyped:

        class Marked(Both):
            mark = 3

    assert re.match(r"test_op.py, line \d+: mark = 3: an option needs its type: `mark: int = 3`", str(untyped.value))


def test_a_name_that_columns_have_is_part_of_the_identity():
    class ByName(CaptionOnly):
        columns_by_name: ClassVar[bool] = True

    usual, other = CaptionOnly(name="other").spec()["options"], ByName(name="other").spec()["options"]
    assert (usual, other) == ({}, {"name": "other"})
    assert ByName().spec()["options"] == {"name": ByName().table()}


@pytest.mark.parametrize("rows", [0, -1])
@pytest.mark.parametrize("name", ["score.words", "dedupe.exact"])
def test_a_batch_of_no_rows_is_no_batch(name, rows):
    """Of its rows none would get a value."""
    with pytest.raises(CurateError, match=rf"option 'batch_size': a batch has 1 row or more, got {rows}"):
        load({name: {"batch_size": rows, **({"by": "url"} if name == "dedupe.exact" else {})}})
    assert load({"score.clip": {"batch_size": 0}}).batch_size == 0, "as many as fit"


def test_an_op_that_takes_no_rows_at_a_time_is_told():
    class Idle(CaptionOnly):
        def rows_at_a_time(self):
            return 0

    with pytest.raises(CurateError, match="`rows_at_a_time` returns 0, expected 1 or more"):
        OpRun(Idle(), "idle", np.ones(1, bool))
