"""score.word_frequency and score.text_entropy: what the words of the pool say of a caption."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from by_hand import made
from conftest import HERE, MakeStore, column

from curate.annotate.step import annotate
from curate.catalog import load
from curate.errors import CurateError

pytestmark = pytest.mark.slow

TOY = ["a dog on a lawn", "a cat on a mat", "a zebra", "the lawn", "a dog"]


def frequencies(texts: list[str], **options: Any) -> list[float]:
    return made(load({"score.word_frequency": options}), {"text": pa.array(texts)})["word_frequency"]


def test_the_toy_end_to_end() -> None:
    scores = frequencies(TOY, t=0.02, min_count=1)
    assert scores == pytest.approx([0.174449, 0.186612, 0.332993, 0.369706, 0.269282], abs=1e-6)
    order = [TOY[i] for i in sorted(range(5), key=lambda i: -scores[i])]
    assert order == ["the lawn", "a zebra", "a dog", "a cat on a mat", "a dog on a lawn"]


def test_rare_and_unknown_words_add_nothing() -> None:
    # a: 6 of 6; the others stand fewer than 3 times. t above f makes P negative, which counts as 1.
    assert frequencies(TOY, t=0.02, min_count=3)[3] == 0
    assert frequencies(TOY, t=2, min_count=1) == [0.0] * 5
    assert frequencies(["", "a"], t=0.25, min_count=1) == [0.0, 0.5]


def test_of_thirty_pieces_and_without_the_division() -> None:
    texts = ["x " * 40, "y y"]
    p = {w: 1 - math.sqrt(0.01 / f) for w, f in (("x", 30 / 32), ("y", 2 / 32))}
    assert frequencies(texts, t=0.01, min_count=1) == pytest.approx([(1 - p["x"] ** 30) / 30, (1 - p["y"] ** 2) / 2])
    plain = frequencies(texts, t=0.01, min_count=1, normalise=False, words=2)
    # Two pieces of each now: f is one half.
    assert plain == pytest.approx([1 - (1 - math.sqrt(0.02)) ** 2] * 2)


def test_entropy_of_a_small_corpus() -> None:
    corpus = ["the dog ran the cat", "sat the end"]
    texts = {"text": pa.array([*corpus])}
    op = load("score.text_entropy")
    p = {word: count / 8 for word, count in Counter(" ".join(corpus).split()).items()}
    expected = [sum(-p[w] * math.log(p[w]) for w in text.split()) for text in corpus]
    assert made(op, texts)["text_entropy"] == pytest.approx(expected)
    one = {"text": pa.array(["The dog", "ran the", "cat", "sat the end", ""])}
    assert made(op, one)["text_entropy"] == pytest.approx([0.627741, 0.627741, 0.259930, 0.887671, 0], abs=1e-6)
    two = made(load({"score.text_entropy": {"base": "2"}}), one)["text_entropy"]
    assert two[2] == pytest.approx(0.375)
    with pytest.raises(CurateError, match="base"):
        load({"score.text_entropy": {"base": "3"}})


def test_against_counters_on_random_rows(make_store: MakeStore) -> None:
    draw = random.Random(9)
    words = ["a", "the", "red", "dog", "Dog", "house", "x", "y", "z"]
    texts = [" ".join(draw.choices(words, weights=range(9, 0, -1), k=draw.randint(0, 9))) for _ in range(500)]
    counts = Counter(word.lower() for text in texts for word in text.split())
    known = {word: n for word, n in counts.items() if n >= 120}
    assert 0 < len(known) < len(counts)
    share = {word: n / sum(known.values()) for word, n in known.items()}
    ops = [load({"score.word_frequency": {"t": 0.01, "min_count": 120}}), load("score.text_entropy")]
    views = [annotate(make_store([{"text": t} for t in texts], per), ops, HERE) for per in (41, 500)]
    scores, entropies = (column(views[0], name) for name in ("word_frequency", "text_entropy"))
    assert scores == column(views[1], "word_frequency") and entropies == column(views[1], "text_entropy")
    for text, score, entropy in zip(texts, scores, entropies, strict=True):
        of = [word.lower() for word in text.split()]
        product = math.prod(1 - math.sqrt(0.01 / share[word]) if word in share else 1 for word in of)
        assert score == pytest.approx((1 - product) / len(of) if of else 0, abs=1e-6)
        p = [counts[word] / counts.total() for word in of]
        assert entropy == pytest.approx(sum(-x * math.log(x) for x in p), abs=1e-5)
