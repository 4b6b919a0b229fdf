"""Words of captions and of OCR, normalised alike, so that a caption that only repeats the text in its image shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

import polars as pl

_RUN = r"[\p{L}\p{M}\p{N}]+"
#: What the recogniser in rapidocr's wheel can spell (its list of characters); formulas make the Greek.
_READABLE = r"[\p{Latin}\p{Greek}\p{Han}\p{Hiragana}\p{Katakana}]"
#: Scripts in which one sign may be a word.
_SIGNS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_APOSTROPHES = "['’‘ʼ`´]"


def normalised(texts: pl.Series) -> pl.Series:
    """The words of each text: NFKC, lower case, apostrophes left out, then runs of letters, marks and numbers.

    So punctuation splits: `and/or` is two words. A script written without blanks gives whole phrases as words.

    >>> normalised(pl.Series(["A red STOP sign", "sign! (don't)", "..."])).to_list()
    [['a', 'red', 'stop', 'sign'], ['sign', 'dont'], []]
    """
    return texts.str.normalize("NFKC").str.to_lowercase().str.replace_all(_APOSTROPHES, "").str.extract_all(_RUN)


def co_embedded_rate(caption: Set[str], spotted: Iterable[str], fuzzy: bool = False, least: int = 1) -> float:
    """CoTR of Lin et al.: the share of the caption's distinct words that are written in the image; 0 without a caption.

    fuzzy: near words count as equal, see `near`. least: words of fewer letters stand in many an image by chance and
    count as not written there, see `says_something`.

    >>> co_embedded_rate({"a", "red", "stop", "sign"}, ["stop", "sign", "ahead", "stop"])
    0.5
    >>> co_embedded_rate({"a", "red", "stop", "sign"}, ["a", "stop"], least=3)
    0.25
    """
    seen = set(spotted)
    words = [word for word in caption if says_something(word, least)]
    written = sum(word in seen or (fuzzy and any(near(word, other) for other in seen)) for word in words)
    return written / len(caption) if caption else 0.0


def says_something(word: str, least: int) -> bool:
    """Whether a word has so many letters, or a sign of Chinese or Japanese, where one may be a word.

    >>> [says_something(word, 3) for word in ("of", "red", "10", "\u732b")]
    [False, True, False, True]
    """
    return len(word) >= least or bool(_SIGNS.search(word))


def readable(texts: pl.Series) -> pl.Series:
    """Whether half of the letters of each text, or more, are of scripts that the shipped recogniser reads.

    >>> readable(pl.Series(["a cat", "\uace0\uc591\uc774", "\u732b", "\uace0\uc591\uc774 TV cat", "7", ""])).to_list()
    [True, False, True, True, True, True]
    """
    return 2 * texts.str.count_matches(_READABLE) >= texts.str.count_matches(r"\p{L}")


def near(word: str, other: str) -> bool:
    """Levenshtein distance of at most 1 for a word of 4 to 7 characters, 2 for longer ones; shorter ones must be equal.

    The published threshold is not known to us; this one is ours.

    >>> near("stop", "st0p"), near("red", "rod"), near("mitochondria", "mitochondrlon"), near("cell", "cells")
    (True, False, False, True)
    """
    allowed = 0 if len(word) < 4 else 1 if len(word) < 8 else 2
    if abs(len(word) - len(other)) > allowed:
        return False
    return word == other or (allowed > 0 and distance(word, other, allowed) <= allowed)


def distance(word: str, other: str, at_most: int) -> int:
    """Levenshtein distance; some number above `at_most` where it is more.

    >>> distance("kitten", "sitting", at_most=5), distance("stop", "", at_most=9)
    (3, 4)
    """
    row = list(range(len(other) + 1))
    for i, letter in enumerate(word, start=1):
        diagonal, row[0] = row[0], i
        for j, against in enumerate(other, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (letter != against))
        if min(row) > at_most:
            return at_most + 1
    return row[-1]
