"""Seconds to change a threshold: `curate filter` as a process over a million rows, beside polars alone on one file.

    python benchmarks/filter.py [--rows 1000000] [--rounds 5]

The store has records and three tables (words, language, a CLIP score) in shards of 10,000 rows. Every round uses
another threshold, so that no keep table is there already. Polars alone evaluates the same SQL on one parquet with the
same columns, writes the verdicts, and counts: once without uids, as curate does, and once with them. Its process starts
Python and imports polars too. Seconds of the processor stand beside those of the clock: they hold on a busy machine.
Last the bytes of two tables, and what of them is no value: footers and checksums.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.store.manifest import Input, Keep, Manifest, Table
from curate.store.store import Store

WHERE = "lang = 'en' AND words > 2 AND characters > 5 AND clip_l14 >= {limit}"
ALONE = """
import sys
import polars as pl
source, target, where, *uid = sys.argv[1:]
frame = pl.read_parquet(source, columns=[*uid, "lang", "words", "characters", "clip_l14"])
verdict = frame.select(*uid, kept=pl.sql_expr(where).fill_null(False))
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
        for name, names in tables.items():
            status = {f"{name}_status": ["ok"] * size}
            part = pa.table({n: columns[n] for n in ("uid", *names)} | status)
            store.write_part(f"{name}-benchmark", shard, part)
        pieces.append(pa.table(columns))
    group = Input(
        input=str(folder),
        format="parquet",
        columns=["uid", "url", "text"],
        mapping={},
        files=1,
        files_id="benchmark",
        first_shard=0,
        shards=len(pieces),
        rows=rows,
        rows_per_shard=per_shard,
    )
    entries: dict[str, Keep | Table] = {
        f"{name}-benchmark": Table(name=name, op=f"score.{name}", columns=[*names, f"{name}_status"])
        for name, names in tables.items()
    }
    current = {name: f"{name}-benchmark" for name in tables}
    store.save(Manifest(inputs=[group], tables=entries, current=current))
    pl.DataFrame(pa.concat_tables(pieces)).write_parquet(folder / "all.parquet")
    weight = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    print(f"{rows:,} rows in {len(pieces)} shards, {weight / 1e6:,.0f} MB of parquet (both copies)")


@dataclass(frozen=True)
class Spent:
    """Seconds of a process: by the clock, and of the processor."""

    wall: float
    cpu: float


def timed(*command: str) -> tuple[Spent, str]:
    """What a process took, and what it printed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime), done.stdout


def measure(folder: Path, rows: int, rounds: int) -> None:
    """Alternating rounds, so that a slow minute of the machine falls on all; medians."""
    python, store = sys.executable, str(folder / "store")
    imports = "import curate.cli, curate.filter.rule, curate.filter.step, curate.look.show, curate.write.step"
    alone = [python, "-c", ALONE, str(folder / "all.parquet"), str(folder / "verdict.parquet")]
    spent: dict[str, list[Spent]] = {name: [] for name in ("filter", "imports", "alone", "uids", "polars")}
    for i in range(rounds):
        where = WHERE.format(limit=0.24 + i / 1000)
        commands = {
            "filter": [python, "-m", "curate", "filter", store, "--where", where],
            "imports": [python, "-c", imports],
            "alone": [*alone, where],
            "uids": [*alone, where, "uid"],
            "polars": [python, "-c", "import polars"],
        }
        printed = {}
        for name, command in commands.items():
            seconds, printed[name] = timed(*command)
            spent[name].append(seconds)
        if f"{int(printed['alone']):,} kept" not in printed["filter"]:
            raise SystemExit(f"polars keeps {int(printed['alone']):,} rows, curate says:\n{printed['filter']}")
    middle = {name: median(values) for name, values in spent.items()}
    lines = {
        "filter": "curate filter, the process as a whole",
        "imports": "  its imports",
        "alone": "polars alone, no uids, the process as a whole",
        "uids": "polars alone, with uids",
        "polars": "  its imports",
    }
    for name, line in lines.items():
        print(f"{line:48} {middle[name].wall:6.2f} s, {middle[name].cpu:6.2f} of the processor")
    whole = middle["filter"]
    for name in ("alone", "uids"):
        print(f"curate / {lines[name]}: {whole.wall / middle[name].wall:.2f}, {whole.cpu / middle[name].cpu:.2f}")
    for what, pattern in (("a keep table", "keep_*"), ("the table of words", "words-*")):
        whole_bytes, values = weighed(next((folder / "store").glob(pattern)))
        print(
            f"{what}: {whole_bytes / rows:.2f} bytes a row, {(whole_bytes - values) / rows:.2f} of them beside values"
        )


def weighed(table: Path) -> tuple[int, int]:
    """(bytes of a table's files, bytes of the values in them as they are packed)."""
    files = list(table.glob("*.parquet"))
    values = 0
    for group in (pq.read_metadata(file).row_group(0) for file in files):
        values += sum(group.column(number).total_compressed_size for number in range(group.num_columns))
    return sum(file.stat().st_size for file in files), values


def median(values: list[Spent]) -> Spent:
    return Spent(statistics.median(v.wall for v in values), statistics.median(v.cpu for v in values))


if __name__ == "__main__":
    main()
