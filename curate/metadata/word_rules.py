"""What a word is when entries are made from running text: the simple rule of MetaCLIP 2 (arXiv:2507.22062).

A Chinese, Thai, Lao, Burmese, Khmer or Tibetan character is a word of its own; any other run of characters between
white space and punctuation is one. Punctuation is no word, and words at its two sides are no pair. The published first
build, English only, took words and pairs from lists of another source whose rule is not published; this one serves for
all languages. Ours: a line end parts a pair, too, so that headings and list items are not joined to what follows.
"""

from __future__ import annotations

import string

import numpy as np

from curate.metadata.word_kernels import ALONE, BLANK, BREAK

#: Punctuation of the published rule: ASCII's, and these.
PUNCTUATION = string.punctuation + "，。、；：？¿！“”‘’（）【】《》〈〉「」『』～—"

#: Languages written without blanks between words; their pairs are joined without one.
UNSPACED = frozenset({"bo", "dz", "ja", "km", "lo", "my", "ryu", "th", "zh", "zh_classical", "zh_yue"})

#: First and last code point of scripts whose characters are words of their own.
_ALONE = (
    (0x0E00, 0x0E7F),  # Thai
    (0x0E80, 0x0EFF),  # Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals
    (0x2FF0, 0x2FFF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0x2CEB0, 0x2EBEF),
)

#: Between the words of a line that a tokenizer has cut: no word holds it.
SEPARATOR = "\x1f"


def kinds() -> np.ndarray:
    """uint8[code points]: what each character does, for `curate.metadata.word_kernels.scan`."""
    table = np.zeros(_ALONE[-1][1] + 1, np.uint8)
    for first, last in _ALONE:
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
