"""Captions a second of CLIP's tokenizer: open_clip's, and ours that gives the same ids.

    python benchmarks/tokens.py [--captions FILE.parquet --column caption] [--rows 6000] [--rounds 5]

Both are called in turn in one process, chunk by chunk, by the processor's clock; ids are compared first. Without a file
the captions are drawn: every tenth has a letter or an entity that needs open_clip's clean-up, as on the web. open_clip
keeps the words it has seen, so that its first round, on fresh words, is the slowest: both are printed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence

import pyarrow.parquet as pq
from run import hardware

from curate.demo import scenes
from curate.models.open_clip_import import open_clip
from curate.models.tokens import Tokens

#: Captions of a call, as a batch of images has them.
CHUNK = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", help="a parquet file with real ones")
    parser.add_argument("--column", default="caption")
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(hardware("open_clip_torch", "tokenizers"))
    captions = real(options) if options.captions else drawn(options.rows)
    theirs = open_clip().get_tokenizer("ViT-B-32")
    ours = Tokens(theirs)
    if not (ours(captions[:CHUNK]) == theirs(captions[:CHUNK])).all():
        raise SystemExit("tokens differ")
    theirs.cache.clear()
    theirs.cache.update({special: special for special in ("<start_of_text>", "<end_of_text>")})
    ways = {"open_clip": theirs, "curate": ours.ready}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            rates[name].append(len(captions) / processor_seconds(way, captions))
    for name, seen in rates.items():
        print(f"{name:10} first {seen[0]:9,.0f} captions/s, then {statistics.median(seen[1:] or seen):9,.0f}")
    pairs = list(zip(rates["curate"], rates["open_clip"], strict=True))
    print(
        f"curate is {pairs[0][0] / pairs[0][1]:.1f}x at first, then {statistics.median(a / b for a, b in pairs):.1f}x"
    )


def real(options: argparse.Namespace) -> list[str]:
    column = pq.read_table(options.captions, columns=[options.column])[options.column].drop_null()
    return [str(text) for text in column.to_pylist()[: options.rows]]


def drawn(rows: int) -> list[str]:
    rng = random.Random(1)
    texts = [f"{scenes.draw(rng, size_px=(32, 32))[1]} {rng.randrange(10**6)}" for _ in range(rows)]
    return [text + " caf\xe9 &amp; more" if number % 10 == 0 else text for number, text in enumerate(texts)]


def processor_seconds(way: Callable[[Sequence[str]], object], captions: Sequence[str]) -> float:
    start = time.thread_time()
    for first in range(0, len(captions), CHUNK):
        way(captions[first : first + CHUNK])
    return time.thread_time() - start


if __name__ == "__main__":
    main()
