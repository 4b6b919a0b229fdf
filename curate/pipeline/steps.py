"""Steps: a pipeline as it was read. Each step is an object that knows what it lacks, and does its work."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curate.annotate.step import annotate
from curate.cluster.cluster import Cluster
from curate.download.options import DownloadOptions, lacking_packages, unknown_statuses
from curate.download.step import COLUMNS as IMAGE_COLUMNS
from curate.download.step import download
from curate.errors import CurateError, findings_of, unknown
from curate.filter.rule import Filter
from curate.filter.step import check_columns, nothing_left, select
from curate.library.op_names import op_name
from curate.messages.counted import counted
from curate.messages.progress import console
from curate.op import Op, Score
from curate.read.options import ReadOptions
from curate.read.step import read
from curate.store.image_columns import FETCH_FIELDS, IMAGE_FIELDS
from curate.store.view import View
from curate.write.faces import lacking_for_faces
from curate.write.step import WriteOptions, write

#: Columns that a row has once it has an image, with their types where these are known.
IMAGE_TYPES = {name: IMAGE_FIELDS.get(name) for name in IMAGE_COLUMNS}
#: And of how they were fetched.
FETCH_TYPES = dict(FETCH_FIELDS)

#: Rows whose image could not be had leave here, with their download status as the reason.
NO_IMAGE = Filter(name="download", where={"no image": "status = 'success'"}, reason="status")


@dataclass(frozen=True)
class Known:
    """What is known of the rows when a step begins, before any work.

    columns: names to types (None where a type is not known); None when the names are not known either.
    images: whether rows have images. decided_by: columns by which steps before dropped rows.
    """

    columns: dict[str, Any] | None
    images: bool
    decided_by: frozenset[str] = frozenset()

    def names(self) -> set[str]:
        return set(self.columns or ())

    def adding(self, columns: Mapping[str, Any]) -> Known:
        return self if self.columns is None else replace(self, columns={**self.columns, **columns})


@dataclass(frozen=True)
class Step(ABC):
    """One verb with what it is to do, its options checked. name: what the funnel and the ledger call it."""

    verb: str
    name: str

    def label(self) -> str:
        """What its seconds are noted under."""
        return self.verb if self.verb == self.name else f"{self.verb} {self.name}"

    def ops(self, columns: Collection[str]) -> Sequence[Op]:
        """The ops that it runs where these columns are there."""
        return ()

    def decides_by(self) -> tuple[str, ...]:
        """Columns by which it drops rows."""
        return ()

    def check(self, known: Known) -> list[str]:
        """What is wrong with it once its ops have run, one line each.

        known: what is known then.
        """
        return []

    def after(self, known: Known) -> Known:
        """What is known once it is done; what its ops make is in `known` already."""
        return replace(known, decided_by=known.decided_by | set(self.decides_by()))

    def opt_out(self) -> tuple[str, ...]:
        """The opt-out lists that it heeds."""
        return ()

    @abstractmethod
    def do(self, view: View, cluster: Cluster) -> View:
        """Do it, or what is left of it; returns what the next step sees.

        Raises:
            CurateError: when it cannot end, or no row is left.
        """


@dataclass(frozen=True)
class ReadStep(Step):
    """The input's rows become shards of `records`."""

    options: ReadOptions

    def opt_out(self) -> tuple[str, ...]:
        return self.options.opt_out

    def do(self, view: View, cluster: Cluster) -> View:
        return read(view.store, self.options, cluster)


@dataclass(frozen=True)
class DownloadStep(Step):
    """Each row gets its image; a row that gets none leaves."""

    options: DownloadOptions

    def opt_out(self) -> tuple[str, ...]:
        return self.options.opt_out

    def check(self, known: Known) -> list[str]:
        return [*lacking_packages(self.options), *unknown_statuses(self.options)]

    def after(self, known: Known) -> Known:
        # Where all images came with the input, nothing is fetched.
        return replace(known.adding(IMAGE_TYPES | ({} if known.images else FETCH_TYPES)), images=True)

    def do(self, view: View, cluster: Cluster) -> View:
        return dropped_by(NO_IMAGE, self.name, download(view, self.options, cluster), cluster)


@dataclass(frozen=True)
class AnnotateStep(Step):
    """`annotate`, `score`: ops add columns, every row stays."""

    todo: tuple[Op, ...]

    def ops(self, columns: Collection[str]) -> Sequence[Op]:
        return self.todo

    def do(self, view: View, cluster: Cluster) -> View:
        return annotate(view, self.todo, cluster)


@dataclass(frozen=True)
class FilterStep(Step):
    """A rule keeps rows or drops them; columns that it lacks are made first."""

    rule: Filter

    def ops(self, columns: Collection[str]) -> Sequence[Op]:
        """The rule's ops that have to run before it: a score that is there already (from the input, or an earlier step)
        is taken as it is; what was judged over all rows is judged again over those that are in now."""

        def present(op: Op) -> bool:
            return isinstance(op, Score) and set(self.rule.columns) & set(op.makes()) <= set(columns)

        return [op for op in self.rule.ops if not present(op)]

    def decides_by(self) -> tuple[str, ...]:
        return self.rule.needs()

    def check(self, known: Known) -> list[str]:
        try:
            if known.columns is not None:
                check_columns(self.rule, known.columns)
        except CurateError as error:
            return list(findings_of(error))
        return []

    def do(self, view: View, cluster: Cluster) -> View:
        return dropped_by(self.rule, self.name, annotate(view, self.ops(set(view.columns)), cluster), cluster)


@dataclass(frozen=True)
class DecideStep(FilterStep):
    """`dedupe`, `balance`: an op judges the rows that are in, and its own decision drops the others at once."""

    op: Op

    def ops(self, columns: Collection[str]) -> Sequence[Op]:
        return (self.op,)

    def check(self, known: Known) -> list[str]:
        faults = [
            f"rows were dropped by '{column}' before, and {op_name(type(self.op))} decides in its place: make that "
            "column in an `annotate:` step, which drops no row"
            for column in self.op.replaces()
            if column in known.decided_by
        ]
        return faults + super().check(known)


@dataclass(frozen=True)
class WriteStep(Step):
    """Rows that are in become training shards."""

    options: WriteOptions

    def check(self, known: Known) -> list[str]:
        if not known.images:
            return ["there are no images to write: download comes first"]
        if faults := lacking_for_faces(self.options.faces):
            return faults
        if known.columns is None:
            return []
        named = [*(self.options.columns or ()), *filter(None, [self.options.faces])]
        return [str(unknown("column", n, known.columns)) for n in named if n not in known.columns]

    def do(self, view: View, cluster: Cluster) -> View:
        return replace(view, written=write(view, self.options, cluster))


def dropped_by(rule: Filter, name: str, view: View, cluster: Cluster) -> View:
    """The view of the rows that a rule keeps; one line says how many go.

    Raises:
        CurateError: when no row is left: the steps after it have nothing to do.
    """
    after, counts = select(view, rule, name, cluster)
    if nothing := nothing_left(counts, name, view.store.url):
        raise CurateError(nothing)
    dropped = counts["entered"] - counts["kept"]
    console.print(f"[dim]{name}: {counted(counts['entered'], 'row')} in, {dropped:,} dropped, {counts['kept']:,} left")
    return after


@dataclass(frozen=True)
class Pipeline:
    """Steps over one store. memory: bytes that one worker of a whole-dataset step may use."""

    name: str
    root: str
    steps: tuple[Step, ...]
    about: str = ""
    memory: int | None = None

    @property
    def reads(self) -> ReadOptions | None:
        """Its input; None for one that goes on with a store."""
        first = self.steps[0]
        return first.options if isinstance(first, ReadStep) else None

    @property
    def writes_to(self) -> list[str]:
        """Folders outside of the store that it writes."""
        return [step.options.to for step in self.steps if isinstance(step, WriteStep) and step.options.to]


def ops_of(pipeline: Pipeline) -> list[Op]:
    """Every op of its steps and filters."""
    return [op for step in pipeline.steps for op in step.ops(())]


def summary(pipeline: Pipeline) -> str:
    """What a check of it has looked at."""
    source, ops = pipeline.reads, ops_of(pipeline)
    begin = f"input {source.input} can be read" if source else f"store {pipeline.root} has rows"
    conditions = sum(bool(step.decides_by()) for step in pipeline.steps)
    lists = {file for step in pipeline.steps for file in step.opt_out()}
    begin += f"; {counted(len(lists), 'opt-out list')}" if lists else ""
    return (
        f"{begin}; root {pipeline.root} can be written; {len(ops)} ops: options, files, weights, packages; "
        f"the conditions of {conditions} steps that drop rows; every column that a step reads"
    )


def on_all_nodes(pipeline: Pipeline) -> Pipeline:
    """The same with a root that means the same folder to the workers of a cluster: they do not run where the user does.

    Raises:
        CurateError: for a relative root inside a job, whose folder is deleted with it.
    """
    if "://" in pipeline.root or os.path.isabs(pipeline.root):
        return pipeline
    here = os.path.abspath(pipeline.root)
    if "/working_dir_files/" in here:
        raise CurateError(
            f"root '{pipeline.root}' is a relative path: here that is the temporary folder of a job, which is deleted. "
            "Name storage that every node sees: --set root=s3://BUCKET/..., or an absolute path that is mounted on all"
        )
    return replace(pipeline, root=here)
