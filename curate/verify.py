"""Verifying written shards: every file against the sha256 in their manifest."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

from curate.errors import CurateError
from curate.store import Folder


def verify(url: str) -> str:
    """One line that says all is well.

    Raises:
        CurateError: naming the files that are missing or differ.
    """
    folder = Folder(url)
    try:
        files = json.loads(folder.read_bytes("manifest.json"))["files"]
    except FileNotFoundError:
        raise CurateError(f"'{url}' has no manifest.json: the shards were not written to their end") from None

    def fault(name: str) -> str | None:
        digest = hashlib.sha256()
        try:
            with folder.open(name) as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
        except FileNotFoundError:
            return f"{name} is missing"
        return None if digest.hexdigest() == files[name]["sha256"] else f"{name} differs"

    with ThreadPoolExecutor(4) as pool:
        faults = [found for found in pool.map(fault, sorted(files)) if found]
    if faults:
        raise CurateError(f"'{url}': {len(faults)} of {len(files)} files are not as written: {', '.join(faults[:10])}")
    return f"{len(files)} files, {sum(f['bytes'] for f in files.values()) / 1e6:,.1f} MB: all as written"
