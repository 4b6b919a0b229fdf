"""Whether two runs of one web ended with the same files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

#: Files that hold seconds, and tables of what hosts said and when: they differ from run to run.
TIMED = ("fetches-", "robots-", "write_notes", "lease")
#: The one column of images that says how a host was given up: before or after a row of it was asked for.
WORDS = "error_message"


def digests(root: Path) -> dict[str, str]:
    """sha256 of every file of a store that the same input always makes."""
    files = [path for path in root.rglob("*") if path.is_file()]
    files = [path for path in files if path.name not in ("manifest.json", "report.html")]
    files = [path for path in files if not path.relative_to(root).parts[0].startswith(TIMED)]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def differences(one: Path, other: Path) -> tuple[list[str], list[str]]:
    """Files that differ; and parts of images that differ in the words of an error message alone."""
    first, second = digests(one), digests(other)
    names = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    words = [name for name in names if first.keys() & second.keys() >= {name} and _only_words(one / name, other / name)]
    return [name for name in names if name not in words], words


def _only_words(one: Path, other: Path) -> bool:
    if one.suffix != ".parquet" or not one.parent.name.startswith("images-"):
        return False
    first, second = pl.read_parquet(one), pl.read_parquet(other)
    return WORDS in first.columns and first.drop(WORDS).equals(second.drop(WORDS))
