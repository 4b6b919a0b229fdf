"""Errors a user can act on: what is wrong, where, what was expected, the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from pydantic import ValidationError

#: Names that an error lists; of more, the nearest.
NAMES_SHOWN = 40
NAMES_NEAREST = 8


class CurateError(Exception):
    """A fault in a command, a config or an input; the CLI prints it without a traceback."""


class Findings(CurateError):
    """Several faults that a check found: one line each."""

    def __init__(self, findings: Sequence[str]):
        super().__init__("\n".join(findings))
        self.findings = tuple(findings)

    def __reduce__(self) -> tuple[type[Findings], tuple[tuple[str, ...]]]:
        return Findings, (self.findings,)


def findings_of(error: CurateError) -> tuple[str, ...]:
    """The lines of an error: one, or those of several findings."""
    return error.findings if isinstance(error, Findings) else (str(error),)


def nearest(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"`, or nothing when no known name is close. `wrods` may mean `score.words`.

    >>> nearest("wrods", ["score.words", "demo"])
    " (did you mean 'score.words'?)"
    """
    whole = list(known)
    # Whole names last: of two that are written alike, a whole one is meant.
    meant = {full.rpartition(".")[2]: full for full in reversed(whole)} | {full: full for full in whole}
    close = difflib.get_close_matches(name, list(meant), n=1, cutoff=0.5)
    return f" (did you mean '{meant[close[0]]}'?)" if close else ""


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> CurateError:
    """The error for a name that does not exist: it lists the ones that do.

    >>> print(unknown("op", "score.wrds", ["score.words", "score.clip"]))
    no op 'score.wrds' (did you mean 'score.words'?); there are: score.clip, score.words
    """
    prefix = f"{where}: " if where else ""
    return CurateError(f"{prefix}no {kind} '{name}'{named(name, known)}")


def named(name: str, known: Iterable[str]) -> str:
    """The nearest name and those that there are; of many only the nearest."""
    names = sorted(set(known))
    listing = f"there are: {', '.join(names) if names else 'none'}"
    if len(names) > NAMES_SHOWN:
        close = sorted(difflib.get_close_matches(name, names, n=NAMES_NEAREST, cutoff=0.0))
        listing = f"there are {len(names)}, the nearest: {', '.join(close)}"
    return f"{nearest(name, names)}; {listing}"


def reworded(error: ValidationError, where: str, fields: Iterable[str]) -> CurateError:
    """Pydantic's findings as one sentence per option, with the nearest option for an unknown one."""
    names = list(fields)
    lines = []
    for item in error.errors():
        option = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(str(unknown("option", option, names)))
        elif item["type"] == "missing":
            lines.append(f"option '{option}' is required")
        else:
            message = item["msg"].removeprefix("Value error, ")
            received = "" if isinstance(item["input"], dict) else f", got {item['input']!r}"
            lines.append(f"option '{option}': {message}{received}" if option else message)
    return CurateError(f"{where}: " + "; ".join(lines))
