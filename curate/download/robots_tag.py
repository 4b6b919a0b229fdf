"""Opt-outs in a server's answer, X-Robots-Tag and TDM-Reservation: whether one forbids the use of the image."""

from __future__ import annotations

import datetime
import email.utils
import re
from collections.abc import Collection, Iterable, Iterator

#: The word that stands for the header `TDM-Reservation: 1` (rights to text and data mining are reserved; W3C TDMRep).
TDM = "tdm-reservation"

#: Our own name: what is said to a robot of this name is said to us, whatever user agent is sent.
OWN = "curate"

# Directives with a value, which goes with them: its words ("max-image-preview: none") are no directives of their own.
# A date may have a comma after the day of the week.
_DATED = re.compile(r"\bunavailable_after\s*:\s*((?:[a-z]{3,9}\s*,)?[^,;]*)")
_VALUED = re.compile(r"\b(?:max-snippet|max-image-preview|max-video-preview)\s*:\s*[^\s,;]*")
_MEANS = {"none": ("noindex", "nofollow")}


def is_disallowed(values: Iterable[str], directives: Collection[str], token: str | None = None) -> bool:
    """Whether one of the X-Robots-Tag headers forbids the use to all robots, to `token`, or to us by name.

    Directives are parted by commas, semicolons or blanks and belong to the robot that is named before them, up to the
    next name; `*` is every robot. `none` is noindex and nofollow; an unavailable_after that has passed is noindex.
    The rest of the meaning is img2dataset's, with one difference: a directive before a robot's name ("noai, otherbot:
    noindex") counts for all, where img2dataset takes "noai, otherbot" for the name.

    >>> is_disallowed(["googlebot: noai"], {"noai"}), is_disallowed(["nofollow NoAI"], {"noai"})
    (False, True)
    """
    names = {None, "*", OWN, *([product(token)] if token else [])}
    return any(
        robot in names and not {word, *_MEANS.get(word, ())}.isdisjoint(directives)
        for value in values
        for robot, word in _directives(value.lower(), directives)
    )


def is_reserved(values: Iterable[str]) -> bool:
    """Whether a TDM-Reservation header reserves the rights: `1`; anything else says nothing.

    >>> is_reserved(["1"]), is_reserved(["0"]), is_reserved([])
    (True, False, False)
    """
    return any(part.strip(" \t\"'") == "1" for value in values for part in value.split(","))


def product(token: str) -> str:
    """The name in a user agent's token, as robots are called: without version and comment.

    >>> product("MyBot/2.1 (+https://example.com/bot)")
    'mybot'
    """
    return re.split(r"[/\s(;]", token.strip().lower(), maxsplit=1)[0]


def _directives(value: str, directives: Collection[str]) -> Iterator[tuple[str | None, str]]:
    """(robot, directive) pairs of one header in lower case; None is every robot."""
    value = _DATED.sub(lambda dated: " noindex " if _has_passed(dated[1]) else " ", value)
    value = re.sub(r"\s*:", ":", _VALUED.sub(" ", value))
    robot = None
    for part in re.split(r"[\s,;]+", value):
        name, colon, rest = part.partition(":")
        word = part.strip("\"'")
        if colon and name in directives:  # a directive with a value that nobody specified
            word = name
        elif colon:
            robot, word = product(name.strip("\"'")), rest.strip("\"'")
        if word:
            yield robot, word


def _has_passed(date: str) -> bool:
    """Dates as RFC 822, RFC 850 and ISO 8601 write them; what is none has not passed."""
    for parse in (email.utils.parsedate_to_datetime, datetime.datetime.fromisoformat):
        try:
            when = parse(date.strip().upper())
            aware = when if when.tzinfo else when.replace(tzinfo=datetime.timezone.utc)
            return aware < datetime.datetime.now(datetime.timezone.utc)
        except Exception:  # noqa: BLE001 - parsers have more errors for odd dates than they name
            continue
    return False
