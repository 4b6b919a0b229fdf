"""Builds a MetaCLIP entry list from a user's own text: numbers, WordNet, words, pairs of words, page titles.

The sources come in the published order, the first to have an entry keeping it. What is chosen here, because it is not
published: the order inside a source (best first, then by count, then by spelling), and a limit of English pairs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from curate.metadata.corpus_text import TextFile
from curate.metadata.page_views import views
from curate.metadata.rules import Candidates, Rules
from curate.metadata.text_entries import text_entries

NUMBERS = tuple(str(number) for number in range(100))


@dataclass(frozen=True)
class Part:
    """What one source gave: how many it had, how many fit its rule, and its entries that no source before had."""

    source: str
    seen: int
    candidates: int
    entries: list[str] = field(repr=False)


@dataclass(frozen=True)
class Built:
    """An entry list by source, with `tokens` counted in the text and remarks on what the rules did to it."""

    parts: list[Part]
    tokens: int
    notes: list[str]

    @property
    def entries(self) -> list[str]:
        return [entry for part in self.parts for entry in part.entries]


def build(
    rules: Rules,
    texts: Sequence[TextFile],
    titles: Sequence[str] = (),
    names: Sequence[str] = (),
    *,
    tokenizer: str | None = None,
    temp: str | None = None,
    workers: int = 1,
) -> Built:
    """The entries of a language from WordNet's `names`, the words and pairs of `texts`, and page-view files `titles`.

    tokenizer: `package.module:function` that cuts a line into words, instead of the simple rule.
    temp: where a temporary folder is made; it takes the plain text, compressed, and the spilled counts.
    """
    with tempfile.TemporaryDirectory(prefix="curate-metadata-", dir=temp) as folder:
        counted = text_entries(rules, texts, Path(folder), tokenizer, workers)
    sources = {
        "numbers": _listed(NUMBERS),
        "wordnet": _listed(names),
        "words": counted.words,
        "pairs": counted.pairs,
        "titles": _titles(rules, titles) if titles else _listed(()),
    }
    taken: set[str] = set()
    parts = []
    for source, candidates in sources.items():
        room = min(rules.size - len(taken), candidates.most)
        new = [entry for entry in rules.legal(candidates.entries).unique(maintain_order=True) if entry not in taken][
            :room
        ]
        taken.update(new)
        parts.append(Part(source, candidates.seen, candidates.fit, new))
    return Built(parts, counted.tokens, counted.notes)


def _listed(entries: Sequence[str]) -> Candidates:
    return Candidates(len(entries), len(entries), pl.Series(entries, dtype=pl.String), len(entries))


def _titles(rules: Rules, files: Sequence[str]) -> Candidates:
    pages = views(files, rules.language, rules.row_views, rules.mobile)
    fit = pages.filter(pl.col("views") >= rules.min_views).sort("views", "title", descending=[True, False])
    most = min(rules.most_titles, int(pages.height * rules.title_share))
    return Candidates(pages.height, fit.height, fit["title"], most)
