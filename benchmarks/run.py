"""Rows a second of every step of the demo pipeline, what the framework costs, what a rerun costs, and peak memory.

    python benchmarks/run.py [--rows 1000] [--workers 2]
    python benchmarks/run.py --memory [--memory-rows 1000 10000]
    python benchmarks/run.py --nodes 2 [--rows 100000]

Three sections on a generated pool that another process serves on this machine. Steps: a first run of
`pipelines/demo.yaml`, cold. Overhead: the loop that anybody would write (decode, then the same ops, in one process)
beside `annotate` without Ray and with one Ray worker, on the same pictures, in turn. Rerun: another threshold, and
nothing changed; it fails when a score, record or image was touched. With --memory only the fourth: peak memory of each
command, in a process of its own without Ray, while the input grows. With --nodes only what benchmarks/nodes.py does.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from nodes import on_nodes

from curate.annotate import step as scoring
from curate.annotate.one_shard import OneShard, ShardReport
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.demo.pool import build
from curate.op import Op, Score
from curate.pictures.decoded import decode
from curate.pipeline.file import load_pipeline
from curate.pipeline.steps import Pipeline
from curate.read.options import ReadOptions
from curate.read.step import read
from curate.run import run
from curate.store.store import Store
from curate.store.tar import TarFile

OPS: tuple[Any, ...] = ("score.phash", {"score.clip": {"model": "lite0-minilm", "name": "match"}})
ROWS_PER_SHARD = 250


def main() -> None:
    options = parse()
    print(hardware("ray", "torch", "pyarrow", "polars", "img2dataset"))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.memory:
            memory(Path(folder), options.memory_rows)
            return
        if options.nodes:
            for line in on_nodes(options.nodes, options.rows or 100_000, Path(folder)):
                print(line, flush=True)
            return
        options.rows = options.rows or 1000
        cluster = Cluster(workers=options.workers)
        if options.workers != 0:
            start = time.perf_counter()
            cluster.start()
            print(f"Ray's start-up {time.perf_counter() - start:.1f} s, once a run, in no number below")
        try:
            with serving(Path(folder) / "pool") as base_url:
                start = time.perf_counter()
                pool = build(Path(folder) / "pool", options.rows, base_url=base_url)
                print(f"pool of {options.rows:,} rows built in {time.perf_counter() - start:.1f} s")
                variables = {"input": str(pool), "root": f"{folder}/store", "allow": ["127.0.0.0/8"]}
                first = steps(variables, cluster)
                rerun(variables, cluster, first)
            overhead(Path(folder), options.pictures, options.rounds)
        finally:
            cluster.stop()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=int, help="rows of the pool, default 1,000; with --nodes of captions, default 100,000"
    )
    parser.add_argument("--workers", type=int, help="of the pipeline; 0 is without Ray; default: all CPUs")
    parser.add_argument("--pictures", type=int, default=400, help="rows of the overhead section, at most")
    parser.add_argument("--rounds", type=int, default=2, help="of the overhead section")
    parser.add_argument("--memory", action="store_true", help="only the memory section")
    parser.add_argument("--memory-rows", type=int, nargs=2, default=[1000, 10_000], metavar=("FEW", "MANY"))
    parser.add_argument(
        "--nodes", type=int, help="only one pipeline on a Ray cluster of so many nodes, all of this machine"
    )
    parser.add_argument("--folder", help="where the temporary files go; default: the system's place")
    return parser.parse_args()


def hardware(*packages: str) -> str:
    """One line that belongs to every number: the machine, Python, and the versions that matter."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("curate", *packages))
    busy = f"load {os.getloadavg()[0]:.1f}"
    return f"{model}, {os.cpu_count()} cores, {ram:.0f} GB, {busy}; Python {platform.python_version()}, {versions}"


@contextlib.contextmanager
def serving(folder: Path, delay_seconds: float = 0) -> Iterator[str]:
    """The demo's web server in a process of its own: in this one it would share the interpreter with what is timed."""
    command = [sys.executable, "-m", "curate.demo.server", str(folder), "--port", "0"]
    command += ["--delay-seconds", str(delay_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().rsplit(" ", 1)[-1].strip()
        finally:
            server.terminate()


# ---- the steps ----


def steps(variables: dict[str, Any], cluster: Cluster) -> float:
    """A first run; prints rows a second of each step and returns the seconds of all."""
    pipeline = load_pipeline("demo", variables)
    start = time.perf_counter()
    result = run(pipeline, cluster)
    total = time.perf_counter() - start
    entered = rows_by_step(pipeline, result["funnel"])
    print(f"\nSteps, cold ({result['written']['samples']:,} of {entered['read']:,} rows are written)")
    for label, seconds in result["seconds"].items():
        rows = entered[label]
        print(f"  {label[:60]:60} {rows:7,} rows {seconds:7.2f} s {rows / max(seconds, 0.01):9,.0f} rows/s")
    print(f"  {'all':60} {entered['read']:7,} rows {total:7.2f} s {entered['read'] / total:9,.0f} rows/s")
    manifest = Store(variables["root"]).manifest()
    tables = [table for folder in manifest.tables if (table := manifest.op_table(folder))]
    spent = ", ".join(f"{table.name} {table.seconds:.2f}" for table in tables if table.seconds)
    print(f"  of this inside the scores themselves, seconds over all workers: {spent}")
    return total


def rows_by_step(pipeline: Pipeline, funnel: list[dict[str, Any]]) -> dict[str, int]:
    """Rows that enter each step, by the label that the run gives it."""
    by_filter = {step["step"]: step for step in funnel}
    now, found = funnel[0]["entered"], {}
    for step in pipeline.steps:
        found[step.label()] = now
        if step.name in by_filter:
            now = by_filter[step.name]["kept"]
    return found


# ---- a rerun ----


def rerun(variables: dict[str, Any], cluster: Cluster, first: float) -> None:
    """The same run again, with nothing changed and with another threshold."""
    print(f"\nRerun (the first run took {first:.2f} s)")
    root = Path(variables["root"])
    for label, changed in (("nothing changed", {}), ("another threshold", {"threshold": 0.35})):
        before = untouchable(root)
        start = time.perf_counter()
        run(load_pipeline("demo", variables | changed), cluster)
        seconds = time.perf_counter() - start
        if untouchable(root) != before:
            raise SystemExit(f"{label}: a score, a record or an image was written again")
        print(f"  {label:20} {seconds:7.2f} s, {first / seconds:6.1f} times as fast; no score was computed again")


def untouchable(root: Path) -> dict[str, tuple[int, int]]:
    """Every file of the records, images and scores, with size and time."""
    manifest = Store(str(root)).manifest()
    scores = {f for f in manifest.tables if (table := manifest.op_table(f)) and table.complete is not None}
    folders = [root / "records", *root.glob("images-*"), *(root / folder for folder in scores)]
    return {str(f): (f.stat().st_size, f.stat().st_mtime_ns) for folder in folders for f in folder.iterdir()}


# ---- what the framework costs ----


class TimedPass(OneShard):
    """The product's own work on a shard, which leaves beside the store when it was set up and called."""

    def setup(self) -> None:
        made = time.time()
        super().setup()
        self.log = Path(f"{self.view.store.url}-times")
        self.log.mkdir(exist_ok=True)
        self._note("made", made, 0.0)

    def __call__(self, shard: int) -> ShardReport:
        began, cpu = time.time(), time.process_time()
        report = super().__call__(shard)
        if isinstance(report, Future):
            report = report.result()
        self._note(f"shard-{shard}", began, time.process_time() - cpu)
        return report

    def _note(self, name: str, began: float, cpu: float) -> None:
        (self.log / f"{name}.json").write_text(json.dumps([began, time.time(), cpu]))


def overhead(folder: Path, most: int, rounds: int) -> None:
    """Prints seconds per 1,000 rows of the bare loop, of annotate in this process, and of annotate with Ray."""
    source, rows = picture_tar(folder, most)
    ops = [load(spec) for spec in OPS]
    start = time.perf_counter()
    for op in ops:
        assert isinstance(op, Score)
        op.setup()
    print(f"\nOverhead of annotate, phash and clip (lite0-minilm), {rows:,} rows, one thread of the model")
    print(f"  the model's first load in a process {time.perf_counter() - start:.1f} s, not in the bare loop")
    bare(source, ops, 64)  # the first batches are slower
    labels = ("bare loop", "annotate, this process", "annotate, 1 Ray worker")
    seen: dict[str, list[dict[str, float]]] = {label: [] for label in labels}
    ray = Cluster(workers=1)
    ray.start()
    for number in range(rounds):
        seen["bare loop"].append(bare(source, ops))
        for label, cluster in zip(labels[1:], (Cluster(workers=0), ray), strict=True):
            root = folder / f"overhead-{number}-{cluster.workers}"
            seen[label].append(annotated(root, source, cluster))
    ray.stop()
    print_overhead(seen, 1000 / rows)


def picture_tar(folder: Path, most: int) -> tuple[Path, int]:
    """The pictures and captions of the pool's rows that have both, as a WebDataset tar."""
    pool = pl.read_parquet(folder / "pool" / "pool.parquet").drop_nulls()
    target, count = folder / "pictures.tar", 0
    with target.open("wb") as file:
        tar = TarFile(file)
        for url, text in pool.iter_rows():
            path = folder / "pool" / "files" / url.partition("/ok/")[2]
            if path.is_file() and count < most:
                tar.add(f"{count:06d}{path.suffix}", path.read_bytes())
                tar.add(f"{count:06d}.txt", text.encode())
                count += 1
        tar.close()
    return target, count


def bare(source: Path, ops: list[Op], most: int | None = None) -> dict[str, float]:
    """Decode and score, batch after batch, in one thread: nothing is stored."""
    view = read(Store(tempfile.mkdtemp(dir=source.parent)), ReadOptions(input=str(source)), Cluster(workers=0))
    assert view.images is not None
    where = view.store.read_part(view.images, 0, ["offset", "size"]).to_pydict()  # all are in one shard
    texts = view.store.read_part("records", 0, ["text"])["text"].to_pylist()
    begin, cpu = time.perf_counter(), time.process_time()
    with source.open("rb") as file:
        for start in range(0, most or len(texts), 64):
            batch, pictures = slice(start, start + 64), []
            for offset, size in zip(where["offset"][batch], where["size"][batch], strict=True):
                file.seek(offset)
                pictures.append(decode(file.read(size)).image)
            captions = pa.array(texts[batch], pa.large_string())
            for op in ops:
                assert isinstance(op, Score)
                op.apply({"text": captions}, pictures)
    return {"wall": time.perf_counter() - begin, "cpu": time.process_time() - cpu}


def annotated(root: Path, source: Path, cluster: Cluster) -> dict[str, float]:
    """One cold `annotate` of a new store, and where its time went."""
    options = ReadOptions(input=str(source), rows_per_shard=ROWS_PER_SHARD)
    view = read(Store(str(root)), options, Cluster(workers=0))
    ops = [load(spec) for spec in OPS]
    for op in ops:
        op.spec()  # the hash of the weights is taken once a process
    product, scoring.OneShard = scoring.OneShard, TimedPass  # type: ignore[misc]
    began = time.time()
    try:
        scoring.annotate(view, ops, cluster)
    finally:
        scoring.OneShard = product  # type: ignore[misc]
    ended = time.time()
    log = {f.stem: json.loads(f.read_text()) for f in Path(f"{root}-times").iterdir()}
    made = log.pop("made")
    inside = sum(end - begin for begin, end, _ in log.values())
    last = max(end for _, end, _ in log.values())
    return {
        "wall": ended - began,
        "cpu": sum(cpu for *_, cpu in log.values()),
        "start": made[0] - began,
        "setup": made[1] - made[0],
        "shards": inside,
        "between": last - made[1] - inside,
        "end": ended - last,
    }


def print_overhead(seen: dict[str, list[dict[str, float]]], scale: float) -> None:
    middle = {label: {k: statistics.median(r[k] for r in runs) for k in runs[0]} for label, runs in seen.items()}
    base = middle["bare loop"]
    print("  seconds per 1,000 rows                 wall   processor     medians of", len(seen["bare loop"]), "rounds")
    print(f"  {'bare loop':34} {base['wall'] * scale:8.2f} {base['cpu'] * scale:11.2f}")
    for label, run_ in middle.items():
        if label == "bare loop":
            continue
        grows = run_["shards"] + run_["between"]
        print(
            f"  {label:34} {grows * scale:8.2f} {run_['cpu'] * scale:11.2f}     {grows / base['wall'] - 1:+.1%} wall, "
            f"{run_['cpu'] / base['cpu'] - 1:+.1%} processor; between shards {run_['between'] / grows:.2%}"
        )
        fixed = {"worker": run_["start"], "model": run_["setup"], "notes": run_["end"]}
        once = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in fixed.items())
        print(f"  {'':34} and once a step, whatever its rows: {once}")


# ---- memory ----


def memory(folder: Path, rows: list[int]) -> None:
    """Prints each command's peak memory at two sizes of the input."""
    with serving(folder / "pool") as base_url:
        few, many = (peaks(folder / str(n), base_url, n) for n in rows)
    print(f"\nPeak memory (largest resident set) of each command without Ray, shards of {ROWS_PER_SHARD} rows")
    floor = peak([sys.executable, "-c", "import curate.cli, curate.pipeline.file"])
    print(f"  {'the imports alone':10} {floor:22.0f} MB")
    for verb in few:
        grown = many[verb] - few[verb]
        flat = "flat" if grown <= max(20, 0.1 * few[verb]) else "GROWS"
        print(
            f"  {verb:10} {rows[0]:8,} rows {few[verb]:6.0f} MB, {rows[1]:8,} rows {many[verb]:6.0f} MB: "
            f"{grown:+.0f} MB, {flat}"
        )


def peaks(folder: Path, base_url: str, rows: int) -> dict[str, float]:
    """Megabytes by command. Some pictures under many urls: what matters is how many rows there are."""
    pool = folder.parent / "pool"
    if not (pool / "pool.parquet").exists():
        build(pool, 200, base_url=base_url)
    good = pl.read_parquet(pool / "pool.parquet").filter(pl.col("url").str.contains("/ok/"))
    many = pl.concat([good] * -(-rows // len(good))).head(rows).with_row_index("n")
    folder.mkdir()
    many.select(url=pl.format("{}?n={}", "url", "n"), text="text").write_parquet(folder / "pool.parquet")
    store = str(folder / "store")
    read_file, download_file = folder / "read.yaml", folder / "download.yaml"
    fetching = "image_size: 256, allow_private_addresses: [127.0.0.0/8]"
    reading = f"input: {folder}/pool.parquet, rows_per_shard: {ROWS_PER_SHARD}"
    read_file.write_text(f"steps: [{{read: {{{reading}}}}}]\n")
    download_file.write_text(f"steps: [{{download: {{{fetching}}}}}]\n")
    commands = {
        "read": ["run", str(read_file), "--set", f"root={store}", "--workers", "0"],
        "download": ["run", str(download_file), "--set", f"root={store}", "--workers", "0"],
        "annotate": ["score", store, "score.words", "score.phash", "--after", "download", "--workers", "0"],
        "filter": ["filter", store, "--where", "words > 4", "--name", "wordy"],
        "write": ["write", store, "--keep", "wordy", "--workers", "0"],
    }
    found = {}
    for verb, command in commands.items():
        found[verb] = peak([sys.executable, "-m", "curate", *command])
        print(f"  {rows:,} rows: {verb} {found[verb]:.0f} MB", file=sys.stderr)
    return found


#: A child's peak begins with that of the process that started it, so a small one is put in between.
_LAUNCH = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def peak(command: list[str]) -> float:
    """Peak memory of a command in megabytes."""
    done = subprocess.run([sys.executable, "-S", "-c", _LAUNCH, *command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return int(done.stdout) / (1024 if sys.platform.startswith("linux") else 1024**2)  # macOS counts bytes


if __name__ == "__main__":
    main()
