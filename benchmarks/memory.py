"""What the workers of whole-dataset steps hold: peak memory by phase, and copies of a row's bytes, at memory limits.

    python benchmarks/memory.py [--rows 2000000] [--limits 0.5 1 4] [--ops dedupe.exact dedupe.minhash]

Rows are those of benchmarks/growth.py, with hashes and embeddings of chance; `--alike` makes every caption and hash
near another's, the most that a near-duplicate rule can have to do. Each phase runs in a process of its own, as a Ray
worker does, one task after the other; the system tells its peak. Limits are GB. Copies are reckoned after
Cut.imports of
curate/annotate/partitions.py.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from growth import build, vocabulary

from curate.annotate.all_rows import AllRows
from curate.annotate.partitions import USUAL
from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.cluster.task import Task, set_up
from curate.op import Linked
from curate.read.options import ReadOptions
from curate.read.step import read
from curate.store.store import Store
from curate.store.view import View

DIMENSIONS, CLUSTERS = 512, 20
OPS: dict[str, dict[str, Any]] = {
    "dedupe.exact": {"by": "url_text"},
    "dedupe.shared": {"by": "text", "distinct": "sha256"},
    "dedupe.semantic": {"by": "vector", "largest": 5_000},
    "dedupe.minhash": {},
    "dedupe.perceptual": {"colours": None},
    "score.join": {"table": "outside.parquet"},
}


def peak() -> int:
    """Bytes. Not ru_maxrss, which a process inherits from the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def work(task: Task[Any], items: list[int], answers: Any) -> None:
    set_up(task)
    before = peak()
    for item in items:
        task(item)
    answers.put((before, peak()))


class Measured(Cluster):
    """Each phase in one fresh process; its peak is noted."""

    peaks: dict[str, tuple[int, int, int]]

    def each(self, label: str, task: Any, todo: Any, *rest: Any, **use: Any) -> Iterator[Any]:
        context = multiprocessing.get_context("spawn")
        answers = context.Queue()
        process = context.Process(target=work, args=(task, list(todo), answers))
        process.start()
        self.peaks[task.__name__] = (*answers.get(), len(todo))
        process.join()
        yield from ()


def store_of(folder: Path, rows: int, alike: bool) -> View:
    build(folder / "pairs.parquet", rows, vocabulary(20_000))
    rng = np.random.default_rng(2)
    frame = pl.read_parquet(folder / "pairs.parquet")
    if alike:
        texts = frame["text"].str.pad_start(40, "x")[: (rows + 1) // 2]
        frame = frame.with_columns(text=pl.concat([texts, texts + "!"])[:rows])
    hashes = rng.integers(0, 2**63, rows).astype(np.uint64)
    if alike:
        hashes = np.concatenate([hashes[: (rows + 1) // 2], hashes[: (rows + 1) // 2] ^ np.uint64(1)])[:rows]
    digests = pl.Series(hashes).cast(pl.String).str.pad_start(64, "0")
    frame.with_columns(phash=hashes, sha256=digests).write_parquet(folder / "pairs.parquet")
    options = ReadOptions(input=str(folder / "pairs.parquet"), rows_per_shard=10_000)
    view = read(Store(str(folder / "store")), options, Cluster(workers=0))
    return view


def with_vectors(view: View) -> View:
    rng = np.random.default_rng(3)
    kind = pa.list_(pa.float16())
    for shard, rows in view.store.shard_rows().items():
        values = pa.array(rng.standard_normal(rows * DIMENSIONS, np.float32).astype(np.float16))
        lists = pa.ListArray.from_arrays(np.arange(0, rows * DIMENSIONS + 1, DIMENSIONS, np.int32), values).cast(kind)
        columns = {
            "uid": view.store.read_part("records", shard, ["uid"])["uid"],
            "vector": lists,
            "vector_cluster": pa.array(rng.integers(0, CLUSTERS, rows), pa.int32()),
            "vector_cluster_cos": pa.array(rng.random(rows), pa.float32()),
        }
        view.store.write_part("vectors-0", shard, pa.table(columns))
    return view.with_table("vectors-0", ["vector", "vector_cluster", "vector_cluster_cos"])


def outside_of(view: View, folder: Path) -> str:
    """A table with a number, a text and a short vector for nine rows in ten."""
    uids = pl.concat([view.frame(shard, ["uid"]) for shard in view.store.shard_rows()])["uid"]
    chosen = uids.sample(fraction=0.9, shuffle=True, seed=0)
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((len(chosen), 64)).astype(np.float32)
    frame = pl.DataFrame({"uid": chosen, "score": rng.random(len(chosen)), "why": chosen.str.head(20), "v": vectors})
    frame.with_columns(pl.col("v").arr.to_list()).write_parquet(folder / "outside.parquet", row_group_size=100_000)
    return str(folder / "outside.parquet")


def mean_bytes(view: View, op: Any, columns: tuple[str, ...]) -> float:
    rows = AllRows.of(view, op)
    tables = [rows.read(shard, columns) for shard in rows.sizes()]
    return sum(table.nbytes for table in tables) / sum(table.num_rows for table in tables) + 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--limits", type=float, nargs="+", default=[0.5, 1, 4])
    parser.add_argument("--ops", nargs="+", default=["dedupe.exact", "dedupe.minhash"], choices=OPS)
    parser.add_argument("--alike", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="curate-memory-"))
    try:
        view = store_of(folder, options.rows, options.alike)
        if "dedupe.semantic" in options.ops:
            view = with_vectors(view)
        for name in options.ops:
            more = {"table": outside_of(view, folder)} if name == "score.join" else {}
            op: Any = load({name: OPS[name] | more})
            per_row = dict.fromkeys(("keys", "spread", "judge"), mean_bytes(view, op, op.carries()))
            bands = {}
            if isinstance(op, Linked):
                per_row |= dict.fromkeys(("keys", "pairs"), mean_bytes(view, op, op.compares()))
                bands = dict.fromkeys(("keys", "pairs"), op.bands())
            for limit in options.limits:
                cluster = Measured(workers=0, memory=int(limit * 1e9))
                cluster.peaks, began = {}, time.perf_counter()
                annotate(view, [op], cluster)
                print(f"{name} at {limit:g} GB, {options.rows:,} rows, {time.perf_counter() - began:.0f} s")
                for phase, (before, most, tasks) in cluster.peaks.items():
                    line = f"  {phase:<16} {tasks:>4} tasks   {before / 1e6:5,.0f} -> {most / 1e6:6,.0f} MB"
                    if bytes_of := per_row.get(phase):
                        rows = sum(AllRows.of(view, op).sizes().values())
                        held = rows * bands.get(phase, 1) / tasks
                        copies = (most - USUAL.imports) / held / bytes_of
                        line += f"   {bytes_of:.0f} bytes a row, {held:,.0f} rows: {copies:.1f} copies"
                    print(line, flush=True)
                manifest = view.store.manifest()
                table = next(f for f in manifest.tables if f.startswith(f"{op.table()}-"))
                manifest.tables.pop(table)
                manifest.current.pop(op.table())
                view.store.save(manifest)
                shutil.rmtree(folder / "store" / table)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
