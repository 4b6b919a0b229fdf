"""What `curate.run`, `score`, `filter` and `write` return, and the command line shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: The steps that led to a keep table, first step first: {"step", "entered", "kept", "dropped": {reason: rows}}, and
#: "copies" where rows have some: how often those that it kept are taken, all together.
Funnel: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True)
class WriteResult:
    """Training shards. bytes: of all their files. without_image: rows that were kept and have none, by status.
    rows: of the samples, where rows have copies, else None."""

    to: str
    samples: int
    shards: int
    bytes: int
    without_image: dict[str, int]
    funnel: Funnel = field(repr=False)
    rows: int | None = None

    @classmethod
    def of(cls, written: Mapping[str, Any], funnel: Funnel) -> WriteResult:
        """What the write step returned, and the manifest keeps."""
        facts = {name: written[name] for name in ("to", "samples", "shards", "bytes", "without_image")}
        return cls(**facts, funnel=funnel, rows=written.get("rows"))


@dataclass(frozen=True)
class RunResult:
    """A pipeline run. rows: that were read. kept: that are in at its end. written: None without a `write` step.

    report: the page about the store, written when shards were; else empty. seconds: by step.
    """

    root: str
    rows: int
    kept: int
    written: WriteResult | None
    report: str
    funnel: Funnel = field(repr=False)
    seconds: dict[str, float] = field(repr=False)


@dataclass(frozen=True)
class ScoredTable:
    """The table of one op: its name, the columns that the op adds, the folder of its parts."""

    name: str
    columns: tuple[str, ...]
    path: str


@dataclass(frozen=True)
class ScoreResult:
    """The tables of ops, in the order of the ops."""

    tables: tuple[ScoredTable, ...]
    seconds: float


@dataclass(frozen=True)
class FilterResult:
    """A keep table. rows: of the store. kept: by this filter and those before it. written: uids in `output`, if any;
    of rows with copies one for each copy."""

    name: str
    rows: int
    kept: int
    path: str
    seconds: float
    written: int | None
    funnel: Funnel = field(repr=False)

    @property
    def copies(self) -> int:
        """How often the kept rows are taken, all together; each once where no filter said otherwise."""
        return int(self.funnel[-1].get("copies", self.kept))
