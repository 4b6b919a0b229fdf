"""Counts of words and characters by passes over bytes, beside regular expressions.

    python benchmarks/captions.py [--rows 100000] [CAPTIONS.parquet COLUMN]

score.words and score.text_rules ask polars' regular expressions of captions that are not ASCII; here these are asked of
all captions, too. Both results are compared first. Then score.language beside its model alone. Without a file the
captions are 2 to 20 Zipfian words.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import polars as pl
from exact import make_rows
from in_turn import processor_seconds

from curate.arrays.ascii_words import in_two
from curate.score import text_rules, words
from curate.score.language import Language


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", nargs="*", help="a parquet file and its column")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    captions = read(options.captions, options.rows)
    batches = [captions[first : first + 10_000] for first in range(0, len(captions), 10_000)]
    for op, by_bytes, by_patterns in (
        (words.Words(), words.counts_by_bytes, words.counts_by_patterns),
        (text_rules.TextRules(), text_rules.facts_by_bytes, text_rules.facts_by_patterns),
    ):
        ways: dict[str, Callable[[pl.Series], Any]] = {
            "by patterns": lambda texts, by_patterns=by_patterns: pl.DataFrame(by_patterns(texts)),
            "by bytes where ASCII": lambda texts, two=(by_bytes, by_patterns): in_two(texts.to_arrow(), *two),
            "the whole op": lambda texts, op=op: op.batch({"text": texts.to_arrow()}),
        }
        for texts in batches:
            expected, ours = (way(texts) for way in list(ways.values())[:2])
            if not expected.equals(ours.select(expected.columns).cast(dict(expected.schema))):
                raise SystemExit(f"{op.table()}: the two ways count otherwise")
        of_all = {name: lambda way=way: [way(texts) for texts in batches] for name, way in ways.items()}
        compared(op.table(), of_all, len(captions), options.rounds)
    language(batches, options.rounds)


def language(batches: list[pl.Series], rounds: int) -> None:
    """score.language beside the model alone, asked what the op asks: each caption, and its other spelling in lower
    case."""
    import fasttext

    op = Language()
    op.setup()
    model = fasttext.load_model(op._path())
    texts = batches[0].head(5_000)
    lines = [text.replace("\n", " ") for text in texts.to_list()]
    lines += [line.lower() for line in lines if line != line.lower()]
    ways: dict[str, Callable[[], object]] = {
        "the model alone": lambda: [model.predict(line, 1, 0.0) for line in lines],
        "the whole op": lambda: op.batch({"text": texts.to_arrow()}),
    }
    compared(op.table(), ways, len(texts), rounds)


def compared(table: str, ways: dict[str, Callable[[], object]], captions: int, rounds: int) -> None:
    """Print the seconds of each way, and the ratio of the first one's to them."""
    middle = processor_seconds(ways, rounds)
    first = next(iter(middle.values()))
    for name, seconds in middle.items():
        cells = f"{seconds / captions * 1e6:6.2f} s of the processor per million captions"
        print(f"{table:12} {name:22} {cells}, {first / seconds:5.2f} of the first one's speed")


def read(captions: list[str], rows: int) -> pl.Series:
    if not captions:
        return pl.Series(make_rows(rows)["text"].combine_chunks())
    path, column = captions
    texts = pl.read_parquet(path)[column].drop_nulls()
    return pl.concat([texts] * -(-rows // len(texts))).head(rows)


if __name__ == "__main__":
    main()
