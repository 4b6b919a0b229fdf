"""The metadata lists that captions are matched against: one list, or a folder with one for each language.

A folder holds `<language>.json` files (published are those of Wikipedia's codes: `en.json`, `zh.json`), and if there is
one for everything else, `other.json`. All lists share one space of ids: in the order of their names, each begins where
the one before it ends.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

from curate.arrays.string_hash import hash_strings
from curate.errors import CurateError
from curate.metaclip.entry_list import build_small, load
from curate.metaclip.matching import unmatchable_ids
from curate.store.file_hash import file_sha256
from curate.store.folder import Folder

#: The list for languages without one of their own, and for captions of unknown language.
OTHER = "other"

SMALL = "small"

#: By the version of wordfreq what `small_hash` is: to import it and to build the list takes a second, and every command
#: asks which list it is.
SMALL_HASH = {"3.1.1": "1156d2eca3fc"}

#: Entries that can never match, quoted in the notice.
QUOTED = 5


@dataclass(frozen=True)
class EntryLists:
    """The lists of one `metadata` option. Nothing is read before it is asked for, and one list at a time."""

    metadata: str
    by_language: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Languages in sorted order; one empty name for a single list.

        Raises:
            CurateError: for a folder without lists.
        """
        return _languages(self.metadata) if self.by_language else ("",)

    def _size(self, name: str) -> int:
        return _size(self, name, "" if self.metadata == SMALL else _hash(self._path(name)))

    def load(self, name: str) -> list[str]:
        """The entries of one list in their order."""
        if self.metadata == SMALL:
            return _small()
        if not self.by_language and _is_folder(self.metadata):
            raise CurateError(f"'{self.metadata}' is a folder: choose among its lists by a column, {{by: lang}}")
        return load(self._path(name))

    def version(self, name: str) -> str:
        """12 hex digits that tell the entries of a list from others."""
        if self.metadata == SMALL:
            return SMALL_HASH.get(_wordfreq_version()) or small_hash()
        return _hash(self._path(name))

    def starts(self) -> dict[str, int]:
        """The id of the first entry of each list."""
        ends = np.cumsum([0, *(self._size(name) for name in self.names)]).tolist()
        return dict(zip(self.names, ends, strict=False))

    def size(self) -> int:
        """Entries of all lists together."""
        return sum(self._size(name) for name in self.names)

    def name_of(self, language: str | None) -> str | None:
        """The list for a language: its own, that of the code before `_`, `-` or `@`, else `other`, or None."""
        for name in (language or "", re.split("[-_@]", language or "", maxsplit=1)[0], OTHER):
            if name in self.names:
                return name
        return None

    def strings(self, ids: Iterable[int]) -> dict[int, str]:
        """Entries by id; those of several lists as `language: entry`."""
        entry_ids = np.unique(np.fromiter(ids, np.int64))
        names: dict[int, str] = {}
        for name, start in self.starts().items():
            ids_of_list = entry_ids[(entry_ids >= start) & (entry_ids < start + self._size(name))]
            entries = self.load(name) if len(ids_of_list) else []
            prefix = f"{name}: " if self.by_language else ""
            names |= {int(i): prefix + entries[i - start] for i in ids_of_list}
        return names

    def hashes(self, low: int, end: int) -> np.ndarray:
        """uint64: the hash of the string of each entry from id `low` up to `end`, whichever list it is in."""
        parts = [np.empty(0, np.uint64)]
        for name, start in self.starts().items():
            first, last = max(low - start, 0), min(end - start, self._size(name))
            if first < last:
                parts.append(hash_strings(self.load(name)[first:last]))
        return np.concatenate(parts)

    def identity(self) -> str:
        """A file's or folder's name and sha256; the small list's entries decide."""
        if self.metadata == SMALL:
            return f"{SMALL}@{self.version('')}"
        hashes = [self.version(name) for name in self.names]
        joined = hashlib.sha256(repr([*zip(self.names, hashes, strict=True)]).encode()).hexdigest()
        return f"{Path(self.metadata.rstrip('/')).name}@{(joined if self.by_language else hashes[0])[:12]}"

    def notice(self) -> str:
        """What the user should know of entries that match nothing; empty where there are none.

        Raises:
            CurateError: for a file that is missing or no list, or when no entry can match at all.
        """
        total = never = blanks = 0
        quoted: list[str] = []
        for name in self.names:
            entries = self.load(name)
            ids = unmatchable_ids(entries)
            total, never = total + len(entries), never + len(ids)
            quoted += [entries[i] for i in ids[: QUOTED - len(quoted)]]
            blanks += sum(entry != entry.strip(" ") or "  " in entry for entry in entries)
        if never == total:
            raise CurateError(f"{self.metadata}: none of its {total:,} entries can ever match, e.g. {quoted[0]!r}")
        notes = []
        if never:
            examples = ", ".join(map(repr, quoted)) + (", …" if never > len(quoted) else "")
            why = "they hold one of , . ; : ? ! ` beside another character, or a line end or tab"
            notes.append(f"{never:,} of {total:,} entries can never match ({why}), e.g. {examples}")
        if blanks:
            notes.append(f"{blanks:,} can match only where a text has several blanks (they begin or end with one, ...)")
        return f"{self.metadata}: {'; '.join(notes)}" if notes else ""

    def _path(self, name: str) -> str:
        return f"{self.metadata.rstrip('/')}/{name}.json" if self.by_language else self.metadata


def lists_of(made_by: Mapping[str, Any]) -> EntryLists | None:
    """The lists that a column of entry ids is of; None when score.entries did not make the column.

    made_by: what the manifest says of the column's table.

    Raises:
        CurateError: when the lists are not what they were: the ids do not name these entries any more.
    """
    if made_by.get("op") != "score.entries":
        return None
    lists = EntryLists(made_by["options"]["metadata"], bool(made_by["options"].get("by")))
    identity = lists.identity()
    if identity != made_by["weights"]:
        raise CurateError(
            f"entries: the captions were matched against {made_by['weights']}, but '{lists.metadata}' is {identity}: "
            "put the old list back, or run score.entries with the new one"
        )
    return lists


def small_hash() -> str:
    """The first characters of the sha256 of the small list's entries."""
    return hashlib.sha256("\n".join(_small()).encode()).hexdigest()[:12]


def _wordfreq_version() -> str:
    try:
        return version("wordfreq")
    except PackageNotFoundError:
        return ""


@cache
def _small() -> list[str]:
    return build_small(words=50_000, capitalised=True)


def _is_folder(path: str) -> bool:
    fs, place = fsspec.core.url_to_fs(path)
    return bool(fs.isdir(place))


def _languages(folder: str) -> tuple[str, ...]:
    languages = sorted(name[:-5] for name in Folder(folder).names() if name.endswith(".json"))
    if not languages:
        raise CurateError(f"'{folder}' holds no <language>.json: expected a folder with one list for each language")
    return tuple(languages)


@cache
def _size(lists: EntryLists, name: str, version: str) -> int:
    """Kept for a version of the file: a list may be rewritten while the process lives."""
    return len(lists.load(name))


def _hash(path: str) -> str:
    try:
        return file_sha256(path)[:12]
    except FileNotFoundError:
        raise CurateError(f"no metadata file '{path}'") from None
