"""Opt-out lists looked at: whoever gives a wrong list must not believe that it is honoured."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import polars as pl

from curate.errors import CurateError
from curate.messages.packages import lacking
from curate.refuse.keys import needs_urls
from curate.refuse.lists import read_list

#: Blocks of a list that are looked at before any work; the others of a longer one when its keys are made.
BLOCKS = 20

#: What a name of each kind looks like. A page of HTML in place of a list names nothing.
_SHAPES = {
    "host": (r"^[^\s<>\"\x00-\x1f]+$", "host"),
    "url": (r"^[^<\x00-\x1f][^\x00-\x1f]*$", "url"),
    "sha256": ("^[0-9a-fA-F]{64}$", "sha256 (64 hex digits)"),
    "md5": ("^[0-9a-fA-F]{32}$", "md5 (32 hex digits)"),
}


def list_faults(files: Sequence[str]) -> list[str]:
    """What is wrong with opt-out lists, a line for each: not there, not readable, no list, a lacking package."""
    faults = []
    for file in files:
        kinds: set[str] = set()
        try:
            for kind, _ in itertools.islice(checked_list(file), BLOCKS):
                kinds.add(kind)
        except CurateError as error:
            faults.append(f"opt_out: {error}")
        if line := lacking("opt_out", needs_urls(kinds), ["download"]):
            faults.append(line)
    return list(dict.fromkeys(faults))


def checked_list(file: str) -> Iterator[tuple[str, pl.Series]]:
    """As `read_list`.

    Raises:
        CurateError: also for a name that can be none of its kind.
    """
    for kind, texts in read_list(file):
        shape, words = _SHAPES.get(kind, ("", kind))
        wrong = texts.filter(~texts.str.contains(shape))
        if len(wrong):
            raise CurateError(
                f"the list '{file}': {wrong[0][:80]!r} is no {words}: mend the list, or begin the line with #"
            )
        yield kind, texts
