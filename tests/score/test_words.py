import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.catalog import load

BLANKS = " \t\n\x1c\x1f\x85\xa0\u2003\u3000\u200b"


def words_of(*captions):
    op = load("score.words")
    columns = op.apply({"text": pa.array(captions, pa.string())})
    return [columns[name].to_pylist() for name in op.makes()]


def test_literals():
    captions = ["a dog", "", " \t", "a\x1cb", "ein\u3000Hündchen", "小猫"]
    assert words_of(*captions) == [[2, 0, 0, 2, 2, 1], [5, 0, 2, 3, 12, 2]]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.text(st.sampled_from("ab.é小" + BLANKS), max_size=20), max_size=6))
def test_words_are_those_of_split(captions):
    assert words_of(*captions) == [[len(text.split()) for text in captions], [len(text) for text in captions]]
