"""What a word is when entries are made from running text: the simple rule of MetaCLIP 2 (arXiv:2507.22062).

A Chinese, Thai, Lao, Burmese, Khmer or Tibetan character is a word of its own; any other run of characters between
white space and punctuation is one. Punctuation is no word, and words at its two sides are no pair. The published first
build, English only, took words and pairs from lists of another source whose rule is not published; this one serves for
all languages. Ours: a line end parts a pair, too, so that headings and list items are not joined to what follows.
"""

from __future__ import annotations

import string

import numpy as np

from curate.metaclip.scripts import FULL_WIDTH
from curate.metaclip.unspaced import RANGES
from curate.metadata.word_kernels import ALONE, BLANK, BREAK

#: Punctuation of the published rule: ASCII's, and these.
PUNCTUATION = string.punctuation + FULL_WIDTH + "¿"

#: Languages written without blanks between words; their pairs are joined without one.
UNSPACED = frozenset({"bo", "dz", "ja", "km", "lo", "my", "ryu", "th", "zh", "zh_classical", "zh_yue"})

#: Between the words of a line that a tokenizer has cut: no word holds it.
SEPARATOR = "\x1f"


def kinds() -> np.ndarray:
    """uint8[code points]: what each character does, for `curate.metadata.word_kernels.scan`."""
    table = np.zeros(RANGES[-1][1] + 1, np.uint8)
    for first, last in RANGES:
        table[first : last + 1] = ALONE
    for point in range(len(table)):
        if chr(point).isspace():
            table[point] = BLANK
    table[[ord(mark) for mark in PUNCTUATION + "\n\r"]] = BREAK
    return table


def tokenized_kinds() -> np.ndarray:
    """The same for text that a tokenizer has cut: SEPARATOR stands between words, a line end where pairs end."""
    table = np.zeros(128, np.uint8)
    table[ord(SEPARATOR)], table[ord("\n")] = BLANK, BREAK
    return table


def joined(words: list[str]) -> str:
    """A line's words as text that `tokenized_kinds` cuts again; what begins with punctuation only parts pairs.

    >>> joined(["red", "car", ",", "blue"])
    'red\\x1fcar\\x1f\\n\\x1fblue'
    """
    parts = [word.strip().replace(SEPARATOR, "").replace("\n", " ") for word in words]
    return SEPARATOR.join("\n" if part[0] in PUNCTUATION else part for part in parts if part)
