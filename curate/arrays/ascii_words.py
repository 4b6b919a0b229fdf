"""Words of ASCII texts by passes over their bytes, which take a fifth of the time that patterns do.

Texts of other characters are left to patterns: `in_two` sends each to where it belongs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa

from curate.arrays.string_buffers import string_buffers

#: What a byte is, each a bit, so that one look-up tells all.
_VISIBLE, _ALNUM, _DIGIT, _CAPITAL = 1, 2, 4, 8


def _kinds() -> np.ndarray:
    """uint8[256]; visible is what Python's str.split() does not split at."""
    kinds = np.full(256, _VISIBLE, np.uint8)
    kinds[list(b"\t\n\v\f\r\x1c\x1d\x1e\x1f ")] = 0
    kinds[ord("0") : ord("9") + 1] |= _ALNUM | _DIGIT
    kinds[ord("A") : ord("Z") + 1] |= _ALNUM | _CAPITAL
    kinds[ord("a") : ord("z") + 1] |= _ALNUM
    return kinds


_KINDS = _kinds()
_LOWER = np.where(_KINDS & _CAPITAL, np.arange(256) + 32, np.arange(256)).astype(np.uint8)

#: Bytes of a core that its code holds, and what is kept of eight bytes for a core of 0 to 8.
_CODED = 8
_KEPT = np.array([(1 << 8 * length) - 1 for length in range(_CODED + 1)], np.uint64)
#: In no code of ASCII bytes.
_NUMBERED = np.uint64(1 << 63)


def in_two(
    texts: pl.Series, of_ascii: Callable[[pl.Series], pl.DataFrame], of_others: Callable[[pl.Series], pl.DataFrame]
) -> pl.DataFrame:
    """What the one makes of ASCII texts and the other of all others, nulls among them, a row per text, in their
    order. Both make the same columns."""
    ascii_ones = (texts.str.len_bytes() == texts.str.len_chars()).fill_null(False)
    if ascii_ones.all():
        return of_ascii(texts)
    both = pl.concat([of_ascii(texts.filter(ascii_ones)), of_others(texts.filter(~ascii_ones))])
    rows = np.argsort(~ascii_ones.to_numpy(), kind="stable")
    place = np.empty(len(rows), np.int64)
    place[rows] = np.arange(len(rows))
    return both[place]


class AsciiWords:
    """Counts per text. A word is what str.split() gives; its core is the word from its first letter or number to its
    last, in lower case: a word of punctuation alone has none.

    >>> words = AsciiWords(pl.Series(["(Red) red, -", ""]))
    >>> words.words.tolist(), words.visible.tolist(), words.digits.tolist(), words.letters_and_digits.tolist()
    ([3, 0], [10, 0], [0, 0], [6, 0])
    >>> words.capitalised.tolist(), words.cores.tolist(), words.distinct_cores.to_list()
    ([1, 0], [2, 0], [1, 0])
    """

    def __init__(self, texts: pl.Series):
        """texts: of ASCII characters only, without nulls."""
        data, offsets, _ = string_buffers(texts.to_arrow(compat_level=pl.CompatLevel.oldest()))
        self._data, self._offsets = data[offsets[0] : offsets[-1]], offsets - offsets[0]
        some = self._offsets[:-1] < self._offsets[1:]
        #: The first and the last byte of every text that has one.
        self._edges = self._offsets[:-1][some], self._offsets[1:][some] - 1

    @cached_property
    def words(self) -> np.ndarray:
        """int32[n]."""
        return _per_text(self._words_before, self._offsets)

    @cached_property
    def visible(self) -> np.ndarray:
        """int32[n]: characters that are not blanks."""
        return self._count(_VISIBLE)

    @cached_property
    def digits(self) -> np.ndarray:
        """int32[n]."""
        return self._count(_DIGIT)

    @cached_property
    def letters_and_digits(self) -> np.ndarray:
        """int32[n]."""
        return self._count(_ALNUM)

    @cached_property
    def capitalised(self) -> np.ndarray:
        """int32[n]: words whose first letter or number is a capital."""
        first, _ = self._cores
        before = _before(self._kinds[first] & _CAPITAL != 0)
        return _per_text(before, self._cores_before)

    @cached_property
    def cores(self) -> np.ndarray:
        """int64[n]: words that have one."""
        return np.diff(self._cores_before)

    @cached_property
    def distinct_cores(self) -> pl.Series:
        """uint32[n]."""
        codes = pa.LargeListArray.from_arrays(pa.array(self._cores_before), pa.array(self._codes()))
        return pl.Series(codes).list.n_unique()

    def _codes(self) -> np.ndarray:
        """uint64 per core, equal where cores are: their bytes, or the number of a longer one among all of those."""
        begins, ends = self._cores
        lower = np.append(_LOWER.take(self._data), np.zeros(_CODED, np.uint8))
        eight = np.ndarray((len(self._data) + 1,), "<u8", lower, strides=(1,))  # those at each place
        codes: np.ndarray = eight[begins] & _KEPT[np.minimum(ends - begins, _CODED)]
        long = np.flatnonzero(ends - begins > _CODED)
        codes[long] = _NUMBERED | _numbers(lower, begins[long], ends[long])
        return codes

    @cached_property
    def _kinds(self) -> np.ndarray:
        kinds: np.ndarray = _KINDS.take(self._data)
        return kinds

    def _is(self, kind: int) -> np.ndarray:
        marked: np.ndarray = np.not_equal(self._kinds & kind, 0)
        return marked

    @cached_property
    def _words_before(self) -> np.ndarray:
        """int32[bytes + 1]: words that begin before a byte."""
        return _before(self._begins(self._is(_VISIBLE)))

    @cached_property
    def _cores(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each core begins and ends: with the first and the last run of letters and numbers of its word."""
        alnum = self._is(_ALNUM)
        first, end = np.flatnonzero(self._begins(alnum)), np.flatnonzero(self._ends(alnum)) + 1
        word = self._words_before[first + 1]
        other = word[1:] != word[:-1]
        opens, closes = np.ones(len(first), bool), np.ones(len(first), bool)
        opens[1:], closes[:-1] = other, other
        return first[opens], end[closes]

    @cached_property
    def _cores_before(self) -> np.ndarray:
        """int64[n + 1]: cores before each text, and in all."""
        before: np.ndarray = np.searchsorted(self._cores[0], self._offsets)
        return before

    def _count(self, kind: int) -> np.ndarray:
        return _per_text(_before(self._is(kind)), self._offsets)

    def _begins(self, marked: np.ndarray) -> np.ndarray:
        """bool[bytes]: where a run of marked bytes of one text begins."""
        begins: np.ndarray = marked.copy()
        edge, _ = self._edges
        begins[1:] &= ~marked[:-1]
        begins[edge] = marked[edge]
        return begins

    def _ends(self, marked: np.ndarray) -> np.ndarray:
        """bool[bytes]: where its last byte is."""
        ends: np.ndarray = marked.copy()
        _, edge = self._edges
        ends[:-1] &= ~marked[1:]
        ends[edge] = marked[edge]
        return ends


def _before(marked: np.ndarray) -> np.ndarray:
    """int32[n + 1]: how many are marked before each place, and in all."""
    count: np.ndarray = np.zeros(len(marked) + 1, np.int32)
    np.cumsum(marked, out=count[1:], dtype=np.int32)
    return count


def _per_text(before: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    counts: np.ndarray = np.diff(before[offsets])
    return counts


def _numbers(data: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """uint64 per text `data[begin:end]`, equal where those are. Texts in their order, none over another."""
    # Arrow's strings follow each other: a text, what is between, the next text.
    bounds = np.append(np.stack([begins, ends], axis=1).ravel(), len(data))
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    strings = pa.Array.from_buffers(pa.large_string(), 2 * len(begins), buffers)
    texts = strings.take(pa.array(np.arange(0, 2 * len(begins), 2)))
    numbers: np.ndarray = texts.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.uint64)
    return numbers
