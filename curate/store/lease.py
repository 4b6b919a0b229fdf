"""One command at a time changes a store: a lease with an owner, which ends with its process.

On a local or network file system that locks files, the kernel keeps the lease and drops it when the process dies. On an
object store the lease is an object that its owner writes anew every few seconds; one that was not written for
`DEAD_AFTER_SECONDS`, by the clock of whoever waits, is taken over. Readers never ask for it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import IO, Any

import psutil

from curate.errors import CurateError
from curate.messages.causes import explained
from curate.messages.counted import counted
from curate.messages.progress import console
from curate.store.folder import Folder, is_torn
from curate.store.store import DOUBTFUL, HELD, Store
from curate.store.view import View

NAME = "lease.json"
#: How long a command waits for another to end before it is refused: short commands pass one after the other.
PATIENCE_SECONDS = 5.0
BEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.2

#: Leases of this process by store and thread: a command may be made of others.
_held: dict[tuple[str, int], int] = {}
_held_lock = threading.Lock()


@contextlib.contextmanager
def leased(store: Folder, command: str, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the store's lease while the block runs.

    Raises:
        CurateError: when another command holds it for longer than `patience_seconds`: with its owner.
    """
    key = (store.url, threading.get_ident())
    with _held_lock:
        _held[key] = nested = _held.get(key, 0) + 1
    try:
        if nested > 1:
            yield
        else:
            with _lease(store, command, patience_seconds):
                HELD[store.url] = None
                yield
    finally:
        with _held_lock:
            _held[key] -= 1
            if not _held[key]:
                del _held[key]
                HELD.pop(store.url, None)


@contextlib.contextmanager
def changing(root: str, command: str) -> Iterator[Store]:
    """A store that rows were read into, held while the block changes it.

    Raises:
        CurateError: when it holds no records, or another command changes it.
    """
    store = Store(root)
    # A lease makes the folder: a wrong path shall not.
    View.of(store)
    with leased(store, f"{command} {root}"):
        yield store


@contextlib.contextmanager
def _lease(store: Folder, command: str, patience_seconds: float) -> Iterator[None]:
    owner = _owner(command)
    if store.local:
        try:
            os.makedirs(store.path(""), exist_ok=True)
            file = open(store.path(NAME), "a+b")  # noqa: SIM115 - held open: the lock ends when it is closed
        except OSError as error:
            raise CurateError(f"cannot write to {store.url}: {error.strerror}") from error
        with file:
            if _locked(file, store, patience_seconds):
                file.seek(0)
                if file.read():  # who ends in good order leaves nothing there
                    _sweep(store)
                file.truncate(0)
                file.write(json.dumps(owner).encode())
                file.flush()
                yield
                file.truncate(0)
                return
    with _Beating(store, owner, patience_seconds):
        yield


def _sweep(store: Folder) -> None:
    """Remove what a killed command had of the files that it was writing."""
    above = sorted(store.names())
    torn = [name for name in above if is_torn(name)]
    for folder in above:
        if not is_torn(folder):
            torn += [f"{folder}/{name}" for name in sorted(store.names(folder)) if is_torn(name)]
    for name in torn:
        store.remove(name)
    if torn:
        console.say(f"{store.url}: {counted(len(torn), 'unfinished file')} of a killed command removed")


def _owner(command: str) -> dict[str, Any]:
    return {
        "command": command,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "token": secrets.token_hex(8),
    }


def _refused(store: Folder, owner: dict[str, Any]) -> CurateError:
    who = f"`{owner.get('command', 'another command')}`"
    if "pid" in owner:
        who += f" (process {owner['pid']} on {owner['host']}, since {owner['since']})"
    return CurateError(
        f"{store.url} is being changed by {who}: wait for its end, or end it; `curate show` and `report` need not wait"
    )


def _locked(file: IO[bytes], store: Folder, patience_seconds: float) -> bool:
    """Lock the file; False where the file system cannot.

    Raises:
        CurateError: when another process has it.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return False
            if time.monotonic() > deadline:
                raise _refused(store, _parsed(store)) from None
        time.sleep(LOOK_EVERY_SECONDS)


def _parsed(store: Folder) -> dict[str, Any]:
    try:
        owner = json.loads(store.read_bytes(NAME))
    except (FileNotFoundError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


class _Beating:
    """The lease as an object with a beat."""

    def __init__(self, store: Folder, owner: dict[str, Any], patience_seconds: float):
        self.store, self.owner, self.patience_seconds = store, owner, patience_seconds
        self._ended = threading.Event()

    def __enter__(self) -> None:
        self._acquire()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        DOUBTFUL.pop(self.store.url, None)
        try:
            if self._is_ours():
                self.store.remove(NAME)
        except Exception as error:  # noqa: BLE001 - what the block did stands, and its own error says more
            console.say(f"{self.store.url}: the lease stays until it is taken over: {explained(error) or error}")

    def _acquire(self) -> None:
        began = changed = time.monotonic()
        seen: dict[str, Any] = {}
        beats = 0
        while not self._create():
            now, other = time.monotonic(), _parsed(self.store)
            if other != seen:
                beats += bool(seen)
                seen, changed = other, now
                if not beats:
                    wait = f"waiting up to {DEAD_AFTER_SECONDS:.0f} s to see whether its owner lives"
                    console.print(f"[yellow]{self.store.url} has the lease of process {other.get('pid')}: {wait}")
            if _ended_here(other) or now - changed > DEAD_AFTER_SECONDS:
                console.print(f"[yellow]{self.store.url}: the lease of process {other.get('pid')} is taken over")
                self.store.remove(NAME)
            elif beats and now - began > self.patience_seconds:
                raise _refused(self.store, other)
            time.sleep(LOOK_EVERY_SECONDS)

    def _create(self) -> bool:
        if not _created(self.store, json.dumps({**self.owner, "beat": 0}).encode()):
            return False
        # Where a store cannot refuse a second creation, the later of two stands.
        return self._is_ours()

    def _beat(self) -> None:
        beat = 0
        while not self._ended.wait(BEAT_SECONDS):
            beat += 1
            try:
                if not self._is_ours():
                    DOUBTFUL[self.store.url] = lambda: False
                    return
                self.store.write_bytes(NAME, json.dumps({**self.owner, "beat": beat}).encode())
            except Exception:  # noqa: BLE001 - storage that does not answer now may do so at the next beat
                DOUBTFUL[self.store.url] = self._is_ours
            else:
                DOUBTFUL.pop(self.store.url, None)

    def _is_ours(self) -> bool:
        return bool(_parsed(self.store).get("token") == self.owner["token"])


def _ended_here(owner: dict[str, Any]) -> bool:
    """Whether the owner was a process of this machine that is no longer there."""
    here = bool(owner.get("host") == socket.gethostname())
    return here and not psutil.pid_exists(int(owner.get("pid", 0)))


def _created(store: Folder, data: bytes) -> bool:
    """Write the lease if there is none; False when there is one."""
    path = store.path(NAME)
    if store.exists(NAME):
        return False
    try:
        store.fs.pipe_file(path, data, mode="create")
    except FileExistsError:
        return False
    except (TypeError, NotImplementedError, ValueError):
        store.write_bytes(NAME, data)
    except OSError as error:
        # S3 answers a failed condition so.
        if "PreconditionFailed" in str(error) or "At least one of the pre-conditions" in str(error):
            return False
        raise
    return True
