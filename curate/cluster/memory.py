"""Sizes of memory: as a user writes them, and as the machine has it."""

from __future__ import annotations

from pathlib import Path

import psutil
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
    return min([psutil.virtual_memory().total, *container_limits()])


def container_limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Bytes that the control groups of this process allow, its own and those around it; none where nothing limits it.

    root: where the groups are mounted. own: the lines that name the process's group in each hierarchy.
    """
    limits = []
    lines = own.read_text().splitlines() if own.exists() else []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        # Version 2 has one hierarchy without a name, version 1 one for memory.
        if controllers not in ("", "memory") and "memory" not in controllers.split(","):
            continue
        base, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        place = base / group.strip("/")
        for folder in (place, *place.parents):
            if folder.is_relative_to(base) and (folder / name).exists():
                words = (folder / name).read_text().strip()
                limits += [int(words)] if words.isdigit() else []
    return limits
