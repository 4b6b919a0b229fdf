"""What a step changed, left out, cut, guessed or skipped: a count for each kind, with the first example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape

from curate.messages.progress import console

#: Characters of an example that are kept: a remark is one line.
EXAMPLE_CHARACTERS = 120


@dataclass
class Remarks:
    """Counts by kind. Sums of the same parts are equal in any order: the example is that of the lowest place.

    >>> read = Remarks()
    >>> read.add("malformed", example="line 3: 'a'", place=(0, 3))
    >>> read.add("malformed", rows=2, example="line 1: 'b'", place=(0, 1))
    >>> read.lines()
    ["3 malformed (line 1: 'b')"]
    """

    counts: dict[str, int] = field(default_factory=dict)
    #: Kind to (place, text) of its first example.
    examples: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, kind: str, rows: int = 1, example: str = "", place: tuple[int, ...] = ()) -> None:
        """Count `rows` more rows of a kind.

        place: where the example lies, e.g. (shard, row): of two examples the one with the lower place stays.
        """
        if rows:
            self.counts[kind] = self.counts.get(kind, 0) + rows
        if example:
            candidate = (tuple(place), example[:EXAMPLE_CHARACTERS])
            self.examples[kind] = min(candidate, self.examples.get(kind, candidate))

    def merge(self, other: Remarks) -> None:
        """Add the counts of another part of the same step."""
        for kind, rows in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + rows
        for kind, example in other.examples.items():
            self.examples[kind] = min(example, self.examples.get(kind, example))

    def lines(self) -> list[str]:
        """One text for each kind, the largest count first."""
        texts = []
        for kind, rows in sorted(self.counts.items(), key=lambda item: (-item[1], item[0])):
            example = self.examples.get(kind, ((), ""))[1]
            texts.append(f"{rows:,} {kind}" + (f" ({example})" if example else ""))
        return texts

    def to_json(self) -> dict[str, Any]:
        """As the manifest keeps it: {kind: {"rows": count, "example": text, "place": [...]}}, kinds in their order."""
        return {
            kind: {"rows": rows, "example": self.examples.get(kind, ((), ""))[1], "place": list(self._place(kind))}
            for kind, rows in sorted(self.counts.items())
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Remarks:
        remarks = cls()
        for kind, entry in data.items():
            remarks.add(kind, entry["rows"], entry["example"], tuple(entry["place"]))
        return remarks

    def _place(self, kind: str) -> tuple[int, ...]:
        return self.examples.get(kind, ((), ""))[0]


def say(label: str, remarks: Remarks) -> None:
    """Print the remarks of a step as one line; nothing when there are none."""
    if remarks:
        console.print(f"[yellow]{escape(label)}: {escape('; '.join(remarks.lines()))}")
