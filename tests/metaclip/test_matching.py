"""The matcher against the published rule written out in Python, on every kind of entry and array."""

from __future__ import annotations

import itertools
import pickle
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.metaclip.matching import Matcher, unmatchable_ids

pytestmark = pytest.mark.slow

MARKS = ",.;:?!`"


def prep(text: str) -> str:
    spaced = f" {text} "
    for mark in MARKS:
        spaced = spaced.replace(mark, f" {mark} ")
    return spaced.replace("\t", " ").replace("\n", " ").replace("\r", " ")


def brute_force(entries: list[str], text: str | None) -> list[int] | None:
    if text is None:
        return None
    spaced = prep(text)
    return [i for i, entry in enumerate(entries) if f" {entry} " in spaced]


def matches(entries: list[str], texts: list[str | None]) -> list[list[int] | None]:
    return Matcher(entries).match(pa.array(texts, pa.string())).to_pylist()


# Few letters, so that random entries and texts meet; some above 8 and 16 bytes, which are stored differently.
pieces = st.sampled_from(
    ["a", "b", "A", "ab", "é", "日本", "\u2028", "\x00", "eightbyt", "ninebytes", "sixteen_bytes_ab",
     "sixteen_bytes_abc", "a_token_of_more_than_16_bytes", "a_token_of_more_than_16_bytez",
     *" " * 6, *MARKS, "\t", "\n", "\r"]
)  # fmt: skip
strings = st.lists(pieces, max_size=8).map("".join)


@settings(deadline=None, max_examples=400)
@given(st.lists(strings, unique=True, max_size=25), st.lists(st.none() | strings, max_size=8))
def test_equals_substring_search(entries: list[str], texts: list[str | None]) -> None:
    assert matches(entries, texts) == [brute_force(entries, text) for text in texts]


@settings(deadline=None, max_examples=200)
@given(st.lists(strings, min_size=1, max_size=8), st.lists(st.text(" ab,.é\n", max_size=12), max_size=6), st.data())
def test_entries_cut_from_the_text_itself(texts: list[str], others: list[str], data: st.DataObject) -> None:
    spaced = prep(data.draw(st.sampled_from(texts)))
    cuts = st.tuples(st.integers(0, len(spaced)), st.integers(0, len(spaced))).map(lambda c: spaced[min(c) : max(c)])
    entries = list(dict.fromkeys(data.draw(st.lists(cuts, max_size=10)) + others))
    assert matches(entries, list(texts)) == [brute_force(entries, text) for text in texts]


def writable(entry: str) -> str:
    """A text that spacing turns into the entry: without the blanks that spacing puts round its marks."""
    tokens = entry.split(" ")
    text = tokens[0]
    for before, after in itertools.pairwise(tokens):
        marks = sum(len(token) == 1 and token in MARKS for token in (before, after))
        text += " " * max(0, 1 - marks) + after
    return text


@settings(deadline=None, max_examples=400)
@given(strings, strings)
def test_unmatchable_is_exact(entry: str, text: str) -> None:
    matchable = unmatchable_ids([entry]).size == 0
    assert (brute_force([entry], writable(entry)) == [0]) == matchable
    assert matchable or all(brute_force([entry], t) == [] for t in (text, entry, text + entry + text))


EXAMPLE = ["a", "A", "photo", "dog", "cat", "2019", "of", "dog house"]


def test_hand_made_example() -> None:
    texts = ["A photo of a dog", "photo of cat, 2019", "a dog", "dog-house", "the photo"]
    texts += ["dog house", "dog  house", None, ""]
    expected = [[0, 1, 2, 3, 6], [2, 4, 5, 6], [0, 3], [], [2], [3, 7], [3], None, []]
    assert matches(EXAMPLE, texts) == expected


def test_examples_of_the_paper() -> None:
    entries = [str(n) for n in range(100)] + ["battery plate", "desk", "beach", "Whitby castle", "control", "product"]
    entries += ["img", "johnny", "cash", "dog", "party", "event", "ridge", "court"]
    none = ["control_14ct", "cudd2008", "product-img", "Skirmisher-Main-440x412", "A4omote"]
    none += ["johnny_cash_chili_dog (2)", "hanukkah-party-facebook-event-cover-template", "8533 GOLDEN RIDGE COURT"]
    assert matches(entries, none) == [[]] * len(none)
    found = matches(entries, ["battery plate", "desk", "beach", "Whitby castle"])
    assert [[entries[i] for i in row] for row in found if row is not None] == [
        ["battery plate"], ["desk"], ["beach"], ["Whitby castle"],
    ]  # fmt: skip


def test_spacing() -> None:
    assert prep("A photo of St. Louis") == " A photo of St .  Louis "
    assert matches(["St. Louis", "Louis", "St", "St .", "."], ["A photo of St. Louis"]) == [[1, 2, 3, 4]]
    assert matches(["red", "car", "red car"], ["red car", "red\tcar", "red`car", "red, car"]) == [
        [0, 1, 2], [0, 1, 2], [0, 1], [0, 1],
    ]  # fmt: skip


def test_blanks_are_entries_too() -> None:
    entries = ["", " ", "a ", " a", "a  b", ", ", ","]
    texts = ["", "a", "a  b", "a, b", ",,", " ", "  "]
    assert matches(entries, texts) == [brute_force(entries, text) for text in texts]
    assert matches([""], ["", "a", "a,", "a,b"]) == [[0], [], [0], []]


def test_unmatchable_entries() -> None:
    entries = ["St. Louis", "Louis", "U.S.", "a\tb", ".", ". .", ".  .", "a , b"]
    assert unmatchable_ids(entries).tolist() == [0, 2, 3, 5]
    texts = ["U.S. St. Louis", "..", "a,b"]
    assert matches(entries, list(texts)) == [brute_force(entries, text) for text in texts]


KINDS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", KINDS)
def test_arrow_types_slices_and_chunks(kind: pa.DataType) -> None:
    texts = [None, "a dog", "photo", None, "of a cat, 2019", ""] * 30
    expected = [brute_force(EXAMPLE, text) for text in texts]
    array, matcher = pa.array(texts, pa.string()).cast(kind), Matcher(EXAMPLE)
    assert matcher.match(array).type == pa.list_(pa.uint32())
    for start, length in [(0, 180), (1, 100), (7, 3), (13, 167), (180, 0)]:
        assert matcher.match(array.slice(start, length)).to_pylist() == expected[start : start + length]
    chunks = pa.chunked_array([array.slice(0, 50), array.slice(50, 0), array.slice(50)])
    assert matcher.match(chunks).to_pylist() == expected
    matcher.match(array.slice(1)).validate(full=True)


def test_nothing() -> None:
    assert matches([], ["a", None]) == [[], None]
    assert matches(["a"], []) == []
    assert matches(["a"], [None, None]) == [None, None]
    assert Matcher(["a"]).match(pa.nulls(2)).to_pylist() == [None, None]
    assert Matcher(["a"]).match(pa.chunked_array([], pa.string())).to_pylist() == []


def test_null_rows_may_hide_bytes() -> None:
    hidden = pa.Array.from_buffers(
        pa.string(), 2, [pa.py_buffer(b"\x02"), pa.py_buffer(np.array([0, 3, 6], np.int32)), pa.py_buffer(b"dogcat")]
    )
    assert hidden.to_pylist() == [None, "cat"]
    assert Matcher(EXAMPLE).match(hidden).to_pylist() == [None, [4]]


def test_long_texts_and_many_entries() -> None:
    rng = random.Random(0)
    words = [f"w{i}" for i in range(3000)] + ["x" * i for i in range(1, 40)]
    entries = list(dict.fromkeys(words + [" ".join(rng.choices(words[:60], k=rng.randint(2, 5))) for _ in range(3000)]))
    common, lengths = words[:60] + words[-40:], [0, 1, 9, 16, 17, 400, 5000]
    texts = [" ".join(rng.choices(common, k=rng.choice(lengths))) for _ in range(60)]
    assert matches(entries, list(texts)) == [brute_force(entries, text) for text in texts]


def test_pickles_and_stays_the_same() -> None:
    matcher = pickle.loads(pickle.dumps(Matcher(EXAMPLE)))
    assert len(matcher) == 8
    assert matcher.match(pa.array(["A photo of a dog"])).to_pylist() == [[0, 1, 2, 3, 6]]


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="entry 'dog' stands twice, as 1 and 3"):
        Matcher(["cat", "dog", "a", "dog"])
    with pytest.raises(ValueError, match="'a b' stands twice, as 0 and 1"):
        Matcher(["a b", "a b"])
    with pytest.raises(TypeError, match="entry 1 is NoneType None, expected a string"):
        Matcher(["cat", None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="not valid Unicode"):
        Matcher(["\ud800"])
    with pytest.raises(TypeError, match="expected an Arrow array of strings, got int64"):
        Matcher(["a"]).match(pa.array([1]))
