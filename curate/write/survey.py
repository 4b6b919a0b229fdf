"""What the driver must know of all rows before it writes: which go out, and what their columns and files hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import each_run, in_threads, shard_runs
from curate.messages.remarks import Remarks
from curate.record import MALFORMED
from curate.store.part_file import Part
from curate.store.view import View
from curate.write.shard_columns import EQUAL, RENAMED, Column, read, shown

#: Hugging Face's loader learns the columns of a tar from so many samples.
LEARNT_FROM = 5
NEEDED = f"samples needed to show every column, and loaders look at {LEARNT_FROM}: load_dataset(folder) knows them all"
#: Extensions under which open_clip's loader looks for images.
USUAL_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp"})
LARGEST_INT64 = 2**63 - 1


class Writable(NamedTuple):
    """The samples that a shard gives: rows that are in and have an image, each as often as it is taken.

    rows: (samples,) their rows, in order. copy: (samples,) the number among the copies of its row, from 0; None where
    rows have no copies. sizes: (samples,) bytes of their images. without: rows that are in without an image, by status.
    """

    rows: np.ndarray
    copy: np.ndarray | None
    sizes: np.ndarray
    without: dict[str, int]


def writable(view: View, shard: int) -> Writable:
    """What a shard gives."""
    with _images(view, shard) as part:
        return _writable(view, shard, part)


def _images(view: View, shard: int) -> AbstractContextManager[Part]:
    """A shard's part of the images table, opened: on an object store each opening is two requests."""
    assert view.images is not None
    return view.store.opened(view.store.part(view.images, shard))


def _writable(view: View, shard: int, part: Part) -> Writable:
    about = part.read(["status", "size"])
    status = about["status"].combine_chunks()
    stored = pc.fill_null(pc.equal(status, "success"), False).to_numpy(zero_copy_only=False)
    kept = view.kept(shard)
    inside = np.ones(len(status), bool) if kept is None else kept
    rows = np.flatnonzero(inside & stored)
    lacking = pc.value_counts(status.take(pa.array(np.flatnonzero(inside & ~stored))))
    without = {str(word): count for word, count in zip(*(lacking.field(n).to_pylist() for n in (0, 1)), strict=True)}
    copies, copy = view.copies(shard), None
    if copies is not None:
        times = copies[rows].astype(np.int64)
        rows = np.repeat(rows, times)
        copy = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
    sizes = about["size"].fill_null(0).to_numpy()[rows]
    return Writable(rows, copy, sizes, dict(sorted(without.items())))


def sample_files(view: View, shard: int, rows: np.ndarray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Of rows that have an image: the extension of its file; the sample's other files, null where it has none."""
    with _images(view, shard) as part:
        return _sample_files(part, rows)


def _sample_files(part: Part, rows: np.ndarray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    names = [name for name in ("extension", "members") if name in part.schema.names]
    table = part.read(names).take(pa.array(rows))
    members = table["members"] if "members" in names else pa.chunked_array([pa.nulls(len(rows))])
    return table["extension"], members


@dataclass
class Survey:
    """Facts of the rows of some shards that are written.

    shards: of the store, in order. counts: the samples of each. rows: of all samples; None where each row is one.
    without: statuses of kept rows without image.
    extensions: samples by the extension of their image. members: whether samples have other files.
    shows: a column to the first row that shows a value of it, as (shard, place among its writable rows).
    first: the rows that have to come first, so that together they show each column; only of all shards.
    """

    shards: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    rows: int | None = None
    without: Counter[str] = field(default_factory=Counter)
    extensions: Counter[str] = field(default_factory=Counter)
    members: bool = False
    unequal: set[str] = field(default_factory=set)
    too_large: set[str] = field(default_factory=set)
    shows: dict[str, tuple[int, int]] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)
    first: list[tuple[int, int]] = field(default_factory=list)

    def add(self, later: Survey) -> None:
        """The facts of the shards behind these."""
        self.shards += later.shards
        self.counts += later.counts
        if later.rows is not None:
            self.rows = (self.rows or 0) + later.rows
        self.without.update(later.without)
        self.extensions.update(later.extensions)
        self.members |= later.members
        self.unequal |= later.unequal
        self.too_large |= later.too_large
        self.shows = {**later.shows, **self.shows}

    def first_sizes(self, view: View) -> dict[tuple[int, int], int]:
        """The rows of `first` with the bytes of their images."""
        return {(shard, place): int(writable(view, shard).sizes[place]) for shard, place in self.first}


@dataclass(frozen=True)
class SurveyJob:
    """The job: looks at the images table of a run of shards, and at as few of the columns as tell what is asked.

    shown: columns of which an earlier row shows a value: where a later one does is not asked.
    """

    view: View
    columns: Sequence[Column]
    runs: Sequence[range]
    shown: frozenset[str] = frozenset()

    def look(self, run: int) -> tuple[int, Survey]:
        """The run, and its facts."""
        facts = Survey(list(self.runs[run]))
        by_name = {column.name: column for column in self.columns}
        for shard in self.runs[run]:
            rows = self._look_at_images(shard, facts)
            if len(rows):
                _compare(self.view, shard, rows, self.columns, by_name, facts)
                unseen = [c for c in self.columns if c.name not in self.shown and c.name not in facts.shows]
                _first(self.view, shard, rows, unseen, facts)
        return run, facts

    def _look_at_images(self, shard: int, facts: Survey) -> np.ndarray:
        """The rows of the samples that a shard gives."""
        with _images(self.view, shard) as part:
            samples = _writable(self.view, shard, part)
            rows = samples.rows
            facts.counts.append(len(rows))
            if samples.copy is not None:
                facts.rows = (facts.rows or 0) + int((samples.copy == 0).sum())
            facts.without.update(samples.without)
            if len(rows):
                extensions, members = _sample_files(part, rows)
                facts.extensions.update(extensions.to_pylist())
                facts.members |= members.null_count < len(rows)
        return rows


def survey(view: View, columns: Sequence[Column], cluster: Cluster | None = None) -> Survey:
    """Looks at all shards; on the cluster when they are many, see curate.cluster.many_shards."""
    rows = view.store.shard_rows()
    job = SurveyJob(view, columns, shard_runs(rows))
    facts = job.look(0)[1] if job.runs else Survey()
    # The first run shows nearly all columns, and all others need not look for those.
    job = replace(job, runs=job.runs[1:], shown=frozenset(facts.shows))
    # In the order of the store, so that what is first is first whoever was done first.
    for _, more in sorted(each_run("survey", job.look, job.runs, rows, cluster), key=lambda report: report[0]):
        facts.add(more)
    facts.empty = {column.name for column in columns} - facts.shows.keys()
    facts.first = sorted(set(facts.shows.values()))
    # Mostly the rows that are first anyway show all.
    if set(facts.first) <= set(islice(_places(facts), LEARNT_FROM)):
        facts.first = []
    else:
        facts.first = _fewest(view, columns, facts.first)
    return facts


def _places(facts: Survey) -> Iterator[tuple[int, int]]:
    """(shard, place) of every row that is written."""
    for shard, count in zip(facts.shards, facts.counts, strict=True):
        yield from ((shard, place) for place in range(count))


def sizes(view: View, facts: Survey, in_bytes: bool) -> Iterator[tuple[int, np.ndarray]]:
    """(shard, bytes of the images of its samples), in order; zeros where nobody asks for bytes.

    They are read again rather than kept: eight bytes a row are too many for one process.
    """
    if not in_bytes:
        yield from ((shard, np.zeros(count, np.int64)) for shard, count in zip(facts.shards, facts.counts, strict=True))
        return
    for place, heavy in enumerate(
        in_threads(lambda place: writable(view, facts.shards[place]).sizes, len(facts.shards))
    ):
        yield facts.shards[place], heavy


def _compare(
    view: View, shard: int, rows: np.ndarray, columns: Sequence[Column], by_name: dict[str, Column], facts: Survey
) -> None:
    """Columns of the input that differ from curate's of that name, and numbers that few readers take."""
    pairs = [(c, by_name[c.shadowed]) for c in columns if c.shadowed in by_name and c.name not in facts.unequal]
    wide = [c for c in columns if pa.types.is_uint64(c.kind) and not c.form and c.name not in facts.too_large]
    if not pairs and not wide:
        return
    table = read(view, shard, dict.fromkeys([*(c for pair in pairs for c in pair), *wide])).take(pa.array(rows))
    for theirs, ours in pairs:
        if table[theirs.name].to_pylist() != table[ours.name].to_pylist():
            facts.unequal.add(theirs.name)
    for column in wide:
        if (pc.max(table[column.name]).as_py() or 0) > LARGEST_INT64:
            facts.too_large.add(column.name)


def _first(view: View, shard: int, rows: np.ndarray, unseen: list[Column], facts: Survey) -> None:
    """Notes the first row that shows a column: the same ones however the store is cut."""
    if not unseen:
        return
    for column, visible in zip(unseen, _visible(view, shard, rows, unseen), strict=True):
        if visible.any():
            facts.shows[column.name] = (shard, int(visible.argmax()))


def _visible(view: View, shard: int, rows: np.ndarray, columns: Sequence[Column]) -> np.ndarray:
    """Whether a column (first axis) shows a value in a row (second axis)."""
    table = read(view, shard, columns).take(pa.array(rows))
    return np.array([shown(table[column.name]).to_numpy(zero_copy_only=False) for column in columns], bool)


def _fewest(view: View, columns: Sequence[Column], first: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """As few of the rows as show every column that they show together, in the order of the store."""
    shows = []
    for shard, place in first:
        row = writable(view, shard).rows[place : place + 1]
        shows.append(_visible(view, shard, row, columns)[:, 0])
    matrix, chosen = np.array(shows).T, list[int]()
    open_columns = matrix.any(axis=1)
    while open_columns.any():
        chosen.append(int(matrix[open_columns].sum(axis=0).argmax()))
        open_columns &= ~matrix[:, chosen[-1]]
    return sorted(first[place] for place in chosen)


def settled(columns: Sequence[Column], facts: Survey, by_default: bool, remarks: Remarks) -> list[Column]:
    """The columns without those that say nothing new."""
    names = {column.name for column in columns}
    equal = {c.name: c.source for c in columns if by_default and c.shadowed in names and c.name not in facts.unequal}
    if equal:
        remarks.add(EQUAL, len(equal), ", ".join(sorted(equal.values())))
    gone = equal.keys() | ({MALFORMED} & facts.empty)
    stay = [replace(c, form="text") if c.name in facts.too_large else c for c in columns if c.name not in gone]
    renamed = [column.source for column in stay if column.shadowed]
    if renamed:
        remarks.add(RENAMED, len(renamed), ", ".join(renamed))
    return stay


def say_what_loaders_miss(facts: Survey, remarks: Remarks) -> None:
    """What training loaders will not see of the shards, and what was done for them."""
    unusual = {e: n for e, n in sorted(facts.extensions.items()) if e not in USUAL_EXTENSIONS}
    if unusual:
        names = ", ".join(f"{extension}: {rows:,}" for extension, rows in unusual.items())
        remarks.add(
            "samples whose image is none of jpg, jpeg, png, webp: open_clip skips them", sum(unusual.values()), names
        )
    if len(facts.extensions) > 1:
        names = ", ".join(f"{extension}: {rows:,}" for extension, rows in sorted(facts.extensions.items()))
        remarks.add(
            'kinds of images: load_dataset("webdataset") wants one, load_dataset(folder) takes all',
            len(facts.extensions),
            names,
        )
    if facts.first:
        remarks.add("samples brought to the front: loaders learn the columns from the first ones", len(facts.first))
    if len(facts.first) > LEARNT_FROM:
        remarks.add(NEEDED, len(facts.first))
