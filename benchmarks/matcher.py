"""Captions a second of one core: our matcher beside pyahocorasick and ahocorasick_rs, on the same captions and entries.

    python benchmarks/matcher.py [--entries 500000] [--captions file.parquet --column TEXT]

Needs `pip install wordfreq pyahocorasick ahocorasick_rs`. The three run in turn in one process and one thread; the two
automata get the spaced text and the spaced keys, as the published code does, and a share of the captions, because they
are slower. Results are compared row by row before anything is timed. Time is processor time, so that other work on the
machine counts less; the caches are still shared with it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ahocorasick
import ahocorasick_rs
import numpy as np
import polars as pl
import pyarrow as pa
import wordfreq

from curate.metaclip.matching import Matcher


def main() -> None:
    options = parse()
    rng = np.random.default_rng(options.seed)
    words, weights = vocabulary()
    entries = make_entries(options.entries, words, weights, rng)
    if options.captions:
        texts = pl.read_parquet(options.captions, columns=[options.column])[options.column].to_list()
        texts = (texts * (1 + options.rows // max(1, len(texts))))[: options.rows]
    else:
        texts = make_captions(options.rows, words, weights, rng)
    if options.setup:
        workers(entries)
        return
    length = statistics.fmean(len(text) for text in texts if text is not None)
    print(f"{len(entries):,} entries, {len(texts):,} captions of {length:.1f} characters on average")
    runners = build(entries, texts, options.share)
    check(runners, options.share)
    report(runners, options.rounds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=500_000)
    parser.add_argument("--rows", type=int, default=400_000, help="captions for our matcher")
    parser.add_argument("--share", type=int, default=20_000, help="captions for the other two")
    parser.add_argument("--captions", help="parquet file of real captions, repeated up to --rows")
    parser.add_argument("--column", default="TEXT")
    parser.add_argument("--setup", action="store_true", help="only what each worker of score.entries spends to begin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def vocabulary() -> tuple[list[str], np.ndarray]:
    """English words with their measured frequencies: captions drawn from them are Zipfian."""
    words = wordfreq.top_n_list("en", 250_000)
    weights = np.array([wordfreq.word_frequency(word, "en") for word in words])
    return words, weights / weights.sum()


def make_entries(wanted: int, words: list[str], weights: np.ndarray, rng: np.random.Generator) -> list[str]:
    """The published mix, by share: half words, 30 % of two to four words, the rest rare names made up."""
    entries = dict.fromkeys([str(n) for n in range(100)] + words[: wanted // 2])
    flat = weights**0.7 / (weights**0.7).sum()
    while len(entries) < wanted * 8 // 10:
        lengths = rng.choice([2, 3, 4], size=10_000, p=[0.8, 0.15, 0.05])
        drawn = iter(rng.choice(len(words), size=int(lengths.sum()), p=flat))
        for n in lengths:
            phrase = " ".join(words[next(drawn)] for _ in range(n))
            entries[phrase.title() if rng.random() < 0.3 else phrase] = None
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    while len(entries) < wanted:
        entries["".join(rng.choice(letters, size=int(rng.integers(4, 16)))).capitalize()] = None
    return list(entries)[:wanted]


def make_captions(rows: int, words: list[str], weights: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Log-normal lengths (median 9 words, about 60 characters), some capitals, marks, numbers and file-like junk."""
    lengths = np.clip(rng.lognormal(2.2, 0.55, rows), 1, 60).astype(int)
    drawn = iter(rng.choice(len(words), size=int(lengths.sum()), p=weights).tolist())
    kinds = iter(rng.random(int(lengths.sum())).tolist())
    captions = []
    for length in lengths.tolist():
        parts = []
        for _ in range(length):
            word, kind = words[next(drawn)], next(kinds)
            if kind < 0.25:
                word = word.capitalize()
            elif kind < 0.33:
                word += ","
            elif kind < 0.37:
                word = f"{word}-{int(kind * 1e6) % 5000}"
            parts.append(word)
        captions.append(" ".join(parts))
    return captions


def spaced(text: str) -> str:
    """The published preparation; this chain is four times as fast as one regular expression."""
    text = f" {text} "
    for mark in ",.;:?!`":
        text = text.replace(mark, f" {mark} ")
    return text.replace("\t", " ").replace("\n", " ").replace("\r", " ")


#: Processor time and wall time of a worker's start; what numba compiled is read before.
SETUP = """
import sys, time
import pyarrow as pa
from curate.metaclip.matching import Matcher
from curate.score.entries import Entries

Matcher(["a"]).match(pa.array(["a"]))
op, spent, start = Entries(metadata=sys.argv[1]), time.process_time(), time.perf_counter()
op.setup()
print(f"{time.process_time() - spent:.2f} s of processor, {time.perf_counter() - start:.2f} s")
"""


def workers(entries: list[str]) -> None:
    """The first worker of a node makes the list ready; others map its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metadata.json"
        path.write_text(json.dumps(entries))
        for worker in range(1, 4):
            print(f"worker {worker}", end=": ", flush=True)
            environment = {**os.environ, "XDG_CACHE_HOME": folder}
            subprocess.run([sys.executable, "-c", SETUP, str(path)], env=environment, check=True)


Runner = tuple[str, int, Callable[[], Any]]


def build(entries: list[str], texts: list[str], share: int) -> list[Runner]:
    start = time.perf_counter()
    Matcher(entries[:10]).match(pa.array(texts[:10]))
    print(f"compile or load from cache {time.perf_counter() - start:6.2f} s")

    start = time.perf_counter()
    ours = Matcher(entries)
    print(f"build curate               {time.perf_counter() - start:6.2f} s, {ours.nbytes / 1e6:.0f} MB")

    start = time.perf_counter()
    automaton = ahocorasick.Automaton(ahocorasick.STORE_INTS)
    for i, entry in enumerate(entries):
        automaton.add_word(f" {entry} ", i)
    automaton.make_automaton()
    print(f"build pyahocorasick        {time.perf_counter() - start:6.2f} s")

    start = time.perf_counter()
    rust = ahocorasick_rs.AhoCorasick([f" {entry} " for entry in entries])
    print(f"build ahocorasick_rs       {time.perf_counter() - start:6.2f} s")

    array, some = pa.array(texts, pa.string()), texts[:share]

    def by_automaton() -> Iterator[set[int] | None]:
        for text in some:
            yield None if text is None else {i for _, i in automaton.iter(spaced(text))}

    def by_rust() -> Iterator[set[int] | None]:
        for text in some:
            found = None if text is None else rust.find_matches_as_indexes(spaced(text), overlapping=True)
            yield None if found is None else {i for i, _, _ in found}

    return [
        ("curate", len(texts), lambda: ours.match(array)),
        ("pyahocorasick", len(some), lambda: list(by_automaton())),
        ("ahocorasick_rs", len(some), lambda: list(by_rust())),
    ]


def check(runners: list[Runner], share: int) -> None:
    """All three must give the same set for every caption of the share."""
    ours = [None if row is None else set(row) for row in runners[0][2]().slice(0, share).to_pylist()]
    for name, _, run in runners[1:]:
        other = run()
        wrong = [i for i, (a, b) in enumerate(zip(ours, other, strict=True)) if a != b]
        if wrong:
            raise SystemExit(f"{name} differs in {len(wrong)} captions, first {wrong[0]}")
    hits = [len(row) for row in ours if row is not None]
    print(f"same results on {share:,} captions, {statistics.fmean(hits):.2f} entries a caption")


def report(runners: list[Runner], rounds: int) -> None:
    """Alternating rounds, so that a slow minute of the machine falls on all; medians."""
    rates: dict[str, list[float]] = {name: [] for name, _, _ in runners}
    for _ in range(rounds):
        for name, rows, run in runners:
            start = time.process_time()
            run()
            rates[name].append(rows / (time.process_time() - start))
    ours = statistics.median(rates["curate"])
    for name, values in rates.items():
        middle = statistics.median(values)
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        print(f"{name:15} {middle:12,.0f} captions/s/core, {spread}; curate is {ours / middle:.1f}x")


if __name__ == "__main__":
    main()
