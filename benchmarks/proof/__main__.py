"""A whole-dataset op on as many rows as the disk holds: it is killed, goes on, and is compared with brute force.

    python benchmarks/proof minhash|perceptual|semantic --rows 1000000 --to FOLDER [--memory 1GB] [--workers 1]

Makes rows with planted near copies (rows.py), reads them into a store, runs the op on Ray, kills it with signal 9 as
often as `--kills` says, in turn the driver with all workers and one worker, and does the same again until it is whole
(watch.py). Then a sample of groups is made anew by brute force over all rows (check.py). Prints what each phase took.
It can be killed itself at any moment: the same command goes on. A million rows take a minute or two.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from rows import write_file

ROWS_PER_SHARD = 10_000
ROWS_PER_FILE = 1_000_000


def main() -> None:
    options = parse()
    folder = Path(options.to)
    if options.step:
        from step import do

        do(str(folder / "store"), json.loads(options.step), str(folder / "notes"), options.workers, options.memory)
        return
    folder.mkdir(parents=True, exist_ok=True)
    same_run(folder, options)
    from watch import Watch, bytes_below

    command = [sys.executable, str(Path(__file__).parent), *sys.argv[1:]]
    watch = Watch(folder, command, options.kills)
    make_store(folder, watch, options)
    for spec in specs(options):
        name = next(iter(spec))
        if not (folder / f"{name}.done").exists():
            watch.run(name, {"op": spec}, killed=spec == specs(options)[-1])
            (folder / f"{name}.done").touch()
    print_table(watch, options, bytes_below(folder / "store"))
    compare(folder, options)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["minhash", "perceptual", "semantic"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--to", required=True, help="folder of the run; a run that is there is gone on with")
    parser.add_argument("--memory", default="1GB", help="of one worker")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--sample", type=int, default=200, help="rows whose groups are made anew by brute force")
    parser.add_argument("--options", type=json.loads, default={}, help='of the op, as JSON: {"pieces": 5}')
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    return parser.parse_args()


def same_run(folder: Path, options: argparse.Namespace) -> None:
    """A folder is of one run: what decides its bytes is noted there."""
    ours = {name: getattr(options, name) for name in ("kind", "rows", "seed", "options")}
    file = folder / "run.json"
    if file.exists() and json.loads(file.read_text()) != ours:
        raise SystemExit(f"{folder} is of another run, {file.read_text()}: give another --to")
    file.write_text(json.dumps(ours))


def specs(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The ops of a run, the one that is proven last."""
    if options.kind == "minhash":
        return [{"dedupe.minhash": options.options}]
    if options.kind == "perceptual":
        return [{"dedupe.perceptual": {"by": "phash", "colours": None, **options.options}}]
    k = max(16, options.rows // 5_000)
    return [
        {"balance.clusters": {"by": "v", "k": k, "iterations": 10}},
        {"dedupe.semantic": {"by": "v", **options.options}},
    ]


def make_store(folder: Path, watch: Any, options: argparse.Namespace) -> None:
    source = folder / "input"
    if (folder / "read.done").exists():
        shutil.rmtree(source, ignore_errors=True)
        return
    source.mkdir(exist_ok=True)
    began = time.monotonic()
    for number, first in enumerate(range(0, options.rows, ROWS_PER_FILE)):
        path = source / f"{number:05d}.parquet"
        if not path.exists():
            write_file(path, options.kind, options.seed, first, min(ROWS_PER_FILE, options.rows - first))
    print(f"rows made in {time.monotonic() - began:.0f} s", flush=True)
    watch.run("read", {"read": str(source), "shard": ROWS_PER_SHARD})
    (folder / "read.done").touch()
    shutil.rmtree(source)


def print_table(watch: Any, options: argparse.Namespace, store_bytes: int) -> None:
    million = options.rows / 1e6
    print(f"\n{options.kind}, {options.rows:,} rows, --memory {options.memory} --workers {options.workers}")
    print("| phase | items | wall s | processor s | s/M | peak of the driver | of a worker | `.work`, bytes a row |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, taken in watch.taken.items():
        driver, worker = (taken.peaks.get(sort, 0) / 1e6 for sort in ("driver", "worker"))
        cells = [f"{taken.items:,}", f"{taken.seconds:,.0f}", f"{taken.cpu:,.0f}", f"{taken.cpu / million:.1f}"]
        cells += [f"{driver:,.0f} MB", f"{worker:,.0f} MB" if worker else "", f"{taken.work / options.rows:,.0f}"]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\nkilled {len(watch.killed)} times" + "".join(f"\n- {killed}" for killed in watch.killed))
    print(
        f"\nstarted {watch.attempts} times; {watch.highest / 1e9:.1f} GB on the disk at most, "
        f"{store_bytes / 1e9:.2f} GB in the end; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


def compare(folder: Path, options: argparse.Namespace) -> None:
    from check import check

    from curate.store.store import Store

    began = time.monotonic()
    result = check(Store(str(folder / "store")), options.kind, specs(options)[-1], options.sample, ROWS_PER_SHARD)
    print(f"\nbrute force over all rows, {time.monotonic() - began:.0f} s:")
    for name, value in result.items():
        print(f"- {name}: {value:,}" if isinstance(value, int) else f"- {name}: {value}")
    (folder / "check.json").write_text(json.dumps(result))
    if result.get("groups not equal, first") or result.get("not equal, first"):
        raise SystemExit("not equal to brute force")


if __name__ == "__main__":
    main()
