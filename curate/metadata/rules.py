"""The rules by which MetaCLIP entries are made of words, pairs of words and page titles, per language.

English has those of the first list (Xu et al. 2023, arXiv:2309.16671), every other language those of MetaCLIP 2
(Chuang et al. 2025, arXiv:2507.22062).
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from curate.metadata.word_rules import PUNCTUATION, UNSPACED

#: Entries that the published English list has from pairs; its rule for them has no limit.
PUBLISHED_PAIRS = 100_646


class Rules(BaseModel):
    """What becomes an entry. The defaults are the English rules (v1); `published` gives a language its own.

    size: most entries in all.
    min_count, word_share, most_words: words seen at least so often; at most so many new entries, and at most such a
        share of the distinct words.
    pmi, above_pmi, min_pair, most_pairs: pairs of neighbours x y by log2(c(xy) T / (c(x) c(y))), T words in all: at
        least `pmi` (or above it), seen at least so often, at most so many new entries.
    row_views, min_views, title_share, most_titles: titles, of lines with so many views an hour, viewed so often in all;
        at most so many new entries, and at most such a share of the distinct titles.
    mobile: views of the mobile site count.
    max_chars: longer entries, and those of punctuation alone, are dropped; 0 drops only single ASCII marks.
    joiner: what stands between the words of a pair.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    language: str = "en"
    size: int = Field(500_000, ge=1)
    min_count: int = Field(100, ge=1)
    word_share: float = Field(1, gt=0, le=1)
    most_words: int = Field(500_000, ge=0)
    pmi: float = Field(30, ge=-100, le=100)
    above_pmi: bool = False
    min_pair: int = Field(1, ge=1)
    most_pairs: int = Field(PUBLISHED_PAIRS, ge=0)
    row_views: int = Field(50, ge=1)
    min_views: int = Field(70, ge=1)
    title_share: float = Field(1, gt=0, le=1)
    most_titles: int = Field(500_000, ge=0)
    mobile: bool = False
    max_chars: int = Field(0, ge=0)
    joiner: str = " "

    @classmethod
    def published(cls, language: str, **changed: Any) -> Rules:
        """The published rules of a language, Wikipedia's code of it, with what is changed and not None."""
        later = {
            "min_count": 1, "word_share": 0.1, "most_words": 251_465, "above_pmi": True, "row_views": 1, "min_views": 1,
            "title_share": 0.76, "most_titles": 61_235, "mobile": True, "max_chars": 256,
            "joiner": "" if language in UNSPACED else " ",
        }  # fmt: skip
        own = {} if language == "en" else later
        return cls(**{"language": language, **own, **{k: v for k, v in changed.items() if v is not None}})

    def legal(self, entries: pl.Series) -> pl.Series:
        """Those that may be entries, in their order; by the later rules also stripped."""
        if not self.max_chars:
            fit = (entries != "") & ~entries.is_in(list(string.punctuation))
        else:
            entries = entries.str.strip_chars()
            fit = entries.str.len_chars().is_between(1, self.max_chars) & (entries.str.strip_chars(PUNCTUATION) != "")
        return pl.Series(entries.filter(fit))


@dataclass(frozen=True)
class Candidates:
    """Entries of a source, best first, at most `most` of them to be taken that no source before has.

    `seen`: how many the source had, `fit`: how many of these passed its rule.
    """

    seen: int
    fit: int
    entries: pl.Series
    most: int
