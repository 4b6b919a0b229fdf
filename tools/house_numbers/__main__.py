"""The house in numbers: `python tools/house_numbers [TREE ...]`, a column per checkout of curate, this one without any.

Each tree's own code is read, and run once: eight steps over made pairs, served from this machine. It takes a minute a
tree and the packages of the extra `demo`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from layout import layout_numbers

HERE = Path(__file__).parent

#: What the numbers are to be, where there is a goal.
GOALS = {
    "rooms": "<= 32",
    "floors of imports": "<= 12",
    "circles of files": "0",
    "circles of rooms": "0",
    "arrows back up": "0",
    "manifest reads in eight steps": "<= 12",
}


def run_numbers(tree: Path) -> dict[str, object]:
    """What one run of a tree's own code shows, in a process that imports it."""
    process = subprocess.run(
        [sys.executable, str(HERE / "eight_steps.py")],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        capture_output=True,
        text=True,
    )
    if process.returncode:
        sys.exit(f"the eight steps failed in {tree}:\n{process.stdout}{process.stderr}")
    numbers: dict[str, object] = json.loads(process.stdout.rpartition("NUMBERS ")[2])
    return numbers


def main(*trees: str) -> None:
    """Print a table in Markdown."""
    paths = [Path(tree).resolve() for tree in trees or [str(HERE.parent.parent)]]
    columns = [{**layout_numbers(path), **run_numbers(path)} for path in paths]
    print(f"| | {' | '.join(path.name for path in paths)} | goal |")
    print("| --- " * (len(paths) + 2) + "|")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(str(column[name]) for column in columns)} | {GOALS.get(name, '')} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
