"""The fault web from end to end: serve, `curate run`, look at what came; once undisturbed, once killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from curate.cluster.local_nodes import LocalNodes
from curate.demo.faults.check import Checked, check, print_checked
from curate.demo.faults.kills import Killer
from curate.demo.faults.memory import peaks
from curate.demo.faults.same import differences
from curate.demo.faults.server import books_of
from curate.demo.faults.web import Web
from curate.messages.terminal import Terminal

#: Seconds that the server may take until it listens at all addresses.
START_SECONDS = 60.0


@contextlib.contextmanager
def server_of(folder: Path) -> Iterator[int]:
    """The pid of a process that serves the web of a folder, with books that are empty."""
    port = Web.load(folder).port
    process = subprocess.Popen(
        [sys.executable, "-m", "curate.demo.faults", "serve", "--to", str(folder)], stdout=subprocess.DEVNULL
    )
    try:
        began = time.monotonic()
        while True:
            with contextlib.suppress(OSError):
                books_of(port)
                break
            if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise SystemExit("error: the server of the fault web did not start")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def command_of(folder: Path, store: Path, workers: int | None, address: str | None) -> list[str]:
    """`curate run` of the web's pipeline."""
    command = [sys.executable, "-m", "curate", "run", str(folder / "web.yaml"), "--set", f"root={store.resolve()}"]
    command += ["--workers", str(workers)] if workers is not None else []
    return [*command, *(["--address", address] if address else [])]


def undisturbed(
    folder: Path, store: Path, workers: int | None, nodes: LocalNodes | None, out: Terminal
) -> tuple[Checked, float]:
    """What came of a run, and the seconds that it took; its peaks of memory are printed.

    Raises:
        SystemExit: when the run fails.
    """
    with server_of(folder) as server, peaks(server) as largest:
        began = time.monotonic()
        done = subprocess.run(command_of(folder, store, workers, nodes.address if nodes else None), check=False)
        seconds = time.monotonic() - began
        books = books_of(Web.load(folder).port)
    if done.returncode:
        raise SystemExit(f"error: the run ended with {done.returncode}")
    checked = check(folder, str(store), books)
    memory = ", ".join(f"{sort} {most / 1e6:,.0f} MB" for sort, most in sorted(largest.items()))
    checked.notes.append(f"{seconds:.0f} s; largest processes: {memory}")
    print_checked(checked, out)
    return checked, seconds


def killed(folder: Path, store: Path, whole: Path, killer: Killer, workers: int | None, out: Terminal) -> Checked:
    """What came of a run that was killed on its way, its files beside those of `whole`."""
    with server_of(folder) as server:
        killer.server = server
        killer.run(command_of(folder, store, workers, killer.nodes.address if killer.nodes else None))
        books = books_of(Web.load(folder).port)
    checked = check(folder, str(store), books, attempts=1 + len(killer.done))
    files, words = differences(whole, store)
    checked.faults += [f"{name}: not the file of the undisturbed run" for name in files]
    checked.notes += [f"killed: {one}" for one in killer.done]
    checked.notes.append(f"{killer.begun} times begun; {len(files)} files differ from the undisturbed run's")
    if words:
        checked.notes.append(
            f"{len(words)} parts of images differ in error messages alone: whether a row was asked for"
        )
    print_checked(checked, out)
    return checked
