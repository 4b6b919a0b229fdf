"""What is to be removed: urls, hosts, files, uids by their keys, rows by a condition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from curate.errors import CurateError
from curate.messages.counted import counted
from curate.refuse.key_set import KeySet, distinct
from curate.refuse.keys import check_packages, keys_of
from curate.refuse.lists import read_list
from curate.refuse.matching import Named

#: Names or values of each kind that may be removed: a file of them, or themselves.
Values = str | Sequence[str]

#: The rule of rows that show the same url or image as a removed one.
COPIES = "copies"

#: What a value looks like; rows of img2dataset's shards are named by their keys, numbers.
_SHAPES = {"sha256": ("[0-9a-f]{64}", "64 hex digits"), "uid": ("[0-9a-f-]{32,36}|[0-9]+", "32 hex digits")}

_OPTIONS = {"url": "--urls", "host": "--host", "sha256": "--sha256", "uid": "--uids"}


@dataclass(frozen=True)
class Rules:
    """keys: by kind, uint64[n, 2]. where: a SQL condition, or empty. copies: also rows of the same url or image."""

    keys: Mapping[str, np.ndarray] = field(default_factory=dict)
    where: str = ""
    copies: bool = False

    @classmethod
    def of(
        cls,
        urls: Values = (),
        hosts: Sequence[str] = (),
        sha256: Values = (),
        uids: Values = (),
        where: str = "",
        copies: bool = False,
    ) -> Rules:
        """urls, sha256, uids: a file (a string), or a sequence of values. hosts: names; hosts below them count, too.

        Raises:
            CurateError: for a list that cannot be read or is empty, or a package that is lacking.
        """
        named = {"url": urls, "host": [hosts] if isinstance(hosts, str) else hosts, "sha256": sha256, "uid": uids}
        keys: dict[str, np.ndarray] = {}
        for kind, values in named.items():
            if values:
                check_packages("remove", [kind])
                keys[kind] = _keys(kind, values)
        return cls(keys, where, copies)

    def __bool__(self) -> bool:
        return bool(self.keys or self.where)

    def named(self) -> Named:
        """All keys in one set."""
        return named(self.keys)

    def counts(self, rules: Iterable[str]) -> dict[str, int]:
        """How often each rule is among some."""
        asked = [*self.keys, *(["where"] if self.where else []), *([COPIES] if self.copies else [])]
        counted_rules = Counter(rules)
        return {rule: counted_rules[rule] for rule in asked}

    def command(self, place: str) -> str:
        """The command in words that hold nothing of what is removed."""
        words = [f"curate remove {place}"]
        words += [f"{_OPTIONS[kind]} ({counted(len(keys), kind)})" for kind, keys in self.keys.items()]
        words += ["--where (a condition)"] if self.where else []
        words += ["--copies"] if self.copies else []
        return " ".join(words)


def _checked(kind: str, texts: pl.Series) -> pl.Series:
    """
    Raises:
        CurateError: for what cannot be of this kind: whoever gives the wrong list must not believe that it is gone.
    """
    if kind in _SHAPES:
        shape, words = _SHAPES[kind]
        wrong = texts.filter(~texts.str.strip_chars().str.to_lowercase().str.contains(f"^(?:{shape})$"))
        if len(wrong):
            raise CurateError(f"{_OPTIONS[kind]}: '{wrong[0]}' is no {kind} ({words}): nothing is removed")
    return texts


def named(keys: Mapping[str, np.ndarray]) -> Named:
    """Keys of several kinds in one set."""
    arrays = [np.empty((0, 2), np.uint64), *keys.values()]
    return Named(KeySet.of(np.concatenate(arrays)), frozenset(keys))


def _keys(kind: str, values: Values) -> np.ndarray:
    if isinstance(values, str):
        keys = [keys_of(kind, _checked(kind, texts)) for _, texts in read_list(values, kind)]
    else:
        keys = [keys_of(kind, _checked(kind, pl.Series(list(values), dtype=pl.String)))]
    joined = np.concatenate([np.empty((0, 2), np.uint64), *keys])
    if not len(joined):
        raise CurateError(f"{_OPTIONS[kind]}: the list '{values}' is empty: nothing would be removed")
    return distinct(joined)
