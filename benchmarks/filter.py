"""Seconds to change a threshold: `curate filter` as a process over a million rows, beside polars alone on one file.

    python benchmarks/filter.py [--rows 1000000] [--rounds 5]

The store has records and three tables (words, language, a CLIP score) in shards of 10,000 rows. Every round uses
another threshold, so that no keep table is found again. Polars alone evaluates the same SQL on one parquet with the
same columns, writes uid and verdict, and counts; its process starts Python and imports polars too.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from curate.store.store import FORMAT, Store

WHERE = "lang = 'en' AND words > 2 AND characters > 5 AND clip_l14 >= {limit}"
ALONE = """
import sys
import polars as pl
source, target, where = sys.argv[1:]
frame = pl.read_parquet(source, columns=["uid", "lang", "words", "characters", "clip_l14"])
verdict = frame.select("uid", kept=pl.sql_expr(where).fill_null(False))
verdict.write_parquet(target)
print(verdict["kept"].sum())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rows-per-shard", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="filter_benchmark."))
    try:
        build(folder, options.rows, options.rows_per_shard)
        measure(folder, options.rows, options.rounds)
    finally:
        shutil.rmtree(folder)


def build(folder: Path, rows: int, per_shard: int) -> None:
    """The store, and the same columns in one file."""
    rng = np.random.default_rng(0)
    store = Store(str(folder / "store"))
    tables = {
        "words": {"words": pa.int32(), "characters": pa.int32()},
        "lang": {"lang": pa.string()},
        "clip_l14": {"clip_l14": pa.float32()},
    }
    pieces = []
    for shard in range(-(-rows // per_shard)):
        size = min(per_shard, rows - shard * per_shard)
        words = rng.poisson(8, size)
        uids = [row.tobytes().hex() for row in rng.integers(0, 256, (size, 16), np.uint8)]
        columns = {
            "uid": pa.array(uids),
            "words": pa.array(words, pa.int32()),
            "characters": pa.array(words * 6, pa.int32()),
            "lang": pa.array(rng.choice(["en", "de", "fr", "ja"], size, p=[0.5, 0.2, 0.2, 0.1])),
            "clip_l14": pa.array(rng.normal(0.2, 0.06, size), pa.float32(), mask=rng.random(size) < 0.02),
        }
        url = [f"http://example.org/{uid}.jpg" for uid in uids]
        store.write_part("records", shard, pa.table({"uid": columns["uid"], "url": url, "text": ["a caption"] * size}))
        for name, made in tables.items():
            status = {f"{name}_status": ["ok"] * size}
            part = pa.table({n: columns[n] for n in ("uid", *made)} | status)
            store.write_part(f"{name}-benchmark", shard, part)
        pieces.append(pa.table(columns))
    group = {
        "files": [],
        "rows": rows,
        "first_shard": 0,
        "shards": len(pieces),
        "rows_per_shard": per_shard,
        "images": None,
    }
    manifest = {
        "format": FORMAT,
        "inputs": [{**group, "columns": ["uid", "url", "text"]}],
        "tables": {f"{n}-benchmark": {"name": n, "columns": [*made, f"{n}_status"]} for n, made in tables.items()},
        "current": {name: f"{name}-benchmark" for name in tables},
        "runs": {},
    }
    store.save(manifest)
    pl.DataFrame(pa.concat_tables(pieces)).write_parquet(folder / "all.parquet")
    weight = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    print(f"{rows:,} rows in {len(pieces)} shards, {weight / 1e6:,.0f} MB of parquet (both copies)")


def timed(*command: str) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - began, done.stdout


def measure(folder: Path, rows: int, rounds: int) -> None:
    """Alternating rounds, so that a slow minute of the machine falls on all; medians."""
    python, store = sys.executable, str(folder / "store")
    imports = "import curate.cli, curate.filter.rule, curate.filter.step, curate.look.show, curate.write.step"
    seconds: dict[str, list[float]] = {name: [] for name in ("filter", "start", "alone", "polars")}
    for i in range(rounds):
        where = WHERE.format(limit=0.24 + i / 1000)
        spent, told = timed(python, "-m", "curate", "filter", store, "--where", where)
        seconds["filter"].append(spent)
        seconds["start"].append(timed(python, "-c", imports)[0])
        spent, kept = timed(python, "-c", ALONE, str(folder / "all.parquet"), str(folder / "verdict.parquet"), where)
        seconds["alone"].append(spent)
        seconds["polars"].append(timed(python, "-c", "import polars")[0])
        if f"{int(kept):,}" not in told:
            raise SystemExit(f"polars keeps {int(kept):,} rows, curate says:\n{told}")
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    work, alone = middle["filter"] - middle["start"], middle["alone"] - middle["polars"]
    print(
        f"curate filter   {middle['filter']:6.2f} s   {rows / middle['filter']:12,.0f} rows/s, the process as a whole"
    )
    print(f"  its imports   {middle['start']:6.2f} s   {middle['start'] / middle['filter']:.0%} of it")
    print(f"  its work      {work:6.2f} s   {rows / work:12,.0f} rows/s")
    print(f"polars alone    {middle['alone']:6.2f} s   {rows / middle['alone']:12,.0f} rows/s, the process as a whole")
    print(f"  its work      {alone:6.2f} s   {rows / alone:12,.0f} rows/s")
    whole = middle["filter"] / middle["alone"]
    print(f"curate takes {whole:.1f} times as long, {work / alone:.1f} times without the imports")


if __name__ == "__main__":
    main()
