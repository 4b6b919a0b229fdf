"""Words and pairs of a text, against collections.Counter, with tables so small that everything is spilled."""

from __future__ import annotations

import string
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.metadata.word_counts import LONGEST, Runs, count_pairs, count_words
from curate.metadata.word_rules import PUNCTUATION, joined, kinds, tokenized_kinds

pytestmark = pytest.mark.slow

KINDS = kinds()


def spelled(text: str) -> list[list[str]]:
    """Runs of neighbouring words, in plain Python."""
    runs: list[list[str]] = [[]]
    word = ""
    for char in text + "\n":
        point = ord(char)
        alone = 0xE00 <= point < 0x1000 or 0x4E00 <= point <= 0x9FFF or 0x20000 <= point <= 0x2A6DF
        ends = char in PUNCTUATION or char in "\n\r"
        if not (alone or ends or char.isspace()):
            word += char
            continue
        if word:
            runs[-1].append(word)
            word = ""
        if alone:
            runs[-1].append(char)
        if ends:
            runs.append([])
    return runs


def counted(
    blocks: list[str], folder: Path, table: np.ndarray = KINDS, **sizes: int
) -> tuple[int, dict[str, int], dict[tuple[str, str], int], tuple[int, int]]:
    data = [block.encode() for block in blocks]
    words, pairs = Runs(folder / "words"), Runs(folder / "pairs")
    table_pairs, rows = sizes.pop("table_pairs", 1 << 10), sizes.pop("rows", 3)
    total = count_words(data, table, words, **sizes)
    known = pl.concat(
        [*words.merged(rows), pl.DataFrame(schema={"key": pl.UInt64, "word": pl.String, "count": pl.Int64})]
    )
    count_pairs(data, table, known["key"].to_numpy(), pairs, table_pairs)
    names = known["word"].to_list()
    neighbours = {
        (names[key >> 32], names[key & 0xFFFFFFFF]): count
        for part in pairs.merged(rows)
        for key, count in part.iter_rows()
    }
    return total, dict(zip(names, known["count"].to_list(), strict=True)), neighbours, (words.files, pairs.files)


LETTERS = st.sampled_from("ab Aß\u4e2d\u6587\u0e01\U00020000\U0001f600\u3000\u00a0,.\n\r-\u201c\u00ad")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(LETTERS, max_size=40), max_size=6), st.integers(1, 5), st.sampled_from([0, LONGEST]))
def test_spilled_counts_are_those_of_counter(texts: list[str], table_words: int, table_bytes: int) -> None:
    blocks = [text + "\n" for text in texts]
    runs = [run for text in texts for run in spelled(text)]
    with tempfile.TemporaryDirectory() as folder:
        total, words, pairs, _ = counted(blocks, Path(folder), table_words=table_words, table_bytes=table_bytes)
    assert words == Counter(word for run in runs for word in run)
    assert total == sum(words.values())
    assert pairs == Counter(pair for run in runs for pair in pairwise(run))


def test_all_is_spilled_and_added_up(tmp_path: Path) -> None:
    """300,000 words of 3,000 through tables of 500 words and 70,000 pairs."""
    rng = np.random.default_rng(7)
    numbers = np.minimum(rng.pareto(0.7, 300_000), 3000).astype(int).reshape(-1, 10)
    lines = [" ".join(f"w{n}" for n in row) for row in numbers]
    blocks = ["\n".join(lines[i : i + 5000]) + "\n" for i in range(0, len(lines), 5000)]
    total, words, pairs, (word_runs, pair_runs) = counted(
        blocks, tmp_path, table_words=500, table_pairs=70_000, rows=9000
    )
    assert total == 300_000
    assert words == Counter(word for line in lines for word in line.split())
    assert pairs == Counter(pair for line in lines for pair in pairwise(line.split()))
    assert word_runs > 10
    assert pair_runs > 3


def test_a_word_longer_than_any_is_none(tmp_path: Path) -> None:
    longest, longer = "x" * LONGEST, "y" * (LONGEST + 1)
    total, words, pairs, _ = counted([f"a {longest} b {longer} c\n"], tmp_path)
    assert (total, set(words)) == (4, {"a", longest, "b", "c"})
    assert set(pairs) == {("a", longest), (longest, "b")}


def test_only_known_words_make_pairs(tmp_path: Path) -> None:
    words, pairs = Runs(tmp_path / "w"), Runs(tmp_path / "p")
    count_words([b"a b c a b\n"], KINDS, words)
    (found,) = words.merged()
    known = found.filter(pl.col("word").is_in(["a", "c"]))
    count_pairs([b"a b c a b\n"], KINDS, known["key"].to_numpy(), pairs)
    (part,) = pairs.merged()
    names = known["word"].to_list()
    assert [(names[k >> 32], names[k & 0xFFFFFFFF], n) for k, n in part.iter_rows()] == [("c", "a", 1)]


def test_no_words_make_no_runs(tmp_path: Path) -> None:
    assert counted(["\n", " ,.\n"], tmp_path) == (0, {}, {}, (0, 0))


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("A red car, parked", [["A", "red", "car"], ["parked"]]),
        ("don't U.S. 3.5", [["don"], ["t", "U"], ["S"], ["3"], ["5"]]),
        ("北京 Olympic中心。好", [["北", "京", "Olympic", "中", "心"], ["好"]]),
        ("กา dog", [["ก", "า", "dog"]]),
        ("東京タワー", [["東", "京", "タワー"]]),
        ("one\u2028two\u3000three\tfour", [["one", "two", "three", "four"]]),
        ("Title\nText", [["Title"], ["Text"]]),
        ("naïve — Straße", [["naïve"], ["Straße"]]),
    ],
)
def test_what_a_word_is(tmp_path: Path, text: str, runs: list[list[str]]) -> None:
    _, words, pairs, _ = counted([text + "\n"], tmp_path)
    assert words == Counter(word for run in runs for word in run)
    assert pairs == Counter(pair for run in runs for pair in pairwise(run))


def test_words_of_a_tokenizer_stay_whole(tmp_path: Path) -> None:
    text = joined(["New York", " ", "is", ",", "(odd", "北京", "a.b"]) + "\n"
    _, words, pairs, _ = counted([text], tmp_path, tokenized_kinds())
    assert set(words) == {"New York", "is", "北京", "a.b"}
    assert set(pairs) == {("New York", "is"), ("北京", "a.b")}


def test_kinds_agree_with_python() -> None:
    for mark in string.punctuation + "\n":
        assert KINDS[ord(mark)] == 3
    assert KINDS[ord("\u200b")] == 0  # zero width space is no white space to Python either
    assert all((KINDS[p] == 1) == (chr(p).isspace() and chr(p) not in "\n\r") for p in range(len(KINDS)))
