"""Which old rows can be in a group with a new one: those that share a key with it, or with an old row that can.

All others are compared with nobody. Rounds go over the keys of old rows, until none has a key that was not met before:

    met-0/<run>.parquet       keys of a run of new rows; met-<n>: those that old rows brought, reached one round before
    marks-<n>.parquet         the keys that are met by then, see curate.annotate.key_marks
    reached-<n>/<run>.parquet old rows of a run that have one of them
    made/<shard>.parquet      keys of old rows, where their store does not keep them
    reached.json              the last round; -1 where all old rows are compared

Rows that only look as if they met a key are compared for nothing: results are the same. So they are where rounds do not
end soon, or reach most rows, and all old rows are compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.alike.kept_keys import KeptKeys, Keys, parted
from curate.annotate.all_rows import AllRows
from curate.annotate.key_marks import KeyMarks
from curate.annotate.nodes import mixed
from curate.annotate.partitions import rows_of_runs
from curate.annotate.pool import as_rows
from curate.arrays.arrow_columns import flat
from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import in_threads
from curate.op import Linked
from curate.store.store import Store

#: After so many rounds, or once so much of the old rows is reached, all are compared.
MOST_ROUNDS, MOST_ROWS = 12, 0.5
#: The round of a job that compares all.
ALL = -1
#: What is forgotten once all keys are sent.
FOLDERS = ("met-", "marks-", "reached", "made")


@dataclass(frozen=True)
class Reach:
    """The job: `mark`, then `reach`, round after round.

    work: the folder of the work. runs: of shards, each of old rows or of new ones. bits: of the marks.
    """

    rows: AllRows
    op: KeptKeys
    work: str
    runs: list[list[int]]
    bits: int
    round: int = 0

    def setup(self) -> None:
        self.op.setup()

    # ---- keys ----

    def keys(self, shard: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """(numbers of the rows of a shard, uint64 per band, bool): keys that no other band has; whether a row has
        some."""
        rows, column = self._column(shard)
        bands = [band.fill_null(0).to_numpy() for band in parted(column, self._bands)]
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        return rows, [mixed(keys, band) for band, keys in enumerate(bands)], valid

    def _column(self, shard: int) -> tuple[np.ndarray, pa.Array]:
        """Numbers of the rows of a shard, and their keys as a store keeps them."""
        if self.rows.keeps_keys(shard):
            rows, table = self.rows.pool_rows(shard, [self.rows.key])
            return rows, flat(table[self.rows.key])
        name = f"{self.work}/made/{shard}.parquet"
        if shard < 0 and self._store.exists(name):
            table = self._store.read_file(name)
            return table["row"].to_numpy(), flat(table["key"])
        rows, table = self.rows.pool_rows(shard, self.op.key_columns())
        column = Keys(of=self.op).batch(as_rows(table))[self.rows.key]
        if shard < 0:
            self._store.write_file(name, pa.table({"row": rows, "key": column}))
        return rows, column

    @property
    def _bands(self) -> int:
        assert isinstance(self.op, Linked)
        return self.op.bands()

    @property
    def _store(self) -> Store:
        return self.rows.view.store

    # ---- rounds ----

    def meet(self, run: int, keys: np.ndarray) -> None:
        """Note the keys of a run of new rows."""
        self._write_keys(f"met-0/{run:05d}", keys)

    def mark(self, _: int) -> None:
        """The marks of all keys that are met by this round."""
        before = f"{self.work}/marks-{self.round - 1}.parquet"
        words = KeyMarks.read(self._store, before).words.copy() if self.round else KeyMarks.none(self.bits).words
        marks, met = KeyMarks(words), f"{self.work}/met-{self.round}"
        for run in sorted(self._store.parts(met)):
            marks.mark(self._store.read_file(self._store.part(met, run))["key"].to_numpy())
        marks.write(self._store, f"{self.work}/marks-{self.round}.parquet")

    def reach(self, run: int) -> None:
        """The old rows of a run that have a key which is met, and their other keys."""
        marks = KeyMarks.read(self._store, f"{self.work}/marks-{self.round}.parquet")
        reached, met = [pl.DataFrame(schema={"shard": pl.Int32, "row": pl.Int64})], [np.empty(0, np.uint64)]
        for shard in self.runs[run]:
            rows, bands, valid = self.keys(shard)
            held = np.stack([marks.holds(keys) for keys in bands], axis=1) & valid[:, None]
            hit = held.any(axis=1)
            place = pl.lit(shard, pl.Int32).alias("shard")
            reached.append(pl.DataFrame({"row": rows[hit].astype(np.int64)}).select(place, "row"))
            met.append(np.stack(bands, axis=1)[hit][~held[hit]])
        # First what else there is of it: the rows say that the run is done.
        self._write_keys(f"met-{self.round + 1}/{run:05d}", np.concatenate(met))
        self._store.write_file(f"{self.work}/reached-{self.round}/{run:05d}.parquet", pl.concat(reached).to_arrow())

    def _write_keys(self, name: str, keys: np.ndarray) -> None:
        self._store.write_file(f"{self.work}/{name}.parquet", pa.table({"key": np.unique(keys)}))

    def rows_of(self, run: int) -> dict[int, np.ndarray] | None:
        """After the last round, by shard the numbers of the rows of a run that are reached; None for all."""
        if self.round == ALL or self.runs[run][0] >= 0:
            return None
        reached = pl.DataFrame(self._store.read_file(f"{self.work}/reached-{self.round}/{run:05d}.parquet"))
        return {shard: reached.filter(pl.col("shard") == shard)["row"].to_numpy() for shard in self.runs[run]}

    # ---- for the driver ----

    def ended(self) -> Reach | None:
        """The job after its last round; None while rounds go on."""
        if "reached.json" not in self._store.names(self.work):
            return None
        return replace(self, round=self._store.read_json(f"{self.work}/reached.json")["round"])

    def begun(self) -> Reach:
        """The job at the round where it was stopped."""
        marked = (re.fullmatch(r"marks-(\d+)\.parquet", name) for name in self._store.names(self.work))
        return replace(self, round=max((int(one[1]) for one in marked if one), default=0))

    def is_marked(self) -> bool:
        return f"marks-{self.round}.parquet" in self._store.names(self.work)

    def unreached(self) -> list[int]:
        """Runs of old rows that this round has not looked at."""
        done = self._store.parts(f"{self.work}/reached-{self.round}")
        return [run for run, shards in enumerate(self.runs) if shards[0] < 0 and run not in done]

    def noted(self, folder: str) -> int:
        """Rows of all files of a folder."""
        names = [self._store.part(f"{self.work}/{folder}", run) for run in self._store.parts(f"{self.work}/{folder}")]

        def rows(number: int) -> int:
            with self._store.opened(names[number]) as file:
                return file.rows

        return sum(in_threads(rows, len(names)))

    def end(self, last: int) -> Reach:
        self._store.write_json(f"{self.work}/reached.json", {"round": last})
        return replace(self, round=last)

    def forget(self, *prefixes: str) -> None:
        for name in self._store.names(self.work):
            if name.startswith(prefixes):
                self._store.remove(f"{self.work}/{name}")


def reached(job: Reach, cluster: Cluster, label: str, use: dict[str, Any]) -> Reach:
    """Rounds until no old row has a key that was not met; each goes on where it was stopped. The keys of new rows are
    noted before. label: of the op; use: see Cluster.each.
    """
    if ended := job.ended():
        return ended
    job, sizes = job.begun(), rows_of_runs(job.runs, job.rows.sizes())
    old = sum(rows for run, rows in sizes.items() if job.runs[run][0] < 0)
    while True:
        if not job.is_marked():
            cluster.do(f"{label}: keys that are met", job.mark, [0], {}, **use)
        cluster.do(f"{label}: old rows, round {job.round}", job.reach, job.unreached(), sizes, **use)
        if not job.noted(f"met-{job.round + 1}"):
            return job.end(job.round)
        if job.round == MOST_ROUNDS or job.noted(f"reached-{job.round}") > MOST_ROWS * old:
            return job.end(ALL)
        job.forget(f"met-{job.round}", f"marks-{job.round - 1}.", f"reached-{job.round - 1}")
        job = replace(job, round=job.round + 1)
