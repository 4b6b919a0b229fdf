"""Matchers kept on a node: a list is made ready once, into a file that every worker maps and all share in memory.

    $XDG_CACHE_HOME/curate/matchers/<kind>-<list>-<code>.matcher     (else ~/.cache)

    MAGIC, xxh3 of the rest | uint64: how many pieces, and their bytes | the pieces, each at a multiple of 64 bytes

The first piece is a pickle, the others are the arrays that it leaves out. A file that is not as it was written, or of
another user, is not read. Where no file can be kept (no home, read-only, disk full), each worker makes its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import pickle
import secrets
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import xxhash

from curate.arrays.compiled import one_process_at_a_time
from curate.metaclip.matching import Matcher
from curate.metaclip.scripts import ScriptMatcher

M = TypeVar("M", bound="Matcher | ScriptMatcher")

MAGIC = b"curate1\n"
#: A slot of a matcher's tables lies in one line of the processor's cache.
LINE = 64
#: Of all that is kept; what was not used for the longest time goes first.
MOST_BYTES = 4_000_000_000
#: A list of fewer entries is made ready in the time that its file takes.
LEAST_ENTRIES = 20_000
#: Locks of all lists, so that few wait for another list's.
LOCKS = 64


def kept_matcher(kind: type[M], version: str, entries: Callable[[], Sequence[str]]) -> M:
    """What `kind(entries())` is, read from its file where that is there; else made, by one process of the node.

    version: says which entries they are, in letters and digits: part of a hash of them.

    Raises:
        ValueError, TypeError: as `kind` does.
    """
    path = _path(f"{kind.__name__.lower()}-{version}-{_code()}.matcher")
    if path is None:
        return kind(entries())
    if (matcher := _read(path, kind)) is not None:
        return matcher
    with one_process_at_a_time(str(_lock_of(path))):
        if (matcher := _read(path, kind)) is not None:
            return matcher
        matcher = kind(entries())
        if len(matcher) >= LEAST_ENTRIES:
            with contextlib.suppress(OSError):
                _write(path, matcher)
        return matcher


def _path(name: str) -> Path | None:
    """Where a file is kept; None where nothing can be."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(cache_home) / "curate" / "matchers"
    if not folder.is_absolute():  # there is no home
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / name


def _lock_of(path: Path) -> Path:
    lock = path.with_name(f"{xxhash.xxh3_64_intdigest(path.name.encode()) % LOCKS}.lock")
    with contextlib.suppress(OSError):
        lock.touch(mode=0o600)
    return lock


@cache
def _code() -> str:
    """What matchers are made by: files of another version of it are not read."""
    folder = Path(__file__).parent
    names = ("kernels.py", "matching.py", "scripts.py", "kept_matcher.py")
    code = b"".join((folder / name).read_bytes() for name in names)
    return hashlib.sha256(code + np.__version__.encode()).hexdigest()[:12]


def _write(path: Path, matcher: Matcher | ScriptMatcher) -> None:
    """
    Raises:
        OSError: when it cannot be; nothing of it is there then.
    """
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(matcher, protocol=5, buffer_callback=arrays.append)
    pieces = [memoryview(head), *(array.raw() for array in arrays)]
    sizes = np.array([len(pieces), *(piece.nbytes for piece in pieces)], "<u8").tobytes()
    body = bytearray(sizes)
    for piece in pieces:
        body += bytes(-(len(body) + 2 * len(MAGIC)) % LINE)
        body += piece
    _make_room(path.parent, len(body))
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(MAGIC + xxhash.xxh3_64_digest(body))
            file.write(body)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read(path: Path, kind: type[M]) -> M | None:
    """The matcher in a file, over its bytes as they are mapped; None where there is none to be trusted."""
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if about.st_uid != os.getuid() or about.st_mode & 0o022:
                return None
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        if not _is_whole(data):
            return None
        head, *arrays = _pieces(data)
        matcher = pickle.loads(head, buffers=arrays)
        os.utime(path)
    except (OSError, ValueError):
        return None
    return matcher if isinstance(matcher, kind) else None


def _is_whole(data: memoryview) -> bool:
    start = 2 * len(MAGIC)
    return data[: len(MAGIC)] == MAGIC and data[len(MAGIC) : start] == xxhash.xxh3_64_digest(data[start:])


def _pieces(data: memoryview) -> list[memoryview]:
    at = 2 * len(MAGIC)
    (count,) = np.frombuffer(data, "<u8", 1, at).tolist()
    sizes = np.frombuffer(data, "<u8", count, at + 8).tolist()
    at += 8 + 8 * count
    pieces = []
    for size in sizes:
        at += -at % LINE
        pieces.append(data[at : at + size])
        at += size
    return pieces


def _make_room(folder: Path, size: int) -> None:
    """Files that processes have mapped live on without a name."""
    files = []
    for path in folder.glob("*.matcher*"):
        with contextlib.suppress(OSError):
            about = path.stat()
            files.append((about.st_mtime, about.st_size, path))
    total = size + sum(file_size for _, file_size, _ in files)
    for _, file_size, path in sorted(files):
        if total <= MOST_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= file_size
