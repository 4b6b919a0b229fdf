"""Entries of the manifest: what an input was, what made a table, what a filter kept, how a run ended."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from curate.store.cost import Cost


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Input(Entry):
    """Files that were read together, as shards of their own.

    files: their number; `files_id` is the identity of their names, sizes, rows and contents. The list itself lies in
        `inputs/<number>.parquet`, see curate.store.file_list.
    mapping: our column to the input's. choices: options of reading that decide what a row is.
    listed: whether captions came as lists. images: folder of the images that came along.
    scanned: remarks of the scan; `remarks`: all of reading, once it has ended.
    out: rows that are out from the beginning, by the word for it: `removed`, `opted_out`; see curate.store.removal.
    """

    input: str
    format: str
    columns: list[str]
    mapping: dict[str, str]
    choices: dict[str, Any] | None = None
    listed: bool = False
    files: int
    files_id: str
    first_shard: int
    shards: int
    rows: int
    rows_per_shard: int
    images: str | None = None
    scanned: dict[str, Any] = {}
    remarks: dict[str, Any] | None = None
    out: dict[str, int] = {}

    @property
    def shard_numbers(self) -> range:
        return range(self.first_shard, self.first_shard + self.shards)


class Table(Entry):
    """The columns of one op, of a download, or of images that came with the input.

    name: what it is called; its folder is `<name>-<identity>`. Name, op, options, version, weights, code and decoding
        are the op's `spec`, which decides the values.
    changes: how often final values were changed (failed downloads tried again).
    complete: for an op that looks at single rows: the pools of rows that the table is final for (`Manifest.pool`), each
        with the identity of what the op read there.
    pool: for an op that looks at all rows, the rows it looked at; `after` is their keep table.
    seconds: of computing, all runs together that came to the step's end. For an op that looks at single rows those of
        `batch` and of preparing, the sum over workers; for one that looks at all rows the wall clock of its step.
    cost: what workers spent on an op that looks at single rows. remarks, report: what is said of it.
    shards: of the store, when it was made, where inputs were added since; else None: it has a part of every shard.
    """

    name: str
    op: str
    options: dict[str, Any] = {}
    version: int = 1
    weights: str = ""
    code: str = ""
    decoding: Any = None
    columns: list[str] = []
    seconds: float = 0.0
    cost: Cost = Cost()
    changes: int = 0
    complete: dict[str, str] | None = None
    pool: str | None = None
    after: str | None = None
    remarks: dict[str, Any] = {}
    report: dict[str, Any] = {}
    shards: int | None = None

    def spec(self) -> dict[str, Any]:
        """As `Op.spec` gave it."""
        spec = {"op": self.op, "options": self.options, "version": self.version, "weights": self.weights}
        more = {"code": self.code, "decoding": self.decoding}
        return spec | {name: value for name, value in more.items() if value}


class Counts(Entry):
    """Rows that a filter let in, kept, and dropped by reason. copies: how often the rows that it kept are taken, all
    together; None where each is taken once."""

    entered: int
    kept: int
    dropped: dict[str, int]
    copies: int | None = None

    def by_name(self) -> dict[str, Any]:
        """By name; copies only where rows have some."""
        return self.model_dump(exclude_none=True)


class Keep(Entry):
    """The verdicts of a filter step.

    filter: its rule. after: folder of the keep table before it. threshold: what `top` was resolved to.
    shards: as of Table. remarks: what is said of it.
    """

    kind: Literal["keep"]
    name: str
    step: str
    filter: dict[str, Any]
    columns: list[str] = []
    after: str | None = None
    counts: Counts
    threshold: dict[str, Any] | None = None
    shards: int | None = None
    remarks: dict[str, Any] = {}


class Run(Entry):
    """How a pipeline's last run ended. seconds: wall clock by step. written: what the write step says of its shards."""

    keep: str | None = None
    written: dict[str, Any] = {}
    seconds: dict[str, float] = {}
