"""What a host says of uses of its content: Content-Usage (IETF aipref, drafts attach and vocab) and Content-Signal."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

#: Lines of robots.txt, and headers, that say it.
FIELDS = ("content-usage", "content-signal")

_SAYS_NO = frozenset({"n", "no"})
# A dictionary's member, `train-ai=n`, or the label alone; parameters behind a semicolon say nothing of the use.
_MEMBER = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)\s*(?:=\s*\"?([^;,\"]*?)\"?\s*)?(?:;[^,]*)?", re.IGNORECASE)


def preferences(values: Iterable[str]) -> dict[str, str]:
    """Label to value, both in lower case, of headers or lines in their order; the last one of a label counts, as in
    every dictionary of structured fields (RFC 9651). What is no member is passed over.

    >>> preferences(["train-ai=n, search=y", "Train-AI = y;exp=1"])
    {'train-ai': 'y', 'search': 'y'}
    """
    labels: dict[str, str] = {}
    for value in values:
        for part in value.split(","):
            if match := _MEMBER.fullmatch(part):
                labels[match[1].lower()] = (match[2] or "").lower()
    return labels


def forbidden_use(values: Iterable[str], uses: Collection[str]) -> str:
    """The first of `uses` that the host does not want, empty when there is none.

    >>> forbidden_use(["search=y, train-ai=n"], ["train-ai"]), forbidden_use(["ai-train=yes"], ["ai-train"])
    ('train-ai', '')
    """
    labels = preferences(values)
    return next((use for use in uses if labels.get(use) in _SAYS_NO), "")


def usage_lines(text: str, names: Collection[str]) -> list[tuple[str, str]]:
    """(path, preferences) of the lines of a robots.txt that are said to one of `names`, else to `*`; lines before
    the first group are said to all. A line without a path is said of all paths.

    >>> usage_lines("User-agent: *\\nContent-Usage: /a train-ai=n\\nContent-Signal: ai-train=no", ["curate"])
    [('/a', 'train-ai=n'), ('', 'ai-train=no')]
    """
    for_all, for_any, for_us = [], [], []
    has_group = False
    for agents, path, value in _lines(text):
        has_group = has_group or not agents.isdisjoint(names)
        if not agents:
            for_all.append((path, value))
        elif not agents.isdisjoint(names):
            for_us.append((path, value))
        elif "*" in agents:
            for_any.append((path, value))
    return for_all + (for_us if has_group else for_any)


def usage_of(lines: Iterable[tuple[str, str]], target: str) -> list[str]:
    """The preferences for a path with its query: of the longest path that fits, as for the other rules of robots.txt.

    >>> usage_of([("/", "train-ai=y"), ("/*.jpg$", "train-ai=n")], "/a.jpg")
    ['train-ai=n']
    """
    fitting = [(len(path), value) for path, value in lines if _fits(path, target)]
    longest = max((length for length, _ in fitting), default=0)
    return [value for length, value in fitting if length == longest]


def _lines(text: str) -> Iterator[tuple[frozenset[str], str, str]]:
    """(agents of its group, path, preferences) of each line that says something of a use."""
    agents: set[str] = set()
    naming = False
    for line in text.splitlines():
        name, colon, value = line.partition("#")[0].partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon:
            continue
        if name == "user-agent":
            agents = {*agents, value.lower()} if naming else {value.lower()}
        elif name in FIELDS:
            path, rest = (*value.split(None, 1), "")[:2] if value.startswith("/") else ("", value)
            yield frozenset(agents), path, rest
        naming = name == "user-agent"


def _fits(path: str, target: str) -> bool:
    pieces = path.removesuffix("$").split("*")
    if not target.startswith(pieces[0]):
        return False
    place = len(pieces[0])
    last = pieces[-1] if path.endswith("$") else None
    for piece in pieces[1 : len(pieces) - (last is not None)]:
        place = target.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    if last is None:
        return True
    if len(pieces) == 1:
        return target == pieces[0]
    return len(target) - len(last) >= place and target.endswith(last)
