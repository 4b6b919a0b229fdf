"""has_noun and has_determiner on captions whose answer anyone can give, and the captions of CC12M's rules."""

import polars as pl
import pyarrow as pa
import pytest

from curate.catalog import load
from curate.filter.decide import decide
from curate.filter.rule import load_filter
from curate.op import Rows


def facts(*captions):
    op = load("score.parts_of_speech")
    op.check()
    made = op.batch(Rows({"text": pa.array(captions, pa.string())}))
    return list(zip(made["has_noun"], made["has_determiner"], strict=True))


@pytest.mark.parametrize(
    ("caption", "noun", "determiner"),
    [
        ("a dog", True, True),
        ("A DOG.", True, True),
        ("dogs", True, False),
        ("the \u201cbest\u201d", False, True),
        ("my dog", True, False),
        ("this dog, that cat", True, True),
        ("No pets", True, True),
        ("Chanel No 5", True, False),
        ("No. 5", False, False),
        ("vitamin A", True, False),
        ("what is this?", False, False),
        ("click to enlarge", False, False),
        ("View the gallery", True, True),
        ("to run", False, False),
        ("a run", True, True),
        ("blue", False, False),
        ("very blue", False, False),
        ("blue dogs", True, False),
        ("Patent Drawing", True, False),
        ("the running", True, True),
        ("Zorblax", True, False),
        ("Frida Kahlo\u2019s", True, False),
        ("do what you love", False, False),
        ("above and beyond", False, False),
        ("quickly", False, False),
        ("123 456", False, False),
        ("...", False, False),
        ("", False, False),
        ("a", False, False),
        ("what you see", False, False),
        ("what colour", True, True),
        ("this is it", False, False),
    ],
)
def test_captions(caption, noun, determiner):
    assert facts(caption) == [(noun, determiner)]


@pytest.mark.parametrize(
    ("caption", "preposition"),
    [
        ("dogs in the sun", True),
        ("a cup of tea", True),
        ("Dogs and cats", False),
        ("click to enlarge", False),
        ("walk to the school", True),
        ("walk to school", False),
        ("stand up", False),
        ("By Monet", True),
        ("what it is like", False),
        ("", False),
    ],
)
def test_prepositions(caption, preposition):
    op = load("score.parts_of_speech")
    assert op.batch(Rows({"text": pa.array([caption])}))["has_preposition"] == [preposition]


def test_every_row_is_judged_by_itself():
    captions = ["a dog", "", "blue", "no dog"]
    assert facts(*captions) == [facts(caption)[0] for caption in captions]


def test_captions_through_the_rules_of_cc12m():
    captions = [
        "a dog and a cat",  # 1 of 5 repeated: 0.2
        "gray and white seamless pattern vector image vector image",  # 2 of 9, and no determiner
        "the gray and white seamless pattern vector image vector",  # 1 of 9
        "a gray pattern vector image vector image",  # 2 of 7
        "a dog",
        "do it again quickly",
        "dogs and cats",
    ]
    rule = load_filter("cc12m")
    columns = {"format": ["jpeg"] * len(captions), "original_width": [800] * len(captions)}
    frame = pl.DataFrame(columns | {"original_height": [600] * len(captions)})
    for op in rule.ops:
        op.setup()
        for name, values in op.batch(Rows({"text": pa.array(captions)})).items():
            if name in op.makes():
                frame = frame.with_columns(pl.Series(name, pa.array(values, op.makes()[name])))
    assert decide(frame, rule)["reason"].to_list() == [
        None,
        "no determiner",
        None,
        "share of repeated words over 0.2",
        "fewer than 3 or more than 256 words",
        "no noun",
        "no determiner",
    ]
