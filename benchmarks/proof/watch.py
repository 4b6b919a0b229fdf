"""Runs a step again and again until it is whole; kills it; notes what each phase takes.

Peaks are VmHWM of every process, begun anew at each phase. Seconds of the processor are those of all processes of the
step, Ray's own among them. Seconds of a phase that was killed count: they were taken.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

LOOK_EVERY, WEIGH_EVERY = 0.2, 5.0


def is_worker(title: str) -> bool:
    """Whether a process of this title does items; Ray's agents have such titles too, and one that dies ends Ray."""
    return title.startswith("ray::") and "Agent" not in title


def bytes_below(folder: Path) -> int:
    """Bytes of all files, those that vanish meanwhile left out."""
    total, todo = 0, [folder]
    while todo:
        with contextlib.suppress(FileNotFoundError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
    return total


@dataclass
class Taken:
    """What a phase took: seconds; bytes of memory, of the largest process of each sort; bytes of `.work` at most."""

    seconds: float = 0.0
    cpu: float = 0.0
    items: int = 0
    peaks: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    work: int = 0
    kills: int = 0


@dataclass
class Watch:
    """folder: of the run; what is known of it goes to `taken.json` there and is gone on with.

    kills: how often to kill at most, in turn the step with all its workers and one worker: twice in a phase.
    """

    folder: Path
    command: list[str]
    kills: int

    def __post_init__(self) -> None:
        self.notes, self.file = self.folder / "notes", self.folder / "taken.json"
        known: dict[str, Any] = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.taken = {name: Taken(**value) for name, value in known.get("phases", {}).items()}
        for value in self.taken.values():
            value.peaks = defaultdict(int, value.peaks)
        self.killed: list[str] = known.get("killed", [])
        self.highest: int = known.get("highest", 0)
        self.attempts: int = known.get("attempts", 0)

    def save(self) -> None:
        tree = {
            "phases": {name: vars(value) for name, value in self.taken.items()},
            "killed": self.killed,
            "highest": self.highest,
            "attempts": self.attempts,
        }
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(tree, indent=1))
        part.rename(self.file)

    def run(self, name: str, what: dict[str, Any], killed: bool = False) -> None:
        """Until it ends by itself. killed: whether it is killed on its way.

        Raises:
            SystemExit: when it fails without having been killed.
        """
        while not self._attempt(name, what, killed):
            print(f"{name}: goes on with the same command", flush=True)

    def _attempt(self, name: str, what: dict[str, Any], killed: bool) -> bool:
        self.attempts += 1
        self.notes.write_text("")
        command = [*self.command, "--step", json.dumps(what)]
        with (self.folder / "log").open("a") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log)
        watched = _Watched(self, name, child)
        while child.poll() is None:
            time.sleep(LOOK_EVERY)
            watched.look()
            if killed:
                watched.perhaps_kill()
        watched.end()
        if child.returncode and not watched.was_killed:
            raise SystemExit(f"{name} failed with {child.returncode}: see {self.folder / 'log'}")
        return not child.returncode


class _Watched:
    """One attempt."""

    def __init__(self, watch: Watch, name: str, child: subprocess.Popen[bytes]):
        self.watch, self.name, self.child = watch, name, child
        self.phase, self.items, self.done = f"{name}: start", 0, 0
        self.at = self.began = time.monotonic()
        self.weighed = 0.0
        self.processes: dict[int, psutil.Process] = {}
        self.cpu: dict[int, float] = {}
        self.counted = 0.0
        self.was_killed = False
        self.lines = watch.notes.open()
        self.here = watch.taken.setdefault(self.phase, Taken())

    def look(self) -> None:
        self._measure()
        for line in self.lines:
            self._noted(json.loads(line))
        if time.monotonic() - self.weighed > WEIGH_EVERY:
            self._count()

    def _noted(self, note: dict[str, Any]) -> None:
        if "item" in note:
            self.done += 1
            self.here.items += 1
            return
        self._next_phase(note.get("begin") or f"{self.name}: between phases")
        self.items, self.done = note.get("items", 0), 0

    def _next_phase(self, phase: str) -> None:
        self._count()
        self.phase, self.began = phase, self.at
        self.here = self.watch.taken.setdefault(phase, Taken())
        for process in self.processes.values():
            with contextlib.suppress(OSError):
                Path(f"/proc/{process.pid}/clear_refs").write_text("5")

    def _count(self) -> None:
        """Note what was taken since the last time: this process may be killed, too."""
        now, cpu = time.monotonic(), sum(self.cpu.values())
        self.here.seconds += now - self.at
        self.here.cpu += cpu - self.counted
        self.at, self.counted = now, cpu
        self._weigh()
        self.watch.save()

    def _measure(self) -> None:
        with contextlib.suppress(psutil.Error):
            driver = psutil.Process(self.child.pid)
            for process in (driver, *driver.children(recursive=True)):
                self.processes[process.pid] = process
        for pid, process in list(self.processes.items()):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                times, title = process.cpu_times(), " ".join(process.cmdline())
            except (psutil.Error, OSError):
                del self.processes[pid]
                continue
            peak = status.partition("VmHWM:")[2].split()
            if not peak:
                continue
            sort = "driver" if pid == self.child.pid else "worker" if is_worker(title) else "Ray itself"
            self.here.peaks[sort] = max(self.here.peaks[sort], int(peak[0]) * 1024)
            self.cpu[pid] = times.user + times.system

    def _weigh(self) -> None:
        store = self.watch.folder / "store"
        works = [bytes_below(work) for work in store.glob("*/.work")]
        self.here.work = max(self.here.work, sum(works))
        self.watch.highest = max(self.watch.highest, bytes_below(self.watch.folder))
        self.weighed = time.monotonic()

    def perhaps_kill(self) -> None:
        """Where a third of a phase is done, and again where two thirds are; of a phase of one item after a second."""
        part = (self.here.kills + 1) / 3
        enough = self.done >= part * self.items if self.items > 2 else time.monotonic() - self.began > 1.0
        most = 2 if self.items > 2 else 1
        if len(self.watch.killed) >= self.watch.kills or self.here.kills >= most or not self.items or not enough:
            return
        workers = [pid for pid in self.processes if is_worker(self._title(pid))]
        workers.sort(key=lambda pid: -self.cpu.get(pid, 0))
        whole = len(self.watch.killed) % 2 == 0 or not workers
        self.here.kills += 1
        who = "driver and workers" if whole else "one worker"
        self.watch.killed.append(f"{who} in {self.phase}, {self.done} of {self.items} done")
        print(f"kill -9 of {self.watch.killed[-1]}", flush=True)
        self.watch.save()
        for pid in [self.child.pid, *workers] if whole else workers[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.was_killed |= whole

    def _title(self, pid: int) -> str:
        with contextlib.suppress(psutil.Error):
            return " ".join(self.processes[pid].cmdline())
        return ""

    def end(self) -> None:
        """Once the step is gone, and what Ray left of it too."""
        for line in self.lines:
            self._noted(json.loads(line))
        self._count()
        self.lines.close()
        _, alive = psutil.wait_procs(list(self.processes.values()), timeout=15)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
