"""Do the whole-dataset steps stay flat? Seconds per million rows, peak memory and peak disk of each, at ten times the
rows.

    python benchmarks/growth.py [--sizes 100000 1000000] [--words 200000] [--only dedupe balance.clusters]

Rows are synthetic: captions of real lengths (2 to 20 words) of Zipfian words, a url, hashes, an embedding of 64 numbers
around one of 2,000 directions, and 20 % planted duplicates: of the url and caption as they are, of hashes and embedding
nearly. Each step runs in a process of its own, without Ray; seconds are of the processor, the system tells the peak;
disk is what the step's work takes at most, beside the tables, in bytes a row.

    python benchmarks/growth.py --layout 100000

is about shards rather than rows: see benchmarks/layout.py.

    python benchmarks/growth.py --against [--sizes 100000]

is about new rows beside old ones: see benchmarks/old_rows.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_SHARD = 10_000
STEPS = {
    "read": {},
    "score.words": {"ops": ["score.words"]},
    "score.text_rules": {"ops": ["score.text_rules"]},
    "dedupe.exact url_text": {"ops": [{"dedupe.exact": {"by": "url_text"}}]},
    "filter": {"filter": "dup_url_text_of IS NULL AND words > 2"},
    "score.entries": {"ops": [{"score.entries": {"metadata": "ENTRIES"}}]},
    "balance.metaclip": {"ops": [{"balance.metaclip": {"tail_share": 0.06}}]},
    "dedupe.minhash": {"ops": ["dedupe.minhash"]},
    "dedupe.perceptual phash": {"ops": [{"dedupe.perceptual": {"by": "phash", "colours": None}}]},
    "dedupe.perceptual pdq": {"ops": [{"dedupe.perceptual": {"by": "pdq", "colours": None}}]},
    "balance.clusters": {"ops": [{"balance.clusters": {"by": "v", "k": 1000}}]},
    "dedupe.semantic": {"ops": [{"dedupe.semantic": {"by": "v"}}]},
}
SCHEMA = pa.schema(
    {
        "url": pa.string(),
        "text": pa.string(),
        "phash": pa.uint64(),
        "pdq": pa.binary(32),
        "v": pa.list_(pa.float16()),
    }
)
#: Numbers of an embedding, and directions that they lie around.
DIM, DIRECTIONS = 64, 2000


def vocabulary(words: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlcumwfgypbvk"))
    return np.array(["".join(rng.choice(letters, n)) for n in rng.integers(2, 9, words)], dtype=object)


def build(path: Path, rows: int, words: np.ndarray) -> None:
    """`rows` pairs, one in five a copy of an earlier one."""
    rng = np.random.default_rng(1)
    weights = 1 / np.arange(1, len(words) + 1)
    cumulative = np.cumsum(weights / weights.sum())
    directions = rng.standard_normal((DIRECTIONS, DIM), np.float32)
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for start in range(0, rows, 100_000):
            size = min(100_000, rows - start)
            lengths = rng.integers(2, 21, size)
            drawn = words[np.searchsorted(cumulative, rng.random(lengths.sum()))]
            ends = np.cumsum(lengths)
            texts = [" ".join(drawn[e - n : e]) for e, n in zip(ends, lengths, strict=True)]
            urls = [f"http://host{i % 997}.example/{i}.jpg" for i in range(start, start + size)]
            hashes = rng.integers(0, 2**64, (size, 5), np.uint64, endpoint=False)
            vectors = directions[rng.integers(0, DIRECTIONS, size)] + rng.standard_normal((size, DIM), np.float32)
            copies = np.flatnonzero(rng.random(size) < 0.2)[1:]
            for i in copies.tolist():
                j = int(rng.integers(0, i))
                texts[i], urls[i], vectors[i] = texts[j], urls[j], vectors[j]
                hashes[i] = hashes[j] ^ (np.uint64(1) << rng.integers(0, 64, 5).astype(np.uint64))
            vectors[copies] += 0.05 * rng.standard_normal((len(copies), DIM), np.float32)
            pdq = pa.Array.from_buffers(pa.binary(32), size, [None, pa.py_buffer(hashes[:, 1:].tobytes())])
            flat = pa.array(vectors.astype(np.float16).ravel())
            made = pa.ListArray.from_arrays(pa.array(np.arange(0, size * DIM + 1, DIM, dtype=np.int32)), flat)
            columns = {"url": urls, "text": texts, "phash": hashes[:, 0], "pdq": pdq, "v": made}
            writer.write_table(pa.table(columns, schema=SCHEMA))


class Disk(threading.Thread):
    """Looks at the files of the work below a store twice a second; `peak` is the most bytes that they had."""

    def __init__(self, root: Path):
        super().__init__(daemon=True)
        self.root, self.peak = root, 0
        self.start()

    def run(self) -> None:
        while True:
            held = 0
            for folder, _, names in os.walk(self.root):
                if ".work" in Path(folder).parts:
                    for name in names:
                        with contextlib.suppress(FileNotFoundError):  # removed, or renamed, a moment ago
                            held += os.stat(os.path.join(folder, name)).st_size
            self.peak = max(self.peak, held)
            time.sleep(0.5)


def step(root: str, source: str, what: dict[str, object]) -> None:
    """In a process of its own: do one step and print its seconds and peak memory."""
    from curate.annotate.step import annotate
    from curate.catalog import load_all
    from curate.cluster.cluster import Cluster
    from curate.filter.rule import load_filter
    from curate.filter.step import select
    from curate.read.options import ReadOptions
    from curate.read.step import read
    from curate.store.store import Store
    from curate.store.view import View

    here = Cluster(workers=0)
    store = Store(root)
    imports = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    disk, began = Disk(Path(root)), time.process_time()
    if "ops" in what:
        keeps = list(store.manifest().keeps())
        annotate(View.of(store, keeps[-1] if keeps else None), load_all(what["ops"]), here)  # type: ignore[arg-type]
    elif "filter" in what:
        select(View.of(store), load_filter({"where": what["filter"], "name": "unique"}))
    else:
        read(store, ReadOptions(input=source, rows_per_shard=ROWS_PER_SHARD), here)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "imports": imports, "disk": disk.peak}))


def in_a_process(what: str, root: str, source: str) -> dict[str, float]:
    """What `step` prints of one step, as JSON has it."""
    command = [sys.executable, __file__, "--step", what, "--at", root, source]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    printed: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", help="default: 100000, and 1000000 where all is old")
    parser.add_argument("--words", type=int, default=200_000, help="vocabulary of the captions")
    parser.add_argument("--only", nargs="+", default=[""], help="steps whose names have one of these in them, and read")
    parser.add_argument("--layout", type=int, nargs="+", help="shards of a store of tiny shards")
    parser.add_argument("--against", action="store_true", help="a tenth new rows against the others")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--at", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step(options.at[0], options.at[1], json.loads(options.step))
        return
    if options.layout:
        from layout import measured

        for shards in options.layout:
            for line in measured(shards, options.only):
                print(line, flush=True)
        return
    if options.against:
        from old_rows import against_old

        for line in against_old(options.sizes or [100_000], options.words, options.only):
            print(line, flush=True)
        return
    options.sizes = options.sizes or [100_000, 1_000_000]
    words = vocabulary(options.words)
    folder = Path(tempfile.mkdtemp(prefix="curate-growth-"))
    entries = folder / "entries.txt"
    pairs = [f"{a} {b}" for a, b in zip(words[:300_000], np.roll(words, 7)[:300_000], strict=True)]
    entries.write_text("\n".join(dict.fromkeys([*words, *pairs])) + "\n")
    print(f"{'step':<24}" + "".join(f"{size:>26,} rows{'':>12}" for size in options.sizes))
    steps = {name: what for name, what in STEPS.items() if name == "read" or any(part in name for part in options.only)}
    found: dict[str, list[str]] = {name: [] for name in steps}
    try:
        for size in options.sizes:
            source = folder / f"{size}.parquet"
            build(source, size, words)
            for name, what in steps.items():
                arguments = json.dumps(what).replace("ENTRIES", str(entries))
                result = in_a_process(arguments, str(folder / f"store-{size}"), str(source))
                disk = f"{result['disk'] / size:5,.0f} B/row"
                found[name].append(f"{result['seconds'] / size * 1e6:8.2f} s/M {result['peak']:7,.0f} MB {disk}")
                print(f"  {size:>12,} {name:<24} {found[name][-1]}", file=sys.stderr, flush=True)
            shutil.rmtree(folder / f"store-{size}")
            source.unlink()
    finally:
        shutil.rmtree(folder)
    for name, cells in found.items():
        print(f"{name:<24}" + "".join(f"{cell:>43}" for cell in cells))


if __name__ == "__main__":
    main()
