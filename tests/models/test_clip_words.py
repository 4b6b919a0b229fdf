"""Ids of the fast tokenizer are those of open_clip's own, for every text there is."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.models.clip_words import ClipWords, clip_words
from curate.models.open_clip_import import open_clip
from curate.models.tokens import Tokens

pytestmark = pytest.mark.slow

torch = importlib.import_module("torch")

#: Where the two could differ: elisions, marks of the vocabulary, entities, blanks, control characters, scripts.
PIECES = (
    *("'s", "'S", "'ſ", "'LL", "’t", "'", "''re", "<start_of_text>", "<END_OF_TEXT>", "<", "end_of_text>", "</w>"),
    *("&amp;", "&amp;lt;end_of_text&gt;", "&", "&nbsp;", " ", "\t", "\r\n", "\x85", "\u2028", "\xa0", "\x1f", "\x00"),
    *(
        "\x1b[36m",
        "\x7f",
        "\ufeff",
        "caf\xe9",
        "cafe\u0301",
        "schÃ¶n",
        "ﬁ",
        "İ",
        "ß",
        "ẞ",
        "ǅ",
        "½",
        "Ⅷ",
        "٣",
        "१२",
        "x²",
    ),
    *(
        "北京",
        "か\u3099",
        "한국어",
        "हिन्दी",
        "\u200d",
        "👩\u200d🚀",
        "🏳️",
        "Ω",
        "\u0378",
        "\U0001fae8",
        "\ud7ff",
        "a",
        "B",
        "10",
        "!?",
    ),
)


@pytest.fixture(scope="module")
def theirs():
    return open_clip().get_tokenizer("ViT-B-32")


@pytest.fixture(scope="module")
def ours(theirs) -> ClipWords:
    words = clip_words(theirs)
    assert words is not None
    return words


@pytest.mark.parametrize(
    "text", [st.text(), st.lists(st.sampled_from(PIECES)).map("".join), st.text(st.characters(codec="ascii"))]
)
def test_the_same_ids_of_any_text(ours, theirs, text):
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(text, max_size=4))
    def same(captions):
        assert ours(captions) == [theirs.encode(caption) for caption in captions]

    same()


def test_the_same_ids_of_every_character(ours, theirs):
    """In the middle of a word, of a number and of signs: where classes of letters differ, so would the ids."""
    characters = [chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000]
    few = [
        *characters[:0x3400],
        *characters[0xA000:0xAC00:3],
        *characters[0xF000:0x11000:7],
        *characters[0x11000::2999],
    ]
    captions = [f"a{character}b 1{character}2 !{character}?" for character in few]
    assert [c for c, ids in zip(captions, ours(captions), strict=True) if ids != theirs.encode(c)] == []


@pytest.mark.skipif("CURATE_TEST_POOL" not in os.environ, reason="CURATE_TEST_POOL names no folder of real pairs")
@pytest.mark.parametrize(
    ("name", "column"),
    [("pool/pool.parquet", "caption"), ("web_captions.parquet", "TEXT"), ("captions_multilingual.parquet", "caption")],
)
def test_the_same_ids_of_real_captions(ours, theirs, name, column):
    path = Path(os.environ["CURATE_TEST_POOL"]).parent / name
    if not path.exists():
        pytest.skip(f"no {name} beside the pool")
    captions = pl.read_parquet(path)[column].drop_nulls().to_list()[-8000:]
    assert [c for c, ids in zip(captions, ours(captions), strict=True) if ids != theirs.encode(c)] == []


@pytest.mark.parametrize("words", [0, 1, 74, 75, 76, 400])
def test_rows_are_cut_as_open_clip_cuts_them(theirs, words):
    tokens, caption = Tokens(theirs), " ".join(["bus"] * words)
    assert torch.equal(tokens([caption, "a dog"]), theirs([caption, "a dog"]))
    [(row, longer)] = tokens.ready([caption])
    assert np.array_equal(row, theirs([caption])[0].numpy())
    assert longer == (words > 75) == (tokens.count(caption) > 77)


def test_no_captions_are_no_rows(theirs):
    assert Tokens(theirs)([]).shape == (0, 77)
    assert Tokens(theirs).ready([]) == []


@pytest.mark.parametrize(
    "options",
    [
        {"clean": "canonicalize"},
        {"clean": "whitespace"},
        {"additional_special_tokens": ["<x>"]},
        {"reduction_mask": "simple"},
    ],
)
def test_a_tokenizer_of_another_kind_is_left_to_itself(options):
    other = open_clip().tokenizer.SimpleTokenizer(**options)
    assert clip_words(other) is None
    captions = ["A red <x>, it's", "two dogs"]
    assert torch.equal(Tokens(other)(captions), other(captions))
