"""Removes the same rows of a store again and again, killed at another write each time, then goes on: a process of its
own, which forks while it has no threads.

    python killed_removals.py STORE FOLDER ARGUMENTS(JSON) EVERY

EVERY: each so manieth write or deletion; or `moments:20`, so many moments that a seed draws. It
prints a line for each kill after which the bytes are not those of a removal that nobody disturbed, and `kills <n>`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bytes_on_disk import contents, hashes

import curate.remove.bare_shards
import curate.remove.step
from curate import api
from curate.store.folder import Folder

MOMENTS = ("before", "torn", "after")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(number: int, moment: str) -> None:
    """Kill this process at one of its writes or deletions."""
    writing, remove = Folder.writing, Folder.remove
    left = number

    @contextlib.contextmanager
    def deadly_writing(self: Folder, name: str) -> Iterator[Any]:
        nonlocal left
        left -= 1
        now = left == -1
        if now and moment == "before":
            die()
        with writing(self, name) as file:
            if now and moment == "torn":
                file.write(b"torn")
                file.flush()
                die()
            yield file
        if now:
            die()

    def deadly_remove(self: Folder, name: str) -> None:
        nonlocal left
        left -= 1
        if left == -1 and moment == "before":
            die()
        remove(self, name)
        if left == -1:
            die()

    Folder.writing, Folder.remove = deadly_writing, deadly_remove  # type: ignore[method-assign]


def in_a_fork(task: Callable[[], None], kill_after: float | None = None) -> int:
    """Do a task in a process of its own; returns how it ended, as `os.waitpid` says it.

    kill_after: seconds after which it is killed, unless it has ended.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            task()
            status = 0
        except Exception:  # noqa: BLE001 - said, and seen by its exit code
            traceback.print_exc()
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)  # a process that has ended is waited for below: its number is no one else's
    return os.waitpid(pid, 0)[1]


def main(store: str, folder: str, arguments: str, every: str) -> None:
    options = json.loads(arguments)
    for module in (curate.remove.step, curate.remove.bare_shards):
        module.now = lambda: "2026-01-02 03:04:05 UTC"  # type: ignore[attr-defined]
    root = Path(folder) / "store"

    def begin() -> None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(store, root)

    def remove() -> None:
        api.remove(str(root), **options)

    def compared(what: str) -> None:
        """Go on with the removal, and look whether it ends as the calm one."""
        if in_a_fork(remove) != 0:
            print(f"kill {what}: cannot go on", flush=True)
            return
        after = hashes(contents(str(root)))
        if other := sorted(n for n in {*after, *expected} if after.get(n) != expected.get(n)):
            print(f"kill {what}: other bytes in {other}", flush=True)

    begin()
    began = time.monotonic()
    assert in_a_fork(remove) == 0
    seconds = time.monotonic() - began
    expected = hashes(contents(str(root)))
    kills, number = 0, 0
    if every.startswith("moments:"):
        draw = random.Random(0)
        for number in range(int(every.partition(":")[2])):
            begin()
            moment = draw.uniform(0.0, seconds)
            kills += in_a_fork(remove, moment) != 0
            compared(f"{number} after {moment:.2f} s")
        print(f"kills {kills}", flush=True)
        return
    while True:
        begin()
        which = MOMENTS[number % len(MOMENTS)]

        def killed(number: int = number, which: str = which) -> None:
            arm(number, which)
            remove()

        if in_a_fork(killed) == 0:
            break
        kills += 1
        compared(f"{number} {which}")
        number += int(every)
    print(f"kills {kills}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
