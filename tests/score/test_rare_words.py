"""score.rare_words and score.listed_tokens: words that no list has, by wordfreq and by the pool."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pyarrow as pa
import pytest
from by_hand import learned, made, rows_with
from conftest import HERE, MakeStore, column

from curate.annotate.step import annotate
from curate.catalog import load

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("text", "rare"),
    [
        ("a dog and a cat", 0),
        ("a zorblax", 1),
        ("Zorblax\u2019s ZORBLAX", 2),
        ("the dog\u2019s 1234 don\u2019t", 0),
        ("x-ray of a qwfpgj_qwfpgk", 2),
        ("\u0441\u043e\u0431\u0430\u043a\u0430", 1),
        ("", 0),
        ("123 ...", 0),
    ],
)
def test_rare_words(text: str, rare: int) -> None:
    op = load("score.rare_words")
    op.setup()
    assert list(op.apply({"text": [text, "dog"]})["rare_words"]) == [rare, 0]


TEXTS = ["a dog", "a dog", "a cat", "the zebra", ""]


@pytest.mark.parametrize(
    ("size", "listed"),
    [
        # a 3, dog 2, "a dog" 2, then cat, the, zebra, "a cat", "the zebra" once each.
        (1, [False, False, False, False, True]),
        (2, [False, False, False, False, True]),
        (3, [True, True, False, False, True]),
        (7, [True, True, False, False, True]),
        (8, [True] * 5),
    ],
)
def test_a_list_of_words_and_pairs(size: int, listed: list[bool]) -> None:
    for parts in (1, 3):
        op = load({"score.listed_tokens": {"size": size, "parts": parts}})
        assert made(op, {"text": pa.array(TEXTS)})["tokens_listed"] == listed


def test_a_list_that_holds_all_says_so() -> None:
    op = load("score.listed_tokens")
    report = op.report(learned(op, [rows_with(op, {"text": pa.array(TEXTS)})]), {})
    assert report["words"] == 5 and report["words_and_pairs"] == 8
    assert [entry["rows"] for entry in report["remarks"].values()] == [8]


def test_against_counters_on_random_rows(make_store: MakeStore) -> None:
    draw = random.Random(5)
    texts = [" ".join(f"w{int(draw.expovariate(0.2))}" for _ in range(draw.randint(0, 8))) for _ in range(500)]
    counts: Counter[str] = Counter()
    for text in texts:
        words = text.split()
        counts.update(words)
        counts.update(f"{a} {b}" for a, b in itertools.pairwise(words))
    held, least = 0, 1
    for count, number in sorted(Counter(counts.values()).items(), reverse=True):
        if held + number > 40:
            least = count + 1
            break
        held += number
    expected = [all(counts[word] >= least for word in text.split()) for text in texts]
    assert 50 < sum(expected) < 450
    for per_shard, parts in ((37, 1), (500, 4)):
        op = load({"score.listed_tokens": {"size": 40, "parts": parts}})
        assert (
            column(annotate(make_store([{"text": t} for t in texts], per_shard), [op], HERE), "tokens_listed")
            == expected
        )
