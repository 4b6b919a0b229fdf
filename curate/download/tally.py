"""What came of rows so far, as all workers of a run count it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """statuses: rows by what became of them. fetched, stored: bytes of bodies as they came, and of stored images."""

    statuses: Counter[str] = field(default_factory=Counter)
    fetched: int = 0
    stored: int = 0

    def note(self, status: str, fetched: int, stored: int) -> None:
        self.statuses[status] += 1
        self.fetched += fetched
        self.stored += stored

    def add(self, other: Tally) -> None:
        self.statuses.update(other.statuses)
        self.fetched += other.fetched
        self.stored += other.stored

    @property
    def rows(self) -> int:
        return self.statuses.total()

    @property
    def images(self) -> int:
        return self.statuses["success"]
