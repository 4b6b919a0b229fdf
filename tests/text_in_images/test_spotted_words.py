import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text_in_images.spotted_words import co_embedded_rate, distance, near, normalised


def words(text):
    return normalised(pl.Series([text])).to_list()[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A red STOP sign", ["a", "red", "stop", "sign"]),
        ("and/or (well-being)", ["and", "or", "well", "being"]),
        ("Darwin’s finches, don't", ["darwins", "finches", "dont"]),
        ("CO₂ ﬁsh", ["co2", "fish"]),
        ("हिन्दी पाठ", ["हिन्दी", "पाठ"]),
        ("1.5 % — …", ["1", "5"]),
        ("", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_rate():
    caption = set(words("A red STOP sign"))
    assert co_embedded_rate(caption, words("STOP sign! ahead")) == 0.5
    assert co_embedded_rate(caption, words("STOP STOP sign! sign ahead")) == 0.5, "a word counts once"
    assert co_embedded_rate(caption, []) == 0
    assert co_embedded_rate(set(), ["stop"]) == 0
    assert co_embedded_rate({"a"}, ["a"]) == 1


def test_fuzzy_counts_misread_words_too():
    caption, read = {"the", "golgi", "apparatus"}, ["go1gi", "apparatuz", "tho"]
    assert co_embedded_rate(caption, read) == 0
    assert co_embedded_rate(caption, read, fuzzy=True) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("word", "other", "is_near"),
    [
        ("red", "rod", False),
        ("stop", "stop", True),
        ("stop", "sto", True),
        ("stop", "spot", False),
        ("nucleus", "nucleos", True),
        ("nucleus", "nuclea", False),
        ("membrane", "memrane", True),
        ("membrane", "mernbrane", True),
        ("membrane", "mernbrame", False),
    ],
)
def test_near(word, other, is_near):
    assert near(word, other) is is_near


def plain(word, other):
    """Levenshtein by its definition."""
    if not word or not other:
        return len(word) + len(other)
    same = plain(word[1:], other[1:]) + (word[0] != other[0])
    return min(same, plain(word[1:], other) + 1, plain(word, other[1:]) + 1)


@given(st.text("ab", max_size=5), st.text("ab", max_size=5), st.integers(0, 6))
def test_distance_is_levenshteins(word, other, at_most):
    expected = plain(word, other)
    found = distance(word, other, at_most)
    assert found == expected if expected <= at_most else found > at_most
