"""One entry list for MetaCLIP balancing: a published metadata.json, a text file, or a small English list.

The published list (500,000 entries: WordNet, Wikipedia words, word pairs and titles) is a JSON list in the MetaCLIP
repository, under its own licence (CC-BY-NC 4.0); it is not part of this package: `curate metadata` builds one of that
kind. Order gives the entry ids and capitals count, so neither is ever changed.
"""

from __future__ import annotations

import json
import logging
import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence

import fsspec

from curate.errors import CurateError
from curate.metaclip.matching import unmatchable_ids

log = logging.getLogger(__name__)


def load(path: str) -> list[str]:
    """The entries of a JSON list of strings (`.json`, also `.json.gz`, `.json.zst`) or of a text file, one a line.

    `path` is anything fsspec opens. Repeats are dropped, the first stays, and their number is logged; blank lines of a
    text file are no entries. Raises CurateError for a missing file, JSON of another shape, or a list without entries.
    """
    text = _read(path)
    name = re.sub(r"\.(gz|zst)$", "", str(path))
    entries = _from_json(text, path) if name.endswith(".json") else _from_lines(text)
    unique = list(dict.fromkeys(entries))
    if not unique:
        raise CurateError(f"{path}: no entries in it, expected a list of words and phrases")
    if len(unique) < len(entries):
        log.warning("%s: %s repeated entries dropped", path, f"{len(entries) - len(unique):,}")
    return unique


def build_small(*, words: int = 50_000, capitalised: bool = False) -> list[str]:
    """ "0" to "99" and the `words` most common words.

    A list to try balancing with, built without the network; it is not the published one (no WordNet, no Wikipedia pairs
    and titles, and lower case only unless `capitalised` adds "Photo" after "photo"). Order and the dropping of single
    marks follow the published construction. Words come from the package wordfreq (data CC-BY-SA 4.0).

    >>> build_small(words=3)[-3:]
    ['the', 'to', 'and']
    """
    from wordfreq import top_n_list

    common = top_n_list("en", words)
    parts: list[Iterable[str]] = [map(str, range(100)), common]
    if capitalised:
        parts.append(word[:1].upper() + word[1:] for word in common)
    return list(dict.fromkeys(entry for part in parts for entry in part if is_entry(entry)))


def is_entry(text: str) -> bool:
    """Not empty, and not one ASCII punctuation mark alone."""
    return text != "" and not (len(text) == 1 and text in string.punctuation)


def describe(entries: Sequence[str]) -> dict[str, int]:
    """How many entries; how many of these repeat another, can match no text at all, or have several words.

    >>> describe(["dog", "dog house", "St. Louis", "dog"])
    {'entries': 4, 'duplicates': 1, 'unmatchable': 1, 'several_words': 2}
    """
    return {
        "entries": len(entries),
        "duplicates": sum(count - 1 for count in Counter(entries).values()),
        "unmatchable": len(unmatchable_ids(entries)),
        "several_words": sum(" " in entry for entry in entries),
    }


def _read(path: str) -> str:
    try:
        with fsspec.open(path, "rb", compression="infer") as stream:
            data = stream.read()
    except FileNotFoundError:
        raise CurateError(f"no file {path}: expected a JSON list of strings or a text file, one entry a line") from None
    try:
        return str(data, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise CurateError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start:,})") from None


def _from_json(text: str, path: str) -> list[str]:
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        hint = " (a git-lfs pointer: run `git lfs pull` there)" if text.startswith("version https://git-lfs") else ""
        raise CurateError(f"{path}: not JSON{hint}: {error}") from None
    if not isinstance(entries, list):
        raise CurateError(f"{path}: JSON holds a {type(entries).__name__}, expected a list of strings")
    for i, entry in enumerate(entries):
        if not isinstance(entry, str):
            raise CurateError(f"{path}: item {i} is {type(entry).__name__} {entry!r}, expected a string")
        if not entry.isascii() and any("\ud800" <= char <= "\udfff" for char in entry):
            raise CurateError(f"{path}: item {i} holds half a surrogate pair {entry!r}, expected valid Unicode")
    return entries


def _from_lines(text: str) -> list[str]:
    """Split at LF only: Unicode's other line ends may be part of an entry."""
    return [line for line in (raw.removesuffix("\r") for raw in text.split("\n")) if line]
