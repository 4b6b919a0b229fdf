"""Sizes of memory: as a user writes them, and as the machine has it."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ByteSize, TypeAdapter, ValidationError

from curate.errors import CurateError

#: The least that a worker can be held to: it takes up to 400 MB before it has any rows.
LEAST_MEMORY = 500_000_000


def memory_size(text: str | int, where: str) -> int:
    """Bytes of `8GB`, `500 MB`, `2GiB` or a number.

    Raises:
        CurateError: for what is no size, or one that leaves a worker no room for rows.
    """
    try:
        size = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise CurateError(f"{where}: {text!r} is no size of memory: write it as 8GB or 500MB") from error
    if size < LEAST_MEMORY:
        raise CurateError(f"{where}: {text} is too little for a worker, expected {LEAST_MEMORY // 10**6}MB or more")
    return size


def machine_memory() -> int:
    """Bytes of this machine, or of the container that this process is in."""
    limit = Path("/sys/fs/cgroup/memory.max")
    words = limit.read_text().strip() if limit.exists() else "max"
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, int(words)) if words.isdigit() else machine
