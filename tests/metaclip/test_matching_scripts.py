"""Matching without blanks between words, against the published rule written out in Python."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.metaclip.matching import Matcher, unmatchable_ids
from curate.metaclip.scripts import ScriptMatcher

pytestmark = pytest.mark.slow

MARKS = ",.;:?!`"
#: Of the characters used here, those that need no blank at an entry's end.
OPEN = set("日本犬小の㐀ก་ក。()'\\]^-\"" + MARKS)


def prep(text: str) -> str:
    spaced = f" {text} "
    for mark in MARKS:
        spaced = spaced.replace(mark, f" {mark} ")
    return spaced.replace("\t", " ").replace("\n", " ").replace("\r", " ")


def brute_force(entries: list[str], text: str | None) -> list[int] | None:
    if text is None:
        return None
    keys = [f"{'' if e[:1] in OPEN and e else ' '}{e}{'' if e[-1:] in OPEN and e else ' '}" for e in entries]
    return [i for i, key in enumerate(keys) if key in prep(text)]


def matches(entries: list[str], texts: list[str | None]) -> list[list[int] | None]:
    return ScriptMatcher(entries).match(pa.array(texts, pa.string())).to_pylist()


pieces = st.sampled_from(
    [*"日本犬の㐀ก་ក。()'\\]^-\"", *"abAé한", *" " * 8, *MARKS, "\t", "\n", "atokenofmorethan16bytes", "\x00"]
)
strings = st.lists(pieces, max_size=8).map("".join)


@settings(deadline=None, max_examples=500)
@given(st.lists(strings, unique=True, max_size=25), st.lists(st.none() | strings, max_size=8))
def test_equals_substring_search(entries: list[str], texts: list[str | None]) -> None:
    assert matches(entries, texts) == [brute_force(entries, text) for text in texts]


@settings(deadline=None, max_examples=300)
@given(st.lists(strings, min_size=1, max_size=8), st.data())
def test_entries_cut_from_the_text_itself(texts: list[str], data: st.DataObject) -> None:
    spaced = prep(data.draw(st.sampled_from(texts)))
    cuts = st.tuples(st.integers(0, len(spaced)), st.integers(0, len(spaced))).map(lambda c: spaced[min(c) : max(c)])
    entries = list(dict.fromkeys(data.draw(st.lists(cuts, max_size=12))))
    assert matches(entries, list(texts)) == [brute_force(entries, text) for text in texts]


def test_words_of_several_scripts() -> None:
    entries = ["犬", "小犬", "dog", "T恤", "(2)", "ไทย", "りんご", "한국", "c++"]
    texts = [
        "小犬dog",
        "犬 dog",
        "红 T恤衫",
        "红T恤",
        "party(2)b",
        "ภาษาไทยง่าย",
        "あかいりんご！",
        "한국어 한국",
        "c++ and Xc++",
    ]
    assert matches(entries, list(texts)) == [[0, 1], [0, 2], [3], [], [4], [5], [6], [7], [8]]
    # The first MetaCLIP's rule finds only what stands between blanks.
    assert Matcher(entries).match(pa.array(texts)).to_pylist() == [[], [0, 2], [], [], [], [], [], [7], [8]]


@pytest.mark.parametrize(
    "character", ["⺀", "〇", "゠", "ヿ", "㐀", "䶿", "一", "鿿", "豈", "ｶ", "ༀ", "ຯ", "႟", "៿", "𠀀", "𮯠", "！", "—"]
)
def test_edges_of_the_scripts_need_no_blank(character: str) -> None:
    assert matches([character], [f"a{character}b"]) == [[0]]


@pytest.mark.parametrize("character", ["가", "ა", "अ", "Ж", "ß", "·", "⹿", "ꀀ", "𮯱", "Ａ"])
def test_other_scripts_need_blanks(character: str) -> None:
    assert matches([character], [f"a{character}b", f"a {character} b"]) == [[], [0]]


def test_blanks_and_nothing() -> None:
    entries = ["", " ", "日 ", " 日", "日  本", "日 本"]
    texts = ["", "日", "日 ", " 日", "日  日", "日  本", "日 本", None]
    assert matches(entries, list(texts)) == [brute_force(entries, text) for text in texts]
    assert matches([], ["a", None]) == [[], None]
    assert matches(["日"], []) == []
    assert ScriptMatcher(["日"]).match(pa.chunked_array([["日"], [], [None, "a日"]], pa.string())).to_pylist() == [
        [0], None, [0],
    ]  # fmt: skip


def test_unmatchable_entries() -> None:
    matcher = ScriptMatcher(["日.本", "日", "U.S.", "。"])
    assert unmatchable_ids(["日.本", "日", "U.S.", "。"]).tolist() == [0, 2]
    assert matcher.match(pa.array(["日.本 U.S.。"])).to_pylist() == [[1, 3]]


def test_slices_and_pickles() -> None:
    matcher = pickle.loads(pickle.dumps(ScriptMatcher(["犬", "dog"])))
    texts = pa.array([None, "小犬 dog", "dog", None, "犬犬"])
    for start in range(5):
        assert matcher.match(texts.slice(start)).to_pylist() == [None, [0, 1], [1], None, [0]][start:]
    matcher.match(texts.slice(1)).validate(full=True)


def test_repeats_are_named() -> None:
    with pytest.raises(ValueError, match="entry '犬' stands twice, as 1 and 3"):
        ScriptMatcher(["dog", "犬", "cat", "犬"])
    with pytest.raises(ValueError, match="entry 'dog' stands twice, as 0 and 2"):
        ScriptMatcher(["dog", "犬", "dog"])
