"""Captions a second of one core: our MinHash beside datasketch and rensa, on the same captions and shingles.

    python benchmarks/minhash.py [--captions file.parquet --column TEXT]

Needs `pip install datasketch rensa`. Our time is the whole way from captions to signatures: lower case, shingles,
SHA-1, permutations. The others get captions that are in lower case and cut them into a Python set. Signatures are
compared with those of datasketch before anything is timed: with its scheme of 1.x, which is ours; the default of 2.x is
timed too, its values are others, as are rensa's. All run in turn in one process; time is processor time, so that other
work on the machine counts less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import rensa
import wordfreq
from datasketch import MinHash

from curate.alike.minhash import plain, shingles, signatures

NUM_PERM, K = 128, 5
#: The scheme that datasketch 1.x had; 2.x has it under this name.
LEGACY: dict[str, Any] = {"scheme": "legacy"} if hasattr(MinHash(1), "scheme") else {}

Runner = tuple[str, int, Callable[[], Any]]


def main() -> None:
    options = parse()
    if options.captions:
        texts = pl.read_parquet(options.captions, columns=[options.column])[options.column].drop_nulls()
    else:
        texts = pl.Series(make_captions(options.rows, options.seed))
    texts = texts.filter(texts.str.len_chars() >= K)
    print(f"{len(texts):,} captions of {texts.str.len_chars().mean():.1f} characters on average")
    runners = build(texts, options.share)
    check(runners)
    report(runners, options.rounds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60_000, help="captions made up where no file is given")
    parser.add_argument("--share", type=int, default=1500, help="captions for the others")
    parser.add_argument("--captions", help="parquet file of real captions")
    parser.add_argument("--column", default="TEXT")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def make_captions(rows: int, seed: int) -> list[str]:
    """Words by their measured frequency, log-normal lengths: median 9 words, about 60 characters."""
    rng = np.random.default_rng(seed)
    words = wordfreq.top_n_list("en", 100_000)
    weights = np.array([wordfreq.word_frequency(word, "en") for word in words])
    lengths = np.clip(rng.lognormal(2.2, 0.55, rows), 1, 60).astype(int)
    drawn = iter(rng.choice(len(words), size=int(lengths.sum()), p=weights / weights.sum()).tolist())
    return [" ".join(words[next(drawn)] for _ in range(length)) for length in lengths.tolist()]


def build(texts: pl.Series, share: int) -> list[Runner]:
    some = plain(texts).to_list()[:share]

    def cut(text: str) -> set[str]:
        return {text[i : i + K] for i in range(max(1, len(text) - K + 1))}

    def ours() -> np.ndarray:
        return signatures(*shingles(plain(texts), K), num_perm=NUM_PERM)

    def one_by_one() -> list[np.ndarray]:
        found = []
        for text in some:
            other = MinHash(num_perm=NUM_PERM, **LEGACY)
            for piece in cut(text):
                other.update(piece.encode())
            found.append(other.hashvalues)
        return found

    def batches(scheme: dict[str, Any]) -> list[np.ndarray]:
        found = []
        for text in some:
            other = MinHash(num_perm=NUM_PERM, **scheme)
            other.update_batch([piece.encode() for piece in cut(text)])
            found.append(other.hashvalues)
        return found

    def by_rensa() -> list[Any]:
        found = []
        for text in some:
            other = rensa.RMinHash(num_perm=NUM_PERM, seed=1)
            other.update(list(cut(text)))
            found.append(other.digest())
        return found

    return [
        ("curate", len(texts), ours),
        ("datasketch update", len(some), one_by_one),
        ("datasketch update_batch", len(some), lambda: batches(LEGACY)),
        ("datasketch, its default", len(some), lambda: batches({})),
        ("rensa RMinHash", len(some), by_rensa),
    ]


def check(runners: list[Runner]) -> None:
    """Every value of ours must be datasketch's."""
    mine = runners[0][2]()
    for name, _, run in runners[1:3]:
        wrong = [i for i, values in enumerate(run()) if not np.array_equal(values, mine[i])]
        if wrong:
            raise SystemExit(f"{name} differs in {len(wrong)} signatures, first {wrong[0]}")
    print(f"same signatures as datasketch on {runners[1][1]:,} captions")


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
        print(f"{name:24} {middle:10,.0f} captions/s/core, {spread}; curate is {ours / middle:.1f}x")


if __name__ == "__main__":
    main()
