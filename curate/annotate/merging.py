"""Links of all rows, put together file by file while one worker can hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from curate.alike.forest import components
from curate.annotate.nodes import forest, report, write_labels
from curate.annotate.partitions import Cut, runs_of
from curate.cluster.many_shards import in_threads
from curate.store.store import Store


@dataclass(frozen=True)
class Merging:
    """The job: `merge` level by level, then `label`.

    work: the folder of the work; files of links are `links-<level>/<number>.parquet` below it, `files` of them.
    fit: links that a worker can hold. most: files that one task puts together.
    cap: rows that a group has at most. lasts: the last shard of each run, by which labels are cut.
    batches: the files of each task, and links_there how many links they have; once the files were looked at.
    """

    store: Store
    work: str
    files: int
    fit: int
    most: int
    cap: int
    lasts: list[int]
    level: int = 0
    batches: list[list[int]] = field(default_factory=list)
    links_there: int = 0

    def batched(self) -> Merging:
        """The job with files that are all there cut into batches, for the driver."""

        def rows(number: int) -> int:
            with self.store.opened(self._name(number)) as file:
                return file.rows

        sizes = dict(enumerate(in_threads(rows, self.files)))
        batches = runs_of(range(self.files), Cut(shards_per_run=self.most), sizes, self.fit)
        return replace(self, batches=batches, links_there=sum(sizes.values()))

    def needs_rounds(self) -> bool:
        """Whether one worker cannot hold all links, and to merge them would not make half as many files."""
        return self.links_there > self.fit and 2 * len(self.batches) > self.files

    def merge(self, batch: int) -> None:
        """One file of the next level: the spanning forest of several files of this one."""
        name = f"{self.work}/links-{self.level + 1}/{batch:05d}.parquet"
        self.store.write_file(name, self.links(batch).to_arrow())

    def unmerged(self) -> list[int]:
        merged = self.store.parts(f"{self.work}/links-{self.level + 1}")
        return [batch for batch in range(len(self.batches)) if batch not in merged]

    def merged(self) -> Merging:
        """The job as it goes on from the next level."""
        return replace(self, level=self.level + 1, files=len(self.batches)).batched()

    def label(self, _: int) -> None:
        """Done once, where all files are one batch: the group of every row that has a link."""
        self.grouped(0, self.links(0))

    def grouped(self, number: int, links: pl.DataFrame) -> None:
        """Write the groups that these links make, none over the cap."""
        a, b, closeness = (links[name].to_numpy() for name in ("a", "b", "closeness"))
        self.labelled(number, *components(a, b, closeness, self.cap))

    def labelled(self, number: int, nodes: np.ndarray, labels: np.ndarray, components: np.ndarray) -> None:
        """Write groups that are known, and their report, which says that it is done. components: as `report` has
        it."""
        write_labels(self.store, self.work, number, nodes, labels, self.lasts)
        self.store.write_json(f"{self.work}/reports/{number:05d}.json", report(nodes, labels, components, self.cap))

    def unlabelled(self, numbers: range) -> list[int]:
        reported = self.store.names(f"{self.work}/reports")
        return [number for number in numbers if f"{number:05d}.json" not in reported]

    def reports(self) -> Iterator[dict[str, Any]]:
        """Those that are whole: what a killed worker leaves of one has another name."""
        for name in sorted(self.store.names(f"{self.work}/reports")):
            if name.endswith(".json"):
                yield self.store.read_json(f"{self.work}/reports/{name}")

    def links(self, batch: int) -> pl.DataFrame:
        """The spanning forest of the files of a batch. They are put together as they are read: of links that say the
        same again, no more are held than of those that stay, and one file."""
        first, *others = self.batches[batch]
        kept, waiting = self._read(first), list[pl.DataFrame]()
        for number in others:
            waiting.append(self._read(number))
            if number == others[-1] or sum(map(len, waiting)) > len(kept):
                kept, waiting = forest(pl.concat([kept, *waiting])), []
        return kept

    def _name(self, number: int) -> str:
        return f"{self.work}/links-{self.level}/{number:05d}.parquet"

    def _read(self, number: int) -> pl.DataFrame:
        return pl.DataFrame(self.store.read_file(self._name(number)))
