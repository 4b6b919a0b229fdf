"""Retrieval: the rows of a store whose stored vectors are nearest to those of a file, into a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from curate.arrays.arrow_columns import flat
from curate.arrays.vectors import read_vectors
from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import shard_runs
from curate.errors import CurateError, unknown
from curate.models.vector_file import VectorFile, in_tiles
from curate.retrieval.best_rows import BestRows, best_rows
from curate.store.folder import folder_and_name
from curate.store.view import View

#: Rows of the shards of one task: their vectors are read a shard at a time.
RUN_ROWS = 100_000
#: Neighbours of all queries together, which every worker holds at 60 bytes each.
MOST_NEIGHBOURS = 20_000_000
ENDINGS = (".parquet", ".csv")


@dataclass(frozen=True)
class Retrieved:
    """queries: in the file. rows: of the store that have a vector. neighbours: lines of the table. table: query (its
    number in the file, from 0), uid, cos, rank (from 1)."""

    queries: int
    rows: int
    table: pa.Table


def retrieve(view: View, by: str, file: VectorFile, k: int, cluster: Cluster) -> Retrieved:
    """The k rows that are in with the greatest cosines to each query, exactly; of equal cosines the smaller uid.

    Raises:
        CurateError: for a column that is not there, a file that cannot be used, or vectors of another width.
    """
    if by not in view.columns:
        raise unknown("column", by, view.columns, view.store.url)
    queries = file.vectors()
    for _ in in_tiles(queries, file.source, unit=True):
        pass
    if len(queries) * k > MOST_NEIGHBOURS:
        raise CurateError(
            f"retrieve: {len(queries):,} queries of {k:,} rows are over {MOST_NEIGHBOURS:,} neighbours: cut the file"
        )
    rows = view.store.shard_rows()
    runs = shard_runs(rows, RUN_ROWS)
    sizes = {number: sum(rows[shard] for shard in run) for number, run in enumerate(runs)}
    job = Retrieval(view, by, file, k, runs)
    best, seen = BestRows.none(k), 0
    for _, (more, number) in cluster.each(f"retrieve by {by}", job.best, list(sizes), sizes):
        best, seen = best + more, seen + number
    columns = {"query": best.queries, "uid": best.uids, "cos": best.cosines.astype(np.float32), "rank": best.ranks()}
    return Retrieved(len(queries), seen, pa.table(columns))


@dataclass(frozen=True)
class Retrieval:
    """The job. runs: the shards of each task."""

    view: View
    by: str
    file: VectorFile
    k: int
    runs: list[range]

    def best(self, run: int) -> tuple[BestRows, int]:
        """The best rows of a run of shards, and how many of its rows have a vector."""
        best, rows = BestRows.none(self.k), 0
        queries = self.file.vectors()
        for shard in self.runs[run]:
            unit, uids = self._vectors(shard, queries.shape[1])
            rows += len(unit)
            for first, tile in in_tiles(queries, self.file.source, unit=True):
                best = best + best_rows(unit, uids, tile, first, self.k)
        return best, rows

    def _vectors(self, shard: int, width: int) -> tuple[np.ndarray, pa.Array]:
        """Vectors and uids of the rows that are in and have one."""
        table = self.view.read(shard, [self.by, "uid"])
        vectors = read_vectors(flat(table[self.by]), self.by, width)
        kept = self.view.kept(shard)
        inside = vectors.good if kept is None else vectors.good & kept
        return vectors.unit[inside], flat(table["uid"]).filter(pa.array(inside)).cast(pa.large_string())


def check_ending(to: str) -> str:
    """
    Raises:
        CurateError: for a name that says no format.
    """
    ending = next((ending for ending in ENDINGS if to.lower().endswith(ending)), "")
    if not ending:
        raise CurateError(f"--to {to}: its ending must say the format: {' or '.join(ENDINGS)}")
    return ending


def write_table(table: pa.Table, to: str) -> None:
    """As .parquet or .csv, all of it or nothing."""
    folder, name = folder_and_name(to)
    with folder.writing(name) as file:
        _write(table, file, check_ending(to))


def _write(table: pa.Table, file: IO[bytes], ending: str) -> None:
    if ending == ".csv":
        pyarrow.csv.write_csv(table, file)
    else:
        pq.write_table(table, file)
