"""Words of ASCII texts by passes over their bytes, which take a tenth of the time that patterns do.

Texts of other characters are left to patterns: `in_two` sends each to where it belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.arrays.string_buffers import string_array, string_buffers

#: Bytes that are looked at together: arrays of so many stay in the processor's cache, and in the memory of the process.
TOGETHER = 1 << 18

#: Bytes of a core that its code holds, and what is kept of eight bytes for a core of 0 to 8.
_CODED = 8
_KEPT = np.array([(1 << 8 * length) - 1 for length in range(_CODED + 1)], np.uint64)
#: In no code of ASCII bytes.
_NUMBERED = np.uint64(1 << 63)

#: How many bits of a byte are set.
_SET = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
#: The first 0 to 7 bits of a byte.
_FIRST = np.array([(1 << bits) - 1 for bits in range(8)], np.uint8)


def in_two(
    texts: pa.Array,
    of_ascii: Callable[[pa.Array], Mapping[str, Any]],
    of_others: Callable[[pl.Series], Mapping[str, pl.Series]],
) -> pl.DataFrame:
    """What the one makes of ASCII texts and the other of all others, nulls among them, a row per text, in their
    order. Both make the same columns.

    of_ascii: gets all texts, an empty one in place of each other; what it makes of that is not used.
    """
    texts = string_array(texts)
    other = AsciiWords(texts).beyond | texts.is_null().to_numpy(zero_copy_only=False)
    if not other.any():
        return pl.DataFrame(of_ascii(texts))
    rows = np.flatnonzero(other)
    columns = pl.DataFrame(of_ascii(pc.if_else(pa.array(other), pa.scalar("", texts.type), texts)))
    others = of_others(pl.Series(texts.take(pa.array(rows)), dtype=pl.String))
    return columns.with_columns(columns[name].scatter(rows, one) for name, one in others.items())


def by_bytes(texts: pa.Array, *names: str) -> dict[str, np.ndarray]:
    """Properties of AsciiWords, of some texts after others, end to end. texts: string or large_string."""
    _, offsets, _ = string_buffers(texts)
    ends = np.searchsorted(offsets, np.arange(offsets[0] + TOGETHER, offsets[-1], TOGETHER))
    columns: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for first, end in pairwise([0, *np.unique(ends).tolist(), len(texts)]):
        words = AsciiWords(texts.slice(first, end - first))
        for name, parts in columns.items():
            parts.append(getattr(words, name))
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def distinct(codes: np.ndarray, counts: np.ndarray) -> pl.Series:
    """uint32[n]: how many codes differ, of each text. codes: of all texts. counts: how many each has."""
    bounds = np.append(0, np.cumsum(counts, dtype=np.int64))
    return pl.Series(pa.LargeListArray.from_arrays(pa.array(bounds), pa.array(codes))).list.n_unique()


def with_bytes(texts: pa.Array, data: np.ndarray) -> pl.Series:
    """Texts of the same lengths. data: uint8, those of all."""
    _, offsets, _ = string_buffers(texts)
    buffers = [None, pa.py_buffer(offsets - offsets[0]), pa.py_buffer(data)]
    return pl.Series(pa.Array.from_buffers(pa.large_string(), len(texts), buffers))


class AsciiWords:
    """Counts per text. A word is what str.split() gives; its core is the word from its first letter or number to its
    last, in lower case: a word of punctuation alone has none.

    >>> words = AsciiWords(pa.array(["(Red) red, -", ""]))
    >>> words.words.tolist(), words.visible.tolist(), words.digits.tolist(), words.letters_and_digits.tolist()
    ([3, 0], [10, 0], [0, 0], [6, 0])
    >>> words.capitalised.tolist(), words.cores.tolist(), len(set(words.codes.tolist())), bytes(words.lower)
    ([1, 0], [2, 0], 1, b'(red) red, -')
    """

    def __init__(self, texts: pa.Array):
        """texts: string or large_string. Of one that is not ASCII all but `beyond` says nothing."""
        data, offsets, _ = string_buffers(texts)
        self._data, self._offsets = data[offsets[0] : offsets[-1]], offsets - offsets[0]
        some = self._offsets[:-1] < self._offsets[1:]
        #: The first and the last byte of every text that has one.
        self._edges = self._offsets[:-1][some], self._offsets[1:][some] - 1

    @cached_property
    def beyond(self) -> np.ndarray:
        """bool[n]: which are not ASCII."""
        beyond = self._data > 127
        return self._per_text(beyond) > 0 if beyond.any() else np.zeros(len(self._offsets) - 1, bool)

    @cached_property
    def characters(self) -> np.ndarray:
        """int64[n]."""
        return np.diff(self._offsets)

    @cached_property
    def lower(self) -> np.ndarray:
        """uint8[bytes]: all in lower case."""
        lower: np.ndarray = self._data + ~_beyond(self._data, "A", "Z") * np.uint8(32)
        return lower

    @cached_property
    def words(self) -> np.ndarray:
        """int32[n]."""
        return self._per_text(self._begins(self._visible))

    @cached_property
    def visible(self) -> np.ndarray:
        """int32[n]: characters that are not blanks."""
        return self._per_text(self._visible)

    @cached_property
    def digits(self) -> np.ndarray:
        """int32[n]."""
        return self._per_text(self._digit)

    @cached_property
    def letters_and_digits(self) -> np.ndarray:
        """int32[n]."""
        return self._per_text(self._alnum)

    @cached_property
    def capitalised(self) -> np.ndarray:
        """int32[n]: words whose first letter or number is a capital."""
        return self._per_text(self._core_begins & (self.lower != self._data))

    @cached_property
    def cores(self) -> np.ndarray:
        """int32[n]: words that have one."""
        return self._per_text(self._core_begins)

    @cached_property
    def codes(self) -> np.ndarray:
        """uint64 per core, equal where cores are: their bytes, or the number of a longer one among all of those."""
        begins, ends = np.flatnonzero(self._core_begins), np.flatnonzero(self._ends(self._core)) + 1
        lower = np.append(self.lower, np.zeros(_CODED, np.uint8))
        eight = np.ndarray((len(self._data) + 1,), "<u8", lower, strides=(1,))  # those at each place
        length = ends - begins
        codes: np.ndarray = eight[begins] & _KEPT[np.minimum(length, _CODED)]
        long = np.flatnonzero(length > _CODED)
        codes[long] = _NUMBERED | _numbers(lower, begins[long], ends[long])
        return codes

    # What each byte is, as bool[bytes]. Numbers below zero are above all others: they have no sign.

    @cached_property
    def _visible(self) -> np.ndarray:
        """What Python's str.split() does not split at."""
        visible: np.ndarray = _beyond(self._data, "\t", "\r") & _beyond(self._data, "\x1c", " ")
        return visible

    @cached_property
    def _digit(self) -> np.ndarray:
        return ~_beyond(self._data, "0", "9")

    @cached_property
    def _alnum(self) -> np.ndarray:
        alnum: np.ndarray = self._digit | ~_beyond(self.lower, "a", "z")
        return alnum

    @cached_property
    def _core(self) -> np.ndarray:
        """Letters, numbers, and what is between two of a word."""
        signs = self._visible & ~self._alnum
        first, last = np.flatnonzero(self._begins(signs)), np.flatnonzero(self._ends(signs))
        # A run of signs at an edge of its text has none of that text beyond.
        edge = np.zeros(len(self._data) + 1, bool)
        edge[self._edges[0]] = edge[self._edges[1] + 1] = True
        alnum = np.append(self._alnum, False)
        within = ~edge[first] & ~edge[last + 1] & alnum[first - 1] & alnum[last + 1]
        core: np.ndarray = self._alnum.copy()
        first, last = first[within], last[within]
        core[first] = True
        long = np.flatnonzero(last > first)
        for begin, end in zip(first[long].tolist(), last[long].tolist(), strict=True):
            core[begin : end + 1] = True
        return core

    @cached_property
    def _core_begins(self) -> np.ndarray:
        return self._begins(self._core)

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

    def _per_text(self, marked: np.ndarray) -> np.ndarray:
        """int32[n]: how many bytes of each text are marked."""
        bits = np.append(np.packbits(marked, bitorder="little"), np.uint8(0))
        before = np.zeros(len(bits), np.int32)
        np.cumsum(_SET[bits[:-1]], out=before[1:], dtype=np.int32)
        byte, bit = self._offsets >> 3, self._offsets & 7
        counts: np.ndarray = np.diff(before[byte] + _SET[bits[byte] & _FIRST[bit]])
        return counts


def _beyond(data: np.ndarray, first: str, last: str) -> np.ndarray:
    """bool[bytes]: which are not from the one character to the other."""
    beyond: np.ndarray = data - np.uint8(ord(first)) > np.uint8(ord(last) - ord(first))
    return beyond


def _numbers(data: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """uint64 per text `data[begin:end]`, equal where those are. Texts in their order, none over another."""
    # Arrow's strings follow each other: a text, what is between, the next text.
    bounds = np.append(np.stack([begins, ends], axis=1).ravel(), len(data))
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    strings = pa.Array.from_buffers(pa.large_string(), 2 * len(begins), buffers)
    texts = strings.take(pa.array(np.arange(0, 2 * len(begins), 2)))
    numbers: np.ndarray = texts.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.uint64)
    return numbers
