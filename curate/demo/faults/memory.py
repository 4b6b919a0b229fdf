"""What processes take at most while something runs, seen from outside."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterator

import psutil

LOOK_SECONDS = 0.2


def is_worker(process: psutil.Process) -> bool:
    """Whether a process does work for Ray; Ray's agents have such titles too."""
    with contextlib.suppress(psutil.Error):
        title = " ".join(process.cmdline())
        return title.startswith("ray::") and "Agent" not in title
    return False


def below(but: int | None = None) -> list[psutil.Process]:
    """All processes that this one started, and theirs, without `but` and its own."""
    processes: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children():
            if child.pid != but:
                with contextlib.suppress(psutil.Error):
                    processes += [child, *child.children(recursive=True)]
    return processes


@contextlib.contextmanager
def peaks(server: int) -> Iterator[dict[str, int]]:
    """Bytes of the largest process of each sort (`driver`, `worker`, `Ray itself`) that this one started, but for the
    server: filled while the block runs."""
    largest: defaultdict[str, int] = defaultdict(int)
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            for process in below(server):
                with contextlib.suppress(psutil.Error):
                    title = " ".join(process.cmdline())
                    sort = "worker" if is_worker(process) else "driver" if " run " in title else "Ray itself"
                    largest[sort] = max(largest[sort], process.memory_info().rss)

    thread = threading.Thread(target=look, name="peaks", daemon=True)
    thread.start()
    try:
        yield largest
    finally:
        over.set()
        thread.join()
