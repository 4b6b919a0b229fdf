"""The entropy of a caption by the frequencies of its words in the pool: RealSyn's first sieve of sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import pyarrow as pa

from curate.arrays.hash_counts import HashCounts
from curate.arrays.string_hash import hash_strings
from curate.op import Fitted, Rows, Summed

#: What Python's str.split() leaves.
_WORD = r"[^\s\x1c-\x1f]+"


class TextEntropy(Fitted):
    """`text_entropy`, float32: -sum of p(w) log p(w) over the words w of the caption, repeats counted again; 0 without
    words. p(w) is the share of w among all words of the pool.

    In a pool of "the dog ran the cat sat the end", "the dog" has .627741 and "cat" .259930 (base e). Words are what
    stands between blanks, in lower case. RealSyn drops sentences under 0.3, then looks at their perplexity.

    base: of the logarithm, `e`, `2` or `10`; the paper states neither the base nor how words are cut.
    """

    cite: ClassVar[str] = "Gu et al., RealSyn, 2025"
    base: Literal["e", "2", "10"] = "e"

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"text_entropy": pa.float32()}

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def fit(self, summed: Summed) -> Corpus:
        counts: HashCounts | None = summed(self._counts)
        counts = counts or HashCounts(np.zeros(0, np.uint64), np.zeros(0, np.int64))
        return Corpus(counts, counts.total())

    def _counts(self, rows: Rows) -> HashCounts:
        return HashCounts.of(_words(rows).to_arrow().flatten())

    def batch(self, rows: Rows, fitted: Any) -> Mapping[str, Any]:
        lists = _words(rows)
        sizes = lists.list.len().to_numpy().astype(np.int64)
        hashes = hash_strings(lists.to_arrow().flatten())
        p = fitted.counts.find(hashes) / max(1, fitted.words)
        logs = {"e": np.log, "2": np.log2, "10": np.log10}[self.base]
        parts = -p * logs(p)
        entropy, some = np.zeros(len(sizes)), sizes > 0
        if some.any():
            entropy[some] = np.add.reduceat(parts, (np.cumsum(sizes) - sizes)[some])
        return {"text_entropy": entropy.astype(np.float32)}

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {"words": fitted.words, "distinct": len(fitted.counts)}


@dataclass(frozen=True)
class Corpus:
    """How often each word stands in the pool, and how many words there are."""

    counts: HashCounts
    words: int


def _words(rows: Rows) -> pl.Series:
    return pl.Series(rows["text"]).str.to_lowercase().str.extract_all(_WORD)
