"""Which entries of a word list stand in each caption: MetaCLIP's substring matching, exact and compiled.

The published rule (Xu et al. 2023, "Demystifying CLIP Data", arXiv:2309.16671): put blanks round the text and round
each of `, . ; : ? !` and the back-tick, turn tab, LF and CR into blanks; an entry matches when " entry " is a
substring, capitals counting; a caption has the set of its entries. Only these seven marks are cut off: "(2)",
"party-event" and "johnny_cash" stay whole, "St. Louis" can never match, and two blanks in a row break an entry of
several words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.arrays.string_buffers import string_array, string_buffers

SPARE_BYTES = 32  # the kernels load eight bytes at a time
MOST_VALUES = 2**31 - 1  # a ListArray has int32 offsets

_MARK = "[,.;:?!`]"
_ILLEGAL = rf"[\t\n\r]|{_MARK}[^ ]|[^ ]{_MARK}|{_MARK} {_MARK}"


class Matcher:
    """A word list made ready to be matched against any number of captions.

    It holds four numpy arrays and little else, so it pickles and goes through Ray's object store without a copy.
    500,000 entries build in about a second and take about 50 MB.

    >>> matcher = Matcher(["red", "car", "red car", "St. Louis"])
    >>> matcher.match(pa.array(["a red car, parked", "red-car", None])).to_pylist()
    [[0, 1, 2], [], None]
    """

    def __init__(self, entries: Sequence[str]) -> None:
        """`entries[i]` gets id i. Raises ValueError for a repeated entry, TypeError for one that is not a string."""
        from curate.metaclip import kernels

        array = _entry_array(entries)
        data, offsets = _entry_bytes(array)
        legal = _legal(array)
        tokens = pl.Series(array).filter(pl.Series(legal)).str.split(" ").explode()
        distinct, paths = tokens.n_unique(), len(tokens) - int(legal.sum())
        self._count = len(entries)
        self._pool = data
        self._tokens = _table(distinct, 4)
        self._edges = _table(paths, 2)
        self._filters = np.zeros(max(64, len(self._edges) // 4), np.uint64)
        self._deepest, first, second = kernels.build(
            data, offsets, legal, self._tokens, self._tokens, self._edges, self._filters
        )
        if second >= 0:
            raise ValueError(
                f"entry {entries[second]!r} stands twice, as {first} and {second}; curate.metadata.load drops repeats"
            )
        self._freeze()

    def __len__(self) -> int:
        return self._count

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._freeze()

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        return sum(array.nbytes for array in self._arrays())

    def match(self, texts: pa.Array | pa.ChunkedArray) -> pa.ListArray:
        """The sorted ids of the entries in each text, as list<uint32>; a null text gives a null list.

        Takes string, large_string, and what casts to them (dictionaries, views); slices and chunks are fine. Raises
        TypeError for other types, OverflowError above 2^31 matches in one call.
        """
        from curate.metaclip import kernels

        if isinstance(texts, pa.ChunkedArray):
            parts = [self.match(chunk) for chunk in texts.chunks]
            return pa.concat_arrays(parts) if parts else pa.array([], pa.list_(pa.uint32()))
        texts = string_array(texts)
        data, offsets, valid = string_buffers(texts)
        ends, values = np.empty(len(texts) + 1, np.int64), np.empty(max(1024, 4 * len(texts)), np.uint32)
        values = kernels.match(
            data, offsets, valid, texts.offset, self._tokens, self._edges, self._filters, self._pool, self._deepest,
            *kernels.scratch(int(np.diff(offsets).max(initial=0))), ends, values,
        )  # fmt: skip
        count = int(ends[-1])
        if count > MOST_VALUES:
            raise OverflowError(f"{count:,} matches in one call, at most {MOST_VALUES:,}: pass smaller batches")
        bounds = pa.array(ends.astype(np.int32))
        mask = texts.is_null() if texts.null_count else None
        return pa.ListArray.from_arrays(bounds, pa.array(values[:count].copy()), mask=mask)

    def _freeze(self) -> None:
        """Read-only always: arrays from Ray's store are, and one numba type means one compilation."""
        for array in self._arrays():
            array.setflags(write=False)

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self._pool, self._tokens, self._edges, self._filters


def unmatchable_ids(entries: Sequence[str]) -> np.ndarray:
    """Sorted uint32 ids of the entries that no text can match; repeats are allowed here.

    >>> unmatchable_ids(["Louis", "St. Louis", "U.S.", ".", ", ."]).tolist()
    [1, 2, 4]
    """
    return np.flatnonzero(~_legal(_entry_array(entries))).astype(np.uint32)


def _legal(entries: pa.Array) -> np.ndarray:
    """bool[n]: the entries that some text can match: whose key " entry " can occur in a spaced text at all.

    Not with a tab, LF or CR; not with one of the seven marks glued to a neighbour; not with two marks one blank apart
    (spacing leaves two blanks there). Everything else is reached by writing the entry without the blanks that spacing
    adds around its marks.
    """
    legal: np.ndarray = (~pl.Series(entries).str.contains(_ILLEGAL)).to_numpy()
    return legal


def _entry_array(entries: Sequence[str]) -> pa.Array:
    for i, entry in enumerate(entries):
        if not isinstance(entry, str):
            raise TypeError(f"entry {i} is {type(entry).__name__} {entry!r}, expected a string")
    try:
        return pa.array(entries, pa.large_string())
    except UnicodeEncodeError as error:
        raise ValueError(f"an entry is not valid Unicode: {error}") from None


def _entry_bytes(entries: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """UTF-8 of all entries end to end, with spare bytes after them, and int64 offsets[n+1]."""
    data, offsets, _ = string_buffers(entries)
    padded = np.zeros(len(data) + SPARE_BYTES, np.uint8)
    padded[: len(data)] = data
    padded.setflags(write=False)
    return padded, offsets


def _table(keys: int, words: int) -> np.ndarray:
    """A zeroed open-addressing table at most 2/3 full, aligned so that a slot lies in one cache line."""
    slots = 64
    while 2 * slots < 3 * (keys + 1):
        slots *= 2
    raw = np.zeros(slots * words + 8, np.uint64)
    skip = (-raw.ctypes.data % 64) // 8
    return raw[skip : skip + slots * words].reshape(slots, words)
