"""Each kind of step killed with signal 9 at random moments, begun again, and compared file by file with a calm run.

    python tests/kills.py [--kills 20] [--seed 0] [--rows 400] [--workers 0] [--only download write]

A step begins on a copy of a store in which all steps before it are done. The driver is killed with all its workers,
or, every second time with `--workers`, one of its workers alone. The moments are drawn between the start of the command
and the seconds that a calm one took. A command that ends before it is killed counts as no kill. Prints a line for each
step and ends with 1 where a byte differs. A small part of this runs with `make soak` (tests/pipeline/test_pipeline.py).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import yaml

from curate.demo.pool import build
from curate.demo.server import serve

STEPS = """
- read: {input: "${input}", rows_per_shard: 30}
- download: {image_size: 128, timeout_seconds: 1, max_bytes: 2000000, allow_private_addresses: [127.0.0.0/8]}
- score: [words, text_rules, phash]
- dedupe: [exact: {by: sha256}, perceptual: {by: phash, radius: 2}]
- filter: {name: images, keep: [{if: words > 1, else: short}]}
- write: {samples_per_shard: 25}
"""

#: Beginnings of names whose files hold times, which differ from one run to the next.
WITH_TIMES = ("manifest.json", "report.html", "lease.json", "fetches-", "robots-", "write_notes")


def main() -> None:
    options = parse()
    steps = yaml.safe_load(STEPS)
    differences = 0
    with tempfile.TemporaryDirectory(prefix="kills.") as name, serve(Path(name) / "pool") as base_url:
        folder = Path(name)
        pool = build(folder / "pool", options.rows, base_url=base_url)
        before: Path | None = None
        for number, step in enumerate(steps):
            kind = next(iter(step))
            job = folder / f"{kind}.yaml"
            job.write_text(yaml.safe_dump({"name": "kills", "set": {"input": None}, "steps": steps[: number + 1]}))
            command = [sys.executable, "-m", "curate", "run", str(job), "--workers", str(options.workers)]
            command += ["--set", f"input={pool}", "--set"]
            calm, seconds = calm_run(folder, kind, command, before)
            if not options.only or kind in options.only:
                differences += killed(folder, kind, command, before, calm, seconds, options)
            before = calm
    sys.exit(min(1, differences))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--workers", type=int, default=0, help="0: in the process of the command, without Ray")
    parser.add_argument("--only", nargs="*", default=[], help="kinds of steps")
    return parser.parse_args()


def calm_run(folder: Path, kind: str, command: list[str], before: Path | None) -> tuple[Path, float]:
    """The store behind a step, and the seconds that its command took."""
    root = copied(before, folder / f"{kind}-calm")
    began = time.monotonic()
    subprocess.run([*command, f"root={root}"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return root, time.monotonic() - began


def copied(before: Path | None, root: Path) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    if before:
        shutil.copytree(before, root)
    return root


def killed(
    folder: Path,
    kind: str,
    command: list[str],
    before: Path | None,
    calm: Path,
    seconds: float,
    options: argparse.Namespace,
) -> int:
    """Kill a step until it was killed often enough; how many files differ at its ends. A step that is whole before
    that begins anew."""
    draw = random.Random(f"{options.seed} {kind}")
    expected, root = digests(calm), folder / f"{kind}-killed"
    kills = ends = differing = 0
    while kills < options.kills:
        copied(before, root)
        whole = False
        while not whole:
            last = kills >= options.kills
            moment = None if last else draw.uniform(0, seconds)
            whole, kill = run([*command, f"root={root}"], moment, options.workers and draw.random() < 0.5)
            kills += kill
        ends += 1
        got = digests(root)
        different = sorted(name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name))
        differing += len(different)
        if different:
            print(f"  {kind}: {len(different)} files differ: {different[:5]}")
    print(f"{kind}: killed {kills} times, whole {ends} times, {differing} of {len(expected)} files differ", flush=True)
    return differing


def run(command: list[str], moment: float | None, a_worker: bool) -> tuple[bool, bool]:
    """Whether the command ended, and whether something was killed."""
    kill = False
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _, said = process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        if a_worker and kill_worker(process.pid):
            kill = True
            _, said = process.communicate()
        else:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return False, True
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{said}")
    return True, kill


def kill_worker(driver: int) -> bool:
    workers = [
        child for child in psutil.Process(driver).children(recursive=True) if child.name().startswith("ray::Worker")
    ]
    for worker in workers[:1]:
        worker.kill()
    return bool(workers)


def digests(root: Path) -> dict[str, str]:
    """sha256 of every file that holds no times."""
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files.items()
        if not name.startswith(WITH_TIMES)
    }


if __name__ == "__main__":
    main()
