"""Seconds of whole commands, imports and Ray's start included: `curate run demo`, first and again.

    python benchmarks/commands.py [--rows 2000] [--rounds 3]

On a generated pool that another process serves on this machine. The first run compiles the kernels into an empty cache,
as after an install; the second, into another store, finds them there. Then the second again with nothing changed, and
with another threshold each time: medians. Seconds of the processor are those of the command and of all that it starts
and waits for; Ray's own processes are not among them.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import hardware, serving

from curate.demo.pool import build

Spent = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(hardware("ray", "numba"))
    with tempfile.TemporaryDirectory() as name, serving(Path(name) / "pool") as base_url:
        folder = Path(name)
        pool = build(folder / "pool", options.rows, base_url=base_url)
        runs = {
            "first run, kernels compiled": [spent(folder, pool, "first", 0.3)],
            "first run, kernels there": [spent(folder, pool, "second", 0.3)],
            "nothing changed": [spent(folder, pool, "second", 0.3) for _ in range(options.rounds)],
            "another threshold": [spent(folder, pool, "second", 0.31 + n / 100) for n in range(options.rounds)],
        }
    for name, all_spent in runs.items():
        wall, cpu = (statistics.median(values) for values in zip(*all_spent, strict=True))
        print(f"{name:28} {options.rows:,} rows {wall:7.1f} s, {cpu:7.1f} of the processor")


def spent(folder: Path, pool: Path, store: str, threshold: float) -> Spent:
    """Seconds of one command by the clock, and of the processor."""
    variables = [f"input={pool}", f"root={folder / store}", "allow=[127.0.0.0/8]", f"threshold={threshold}"]
    command = [sys.executable, "-m", "curate", "run", "demo"]
    command += [part for variable in variables for part in ("--set", variable)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "kernels")}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
