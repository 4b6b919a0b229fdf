"""Opt-out lists as one sorted file of keys in the store, which workers map into memory: it may hold 10^8 lines.

    opt_out/<identity>.keys     MAGIC, number of keys, kinds, 0: 32 bytes
                                uint64[n] high, uint64[n] low; xxh3_128 of all before

The identity is made of the content of the lists, wherever they lie. A key takes 16 bytes on disk: 1.6 GB for 10^8
lines. Making the file takes as much again for a while, and a few hundred MB of memory however long the lists are;
looking up touches the pages that it needs.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xxhash

from curate.errors import CurateError
from curate.messages.counted import counted
from curate.messages.progress import console
from curate.refuse.key_set import KeySet, distinct
from curate.refuse.keys import KINDS, check_packages, keys_of
from curate.refuse.list_check import checked_list
from curate.refuse.matching import Named
from curate.store.file_hash import file_sha256
from curate.store.folder import identity
from curate.store.removal import OPT_OUT
from curate.store.store import Store

#: The status of a row whose owner opted out.
OPTED_OUT = "opted_out"

MAGIC = b"curate\x01k"
_HEADER_BYTES = 32
#: Keys are parted by their first byte while the file is made: so many parts are sorted one by one.
_PARTS = 256


def lists_id(files: Sequence[str]) -> str:
    """Identity of the content of lists; empty for none.

    Raises:
        CurateError: for a file that is not there.
    """
    if not files:
        return ""
    try:
        return identity(lists=sorted(file_sha256(file) for file in files), version=1)
    except OSError as error:
        raise CurateError(f"opt_out: a list cannot be read: {error}") from error


def lists_kept(store: Store, files: Sequence[str]) -> str:
    """The name of the keys of these lists in the store, made where it is not there; empty for no lists.

    Raises:
        CurateError: for a list that cannot be read, or a package that is lacking.
    """
    if not files:
        return ""
    name = f"{OPT_OUT}/{lists_id(files)}.keys"
    if not store.exists(name):
        with tempfile.TemporaryDirectory() as folder:
            kinds = _parted(files, Path(folder))
            number = _write(store, name, Path(folder), kinds)
        what = f"{counted(number, 'name')} of {', '.join(sorted(kinds))}" if number else "the lists name nothing"
        console.print(f"[dim]opt_out: {what}" if number else f"[yellow]opt_out: {what}")
    return name


def _parted(files: Sequence[str], folder: Path) -> set[str]:
    """Write the keys of all lists, parted by their first byte; returns their kinds."""
    kinds: set[str] = set()
    for file in files:
        for kind, texts in checked_list(file):
            if kind not in kinds:
                check_packages("opt_out", [kind])
                kinds.add(kind)
            keys = keys_of(kind, texts)
            part = (keys[:, 0] >> np.uint64(56)).astype(np.int64)
            order = np.argsort(part, kind="stable")
            ends = np.cumsum(np.bincount(part, minlength=_PARTS))
            for number, some in enumerate(np.split(keys[order], ends[:-1])):
                if len(some):
                    with open(folder / f"{number}", "ab") as handle:
                        handle.write(some.astype("<u8").tobytes())
    return kinds


def _write(store: Store, name: str, folder: Path, kinds: set[str]) -> int:
    number = 0
    for part in range(_PARTS):
        path = folder / f"{part}"
        if path.exists():
            keys = distinct(np.fromfile(path, "<u8").reshape(-1, 2))
            number += len(keys)
            for column, half in enumerate(("high", "low")):
                with open(folder / half, "ab") as handle:
                    handle.write(np.ascontiguousarray(keys[:, column]).tobytes())
            path.unlink()
    bits = sum(1 << place for place, kind in enumerate(KINDS) if kind in kinds)
    digest = xxhash.xxh3_128()
    with store.writing(name) as file:
        header = MAGIC + np.array([number, bits, 0], "<u8").tobytes()
        digest.update(header)
        file.write(header)
        for half in ("high", "low") if number else ():
            with open(folder / half, "rb") as handle:
                while block := handle.read(1 << 20):
                    digest.update(block)
                    file.write(block)
        file.write(digest.digest())
    return number


def opened(store: Store, name: str) -> Named:
    """The keys of a file that `made` made, mapped from it; from an object store it is copied to this machine first.

    Raises:
        CurateError: when it is not as it was written.
    """
    path = store.path(name)
    if not store.local:
        path = (
            f"{tempfile.gettempdir()}/curate-{os.getuid()}-{xxhash.xxh3_64_hexdigest((store.url + name).encode())}.keys"
        )
        if not os.path.exists(path):
            store.fs.get_file(store.path(name), f"{path}.{os.getpid()}")
            os.replace(f"{path}.{os.getpid()}", path)
    header = np.fromfile(path, "<u8", 4)
    if header[:1].tobytes() != MAGIC or os.path.getsize(path) != _HEADER_BYTES + 16 * int(header[1]) + 16:
        raise CurateError(f"{store.url}/{name} is damaged: delete it and run again")
    number, bits = int(header[1]), int(header[2])
    kinds = frozenset(kind for place, kind in enumerate(KINDS) if bits >> place & 1)
    if not number:
        return Named(KeySet(np.empty(0, np.uint64), np.empty(0, np.uint64)), kinds)
    halves = np.memmap(path, "<u8", "r", _HEADER_BYTES, (2, number))
    return Named(KeySet(halves[0], halves[1]), kinds)
