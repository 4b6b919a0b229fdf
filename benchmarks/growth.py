"""Do the whole-dataset steps stay flat? Seconds per million rows and peak memory of each, at ten times the rows.

    python benchmarks/growth.py [--sizes 100000 1000000] [--words 200000]

Rows are synthetic: captions of real lengths (2 to 20 words) of Zipfian words, a url, and 20 % planted duplicates of
the url and caption. Each step runs in a process of its own, without Ray, on one core; the system tells its peak.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_SHARD = 10_000
STEPS = {
    "read": {},
    "score.words": {"ops": ["score.words"]},
    "dedupe.exact url_text": {"ops": [{"dedupe.exact": {"by": "url_text"}}]},
    "filter": {"filter": "dup_url_text_of IS NULL AND words > 2"},
    "score.entries": {"ops": [{"score.entries": {"metadata": "ENTRIES"}}]},
    "balance.metaclip": {"ops": [{"balance.metaclip": {"tail_share": 0.06}}]},
    "dedupe.minhash": {"ops": ["dedupe.minhash"], "most": 1_000_000},
}


def vocabulary(words: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlcumwfgypbvk"))
    return np.array(["".join(rng.choice(letters, n)) for n in rng.integers(2, 9, words)], dtype=object)


def build(path: Path, rows: int, words: np.ndarray) -> None:
    """`rows` pairs, one in five a copy of an earlier one."""
    rng = np.random.default_rng(1)
    weights = 1 / np.arange(1, len(words) + 1)
    cumulative = np.cumsum(weights / weights.sum())
    schema = pa.schema([("url", pa.string()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, 100_000):
            size = min(100_000, rows - start)
            lengths = rng.integers(2, 21, size)
            drawn = words[np.searchsorted(cumulative, rng.random(lengths.sum()))]
            ends = np.cumsum(lengths)
            texts = [" ".join(drawn[e - n : e]) for e, n in zip(ends, lengths, strict=True)]
            urls = [f"http://host{i % 997}.example/{i}.jpg" for i in range(start, start + size)]
            copies = rng.random(size) < 0.2
            for i in np.flatnonzero(copies)[1:].tolist():
                j = int(rng.integers(0, i))
                texts[i], urls[i] = texts[j], urls[j]
            writer.write_table(pa.table({"url": urls, "text": texts}, schema=schema))


def step(root: str, source: str, what: dict[str, object]) -> None:
    """In a process of its own: do one step and print its seconds and peak memory."""
    from curate.cluster import Cluster
    from curate.filter import load_filter
    from curate.op import load_all
    from curate.read import read
    from curate.scoring import annotate
    from curate.select import select
    from curate.source import ReadOptions
    from curate.store import Store
    from curate.view import View

    here = Cluster(workers=0)
    store = Store(root)
    imports = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    if "ops" in what:
        keeps = [n for n in store.manifest()["current"] if n.startswith("keep_")]
        annotate(View.of(store, keeps[-1] if keeps else None), load_all(what["ops"]), here)  # type: ignore[arg-type]
    elif "filter" in what:
        select(View.of(store), load_filter({"where": what["filter"], "name": "unique"}))
    else:
        read(store, ReadOptions(input=source, rows_per_shard=ROWS_PER_SHARD), here)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "imports": imports}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--words", type=int, default=200_000, help="vocabulary of the captions")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--at", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step(options.at[0], options.at[1], json.loads(options.step))
        return
    words = vocabulary(options.words)
    folder = Path(tempfile.mkdtemp(prefix="curate-growth-"))
    entries = folder / "entries.txt"
    pairs = [f"{a} {b}" for a, b in zip(words[:300_000], np.roll(words, 7)[:300_000], strict=True)]
    entries.write_text("\n".join(dict.fromkeys([*words, *pairs])) + "\n")
    print(f"{'step':<24}" + "".join(f"{size:>14,} rows{'':>12}" for size in options.sizes))
    found: dict[str, list[str]] = {name: [] for name in STEPS}
    try:
        for size in options.sizes:
            source = folder / f"{size}.parquet"
            build(source, size, words)
            for name, what in STEPS.items():
                if size > int(what.get("most", size)):  # type: ignore[call-overload]
                    found[name].append("not run")
                    continue
                arguments = json.dumps(what).replace("ENTRIES", str(entries))
                command = [
                    sys.executable,
                    __file__,
                    "--step",
                    arguments,
                    "--at",
                    str(folder / f"store-{size}"),
                    str(source),
                ]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                result = json.loads(done.stdout.strip().splitlines()[-1])
                found[name].append(f"{result['seconds'] / size * 1e6:8.2f} s/M {result['peak']:7,.0f} MB")
                print(f"  {size:>12,} {name:<24} {found[name][-1]}", file=sys.stderr, flush=True)
            shutil.rmtree(folder / f"store-{size}")
            source.unlink()
    finally:
        shutil.rmtree(folder)
    for name, cells in found.items():
        print(f"{name:<24}" + "".join(f"{cell:>31}" for cell in cells))


if __name__ == "__main__":
    main()
