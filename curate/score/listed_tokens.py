"""Whether all words of a caption are among the most frequent words and pairs of the pool: ALIGN's rare-token rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from curate.arrays.hash_counts import HashCounts
from curate.arrays.string_hash import hash_pairs, hash_strings
from curate.messages.remarks import Remarks
from curate.op import Fitted, Rows, Summed

_WORD = r"[\p{L}\p{M}\p{N}]+"


class ListedTokens(Fitted):
    """`tokens_listed`: whether every word of the caption is on the list; true for one without words.

    The list holds the `size` most frequent words and pairs of neighbouring words of the pool; it ends before the first
    frequency whose words and pairs do not all fit. Pairs take room on it and are not asked for: the paper leaves that
    open. Words are runs of letters and digits, in lower case. In a pool that has fewer words and pairs than the list,
    every caption is listed, which is said.

    size: 100,000,000, the published one.
    parts: so many passes that count a part of the pairs each; a driver holds 16 bytes for each distinct pair of a part.
    """

    cite: ClassVar[str] = "Jia et al., ALIGN, 2021"
    how: ClassVar[frozenset[str]] = Fitted.how | {"parts"}
    size: int = Field(100_000_000, ge=1)
    parts: int = Field(1, ge=1, le=4096)

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"tokens_listed": pa.bool_()}

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def fit(self, summed: Summed) -> Listed:
        words: HashCounts = summed(self._words) or HashCounts(np.zeros(0, np.uint64), np.zeros(0, np.int64))
        sizes = _sizes(words)
        for part in range(self.parts):
            if pairs := summed(partial(self._pairs, part)):
                sizes += _sizes(pairs)
        least, held = 1, 0
        for count in sorted(sizes, reverse=True):
            if held + sizes[count] > self.size:
                least = count + 1
                break
            held += sizes[count]
        return Listed(words.at_least(least), least, held, sizes.total(), len(words))

    def _words(self, rows: Rows) -> HashCounts:
        return HashCounts.of(_lists(rows).to_arrow().flatten())

    def _pairs(self, part: int, rows: Rows) -> HashCounts:
        lists = _lists(rows)
        hashes = hash_strings(lists.to_arrow().flatten())
        row = np.repeat(np.arange(len(lists)), lists.list.len().to_numpy().astype(np.int64))
        same = row[1:] == row[:-1]
        pairs = hash_pairs(hashes[:-1][same], hashes[1:][same], 0)
        distinct, counts = np.unique(pairs[pairs % np.uint64(self.parts) == part], return_counts=True)
        return HashCounts(distinct, counts.astype(np.int64))

    def batch(self, rows: Rows, fitted: Any) -> Mapping[str, Any]:
        lists = _lists(rows)
        listed = fitted.words.find(hash_strings(lists.to_arrow().flatten())) > 0
        row = np.repeat(np.arange(len(lists)), lists.list.len().to_numpy().astype(np.int64))
        return {"tokens_listed": np.bincount(row[~listed], minlength=len(lists)) == 0}

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        remarks = Remarks()
        if fitted.least == 1:
            remarks.add("words and pairs, and the list has room for all: no caption has a rare word", fitted.distinct)
        facts = {"least_count": fitted.least, "listed": fitted.held, "words_listed": len(fitted.words)}
        return {**facts, "words": fitted.all_words, "words_and_pairs": fitted.distinct, "remarks": remarks.to_json()}


@dataclass(frozen=True)
class Listed:
    """words: those on the list. least: the count from which on words and pairs are listed. held: words and pairs there.
    distinct: words and pairs of the pool. all_words: words of the pool."""

    words: HashCounts
    least: int
    held: int
    distinct: int
    all_words: int


def _lists(rows: Rows) -> pl.Series:
    return pl.Series(rows["text"]).str.to_lowercase().str.extract_all(_WORD)


def _sizes(counts: HashCounts) -> Counter[int]:
    """How many stand so often, by how often."""
    numbers, of = np.unique(counts.counts, return_counts=True)
    return Counter(dict(zip(numbers.tolist(), of.tolist(), strict=True)))
