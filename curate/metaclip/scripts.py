"""Matching for scripts that put no blanks between words: MetaCLIP 2's spacing of entries, exact.

The published rule (MetaCLIP 2, arXiv:2507.22062): texts are spaced as by `Matcher`; an entry gets a blank
before it only when its first character, and one after it only when its last, is not of an unspaced script (Han, Thai,
Lao, Burmese, Khmer, Tibetan) and not punctuation. So Chinese entries match anywhere, English ones between blanks, mixed
ones one-sided. One difference: kana count as unspaced too. The published ranges leave them out, so that an entry that
begins or ends in kana matches only beside a blank, which Japanese text hardly has.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from curate.arrays.string_buffers import string_array
from curate.metaclip.matching import Matcher, unmatchable_ids
from curate.metaclip.unspaced import SCRIPTS

#: The seven marks that spacing sets between blanks.
MARKS = ",.;:?!`"
#: Punctuation of the published code besides ASCII's.
FULL_WIDTH = "，。、；：？！“”‘’（）【】《》〈〉「」『』～—"
#: ASCII punctuation but the seven marks, and the full-width signs.
SIGNS = "".join(c for c in string.punctuation if c not in MARKS) + FULL_WIDTH


def _escaped(characters: Iterable[str]) -> str:
    """For the inside of a regular expression's brackets, Python's and polars'."""
    return "".join(f"\\{c}" if c in r"&-[\]^~" else c for c in characters)


_UNIT = f"[{SCRIPTS}{_escaped(SIGNS)}]"
_OPEN = re.compile(f"{_UNIT}|[{MARKS}]")


class ScriptMatcher:
    """As `Matcher`, by the rule above. Costs a second look at texts when an entry is open at an end.

    How: the spaced text is a row of units, each blank, each open character and each run of others being one. An entry
    matches where its units stand next to each other, which is what `Matcher` finds between blanks. So blanks are put
    between units, a blank itself being the empty token.

    >>> ScriptMatcher(["犬", "T恤", "dog", "小犬"]).match(pa.array(["小犬 dogs", "红T恤", "红 T恤衫"])).to_pylist()
    [[0, 3], [], [1]]
    """

    def __init__(self, entries: Sequence[str]) -> None:
        """`entries[i]` gets id i. Raises ValueError for a repeated entry."""
        first_place: dict[str, int] = {}
        for i, entry in enumerate(entries):
            if (first := first_place.setdefault(entry, i)) != i:
                raise ValueError(f"entry {entry!r} stands twice, as {first} and {i}")
        ends = [(_is_open(entry[:1]), _is_open(entry[-1:])) for entry in entries]
        is_open = np.fromiter((first or last for first, last in ends), bool, len(entries))
        is_legal = np.ones(len(entries), bool)
        is_legal[unmatchable_ids(entries)] = False
        self._ids = np.flatnonzero(~is_open).astype(np.uint32), np.flatnonzero(is_open & is_legal).astype(np.uint32)
        closed, others = (ids.tolist() for ids in self._ids)
        self._closed = Matcher([entries[i] for i in closed])
        self._open = Matcher([_units_of_entry(entries[i], *ends[i]) for i in others])
        #: A text without any of these characters holds no open entry, and most English ones do not.
        self._ends = f"[{_escaped(sorted({entries[i][0 if ends[i][0] else -1] for i in others}))}]"

    def __len__(self) -> int:
        return len(self._closed) + len(self._open)

    def match(self, texts: pa.Array | pa.ChunkedArray) -> pa.ListArray:
        """The sorted ids of the entries in each text, as list<uint32>; a null text gives a null list."""
        if isinstance(texts, pa.ChunkedArray):
            parts = [self.match(chunk) for chunk in texts.chunks]
            return pa.concat_arrays(parts) if parts else pa.array([], pa.list_(pa.uint32()))
        texts = string_array(texts)
        closed = self._closed.match(texts)
        keys = _keys(closed, np.arange(len(texts)), self._ids[0])
        if len(self._open):
            rows = pl.Series(texts).str.contains(self._ends).fill_null(value=False).arg_true().to_numpy()
            others = self._open.match(_units_of_texts(texts.take(pa.array(rows))))
            keys = np.sort(np.concatenate([keys, _keys(others, rows, self._ids[1])]))
        counts = np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=len(texts))
        bounds = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        mask = texts.is_null() if texts.null_count else None
        return pa.ListArray.from_arrays(bounds, pa.array(keys.astype(np.uint32)), mask=mask)


def _keys(matched: pa.ListArray, rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Row in the high half, entry id in the low one, of each match."""
    high = np.repeat(rows.astype(np.uint64) << np.uint64(32), np.diff(matched.offsets.to_numpy()))
    return high | ids[matched.values.to_numpy()]  # type: ignore[no-any-return]


def _is_open(character: str) -> bool:
    return _OPEN.fullmatch(character) is not None


def _units_of_texts(texts: pa.Array) -> pa.Array:
    """Texts as `Matcher` splits them into units: a blank is two, and an open character stands between two."""
    spaced = pl.Series(texts).str.replace_all("[ \t\n\r]", "  ")
    # The blanks that spacing puts round a mark; that a mark stands alone `Matcher` sees to itself.
    spaced = spaced.str.replace_all(f"([{MARKS}])", "  $1  ").str.replace_all(f"({_UNIT})", " $1 ")
    return pl.select("  " + spaced + "  ").to_series().to_arrow()


def _units_of_entry(entry: str, first_open: bool, last_open: bool) -> str:
    key = f"{'' if first_open else ' '}{entry}{'' if last_open else ' '}"
    units = _OPEN.sub(r" \g<0> ", key.replace(" ", "  "))
    # What stands before and after the entry has a blank of its own.
    return units[1:-1]
