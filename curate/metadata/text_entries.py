"""Words and pairs of words of a text as candidates for entries, best first, from exact counts of any size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from curate.errors import CurateError
from curate.messages.progress import StepProgress
from curate.metadata.corpus_text import TextFile, blocks, prepared
from curate.metadata.rules import Candidates, Rules
from curate.metadata.word_counts import Runs, count_pairs, count_words
from curate.metadata.word_rules import kinds, tokenized_kinds

_32, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
#: Below this many times, a word is too rare for its pairs to be of use; then a note says so.
FEW = 10


@dataclass(frozen=True)
class TextEntries:
    """Candidates of a text of `tokens` words, with remarks on what the rules did to it."""

    words: Candidates
    pairs: Candidates
    tokens: int
    notes: list[str]


def text_entries(
    rules: Rules, texts: Sequence[TextFile], folder: Path, tokenizer: str | None = None, workers: int = 1
) -> TextEntries:
    """Count the words of `texts`, then the pairs that could pass; `folder` takes what does not stay in memory.

    As c(xy) is at most c(x) and c(y), log2(T / max(c(x), c(y))) is the highest PMI that a pair can have: words seen
    more than T / 2^pmi times, or less than `min_pair` times, are in no pair that passes, and are not counted in any.

    Raises:
        CurateError: for a text without words, or one that cannot be read.
    """
    files = prepared(texts, folder, tokenizer, workers)
    table = tokenized_kinds() if tokenizer else kinds()
    word_runs, pair_runs = Runs(folder / "words"), Runs(folder / "pairs")
    tokens = count_words(_all(files, "words"), table, word_runs)
    if not tokens:
        raise CurateError(f"no words in {texts[0].path}" + (f" and {len(texts) - 1} more" if len(texts) > 1 else ""))
    words, pairable = _words(rules, word_runs, tokens)
    if pairable.height and rules.most_pairs:
        count_pairs(_all(files, "pairs"), table, pairable["key"].to_numpy(), pair_runs)
    return TextEntries(
        words, _pairs(rules, pair_runs, pairable, tokens), tokens, _notes(rules, tokens, tokenizer is not None)
    )


def _all(files: Sequence[TextFile], label: str) -> Iterator[bytes]:
    with StepProgress(label, len(files), 0) as progress:
        for file in files:
            lines = 0
            for block in blocks(file):
                lines += block.count(b"\n")
                yield block
            progress.advance(lines)


def _words(rules: Rules, runs: Runs, tokens: int) -> tuple[Candidates, pl.DataFrame]:
    """The candidates, and `key`, `word`, `count` by key of the words that may be in a pair."""
    best = _Best(rules, ["count"])
    highest = tokens / 2**rules.pmi * (1 + 1e-9)  # for the rounding of logarithms
    distinct = fit = 0
    pairable = [pl.DataFrame(schema={"key": pl.UInt64, "word": pl.String, "count": pl.Int64})]
    for part in runs.merged():
        distinct += part.height
        often = part.filter(pl.col("count") >= rules.min_count)
        fit += often.height
        best.add(often.select("count", entry="word"))
        # Two words of one 64-bit hash, once in 40,000 texts of 30 million distinct words, are in no pair.
        single = part.filter(pl.col("key").is_unique())
        pairable.append(single.filter(pl.col("count").is_between(rules.min_pair, highest)))
    most = min(rules.most_words, int(distinct * rules.word_share))
    return Candidates(distinct, fit, best.taken(), most), pl.concat(pairable)


def _pairs(rules: Rules, runs: Runs, words: pl.DataFrame, tokens: int) -> Candidates:
    best = _Best(rules, ["pmi", "count"])
    counts = words["count"].to_numpy()
    seen = fit = 0
    for distinct in runs.merged():
        seen += distinct.height
        part = distinct.filter(pl.col("count") >= rules.min_pair)
        left, right = (part["key"].to_numpy() >> _32).astype(np.int64), (part["key"].to_numpy() & _LOW).astype(np.int64)
        together = part["count"].to_numpy().astype(np.float64)
        pmi = np.log2(together * tokens) - np.log2(counts[left].astype(np.float64) * counts[right])
        passed = np.flatnonzero(pmi > rules.pmi if rules.above_pmi else pmi >= rules.pmi)
        fit += len(passed)
        entry = words["word"][left[passed]] + rules.joiner + words["word"][right[passed]]
        best.add(pl.DataFrame({"pmi": pmi[passed], "count": part["count"].to_numpy()[passed], "entry": entry}))
    return Candidates(seen, fit, best.taken(), rules.most_pairs)


class _Best:
    """The best entries of frames: by the columns `by`, the highest first, then by spelling.

    Twice as many are kept as the list may have, because up to the whole list may be there before them.
    """

    def __init__(self, rules: Rules, by: list[str]) -> None:
        self.rules, self.by = rules, by
        self.parts: list[pl.DataFrame] = []

    def add(self, part: pl.DataFrame) -> None:
        self.parts.append(part)
        if sum(part.height for part in self.parts) > 4 * self.rules.size:
            self.parts = [self._sorted()]

    def _sorted(self) -> pl.DataFrame:
        order = [True] * len(self.by) + [False]
        return pl.concat(self.parts).sort(*self.by, "entry", descending=order).head(2 * self.rules.size)

    def taken(self) -> pl.Series:
        return self._sorted()["entry"] if self.parts else pl.Series("entry", [], pl.String)


def _notes(rules: Rules, tokens: int, cut: bool) -> list[str]:
    notes = []
    if not rules.joiner and not cut:
        notes.append(
            f"'{rules.language}' is written without blanks: by the simple rule each character of its script is a word; "
            "--tokenizer package.module:function cuts real ones"
        )
    ceiling, highest = math.log2(tokens), tokens / 2**rules.pmi
    if rules.pmi > ceiling:
        notes.append(
            f"no pair can pass: in {tokens:,} words the highest PMI there is, log2 of that, is {ceiling:.1f}; "
            f"--pmi {rules.pmi:g} needs a lower value"
        )
    elif highest < FEW:
        notes.append(
            f"only words seen at most {math.floor(highest)} times in {tokens:,} can be in a pair of PMI {rules.pmi:g}; "
            "for collocations lower --pmi and raise --min-pair"
        )
    return notes
