"""One pass over a shard: it is read once, each image decoded once, and every op asked for runs on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from curate.annotate.ahead import Ahead
from curate.annotate.answer import remarks_of
from curate.annotate.meter import Meter, worker_name
from curate.annotate.op_run import OpRun
from curate.annotate.packages import check_packages
from curate.annotate.unfinished import Planned, rows_to_do
from curate.arrays.arrow_columns import flat
from curate.cluster.nodes import feeding_threads
from curate.cluster.suspects import DEADLY, Suspects
from curate.op import Score
from curate.store.cost import Cost
from curate.store.images import ImageReader
from curate.store.view import View


@dataclass(frozen=True)
class ShardReport:
    """What a worker tells of a shard. rows: that any op had to do. seconds, costs: by folder.

    seconds: of the op's `batch`, and processor time of preparing; see `Table.seconds`.
    """

    worker: str = field(default_factory=worker_name)
    rows: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)


class OneShard:
    """The job of a pass: fills the rows of a shard that are missing in the tables of several ops.

    Rows that have a value keep it: a later run with more rows computes only those.
    """

    def __init__(self, view: View, plan: Sequence[Planned], session: str = ""):
        self.view, self.plan, self.session = view, plan, session
        # A worker has one core, which two threads keep busy while one of them reads; or a GPU to feed.
        self.threads = 2
        self.meter = Meter()

    def setup(self) -> None:
        check_packages(planned.op for planned in self.plan)  # here too: a node may lack what the driver has
        for planned in self.plan:
            self.meter.set_up(planned.folder, planned.op)
        if any(planned.op.gpus() for planned in self.plan):
            self.threads = feeding_threads()

    def __call__(self, shard: int) -> ShardReport:
        return self._fill(shard, None)

    def careful(self, shard: int) -> ShardReport:
        """After this shard failed once: slower, and it finds the rows that kill the worker."""
        suspects = self._suspects(shard)
        report = self._fill(shard, suspects)
        suspects.clear()
        return report

    def acquit(self, shard: int) -> None:
        """The last attempt ended because a node was lost: no row is to blame for it."""
        self._suspects(shard).acquit()

    def _suspects(self, shard: int) -> Suspects:
        return Suspects(self.view.store, self.plan[0].folder, shard, self.session)

    def _fill(self, shard: int, suspects: Suspects | None) -> ShardReport:
        sizes: dict[str, int] = {}
        with self.meter.shard() as spent:
            runs = [run for run in self._runs(shard) if run.has_work]
            if not runs:
                return ShardReport()
            ahead = self.run(shard, runs, suspects)
            for run in runs:
                part = run.finished()
                self.view.store.write_remarks(run.folder, shard, remarks_of(part, run.op, shard))
                sizes[run.folder] = self.view.store.write_part(run.folder, shard, part)
        rows = int(np.logical_or.reduce([run.todo for run in runs]).sum())
        seconds = {run.folder: run.seconds + ahead.preparing_seconds[run.folder] for run in runs}
        return ShardReport(rows=rows, seconds=seconds, costs=self.meter.costs(spent, runs, seconds, sizes))

    def _runs(self, shard: int) -> list[OpRun]:
        runs: list[OpRun] = []
        coming: dict[str, np.ndarray] = {}
        for planned in self.plan:
            todo, part = rows_to_do(self.view, planned, shard, coming)
            runs.append(OpRun(planned.op, planned.folder, todo, part))
            if todo.any():
                coming |= dict.fromkeys(planned.op.makes(), todo)
        return runs

    def run(self, shard: int, runs: Sequence[OpRun], suspects: Suspects | None = None) -> Ahead:
        """Do what ops have to do in a shard; returns what made its chunks, which knows how long that took."""
        fresh = {name for run in runs for name in run.op.makes()}
        stored = sorted({name for run in runs for name in run.op.reads()} - fresh - {"image"})
        table = self.view.read(shard, stored).combine_chunks() if stored else None
        chunks = _chunks(runs)
        if suspects:
            chunks = suspects.split(chunks)
        images = self.view.images if any("image" in run.op.reads() for run in runs) else None
        ahead = Ahead(
            {run.folder: run.op for run in runs},
            {run.folder: run.todo for run in runs},
            reader=ImageReader(self.view.store, images, shard) if images else None,
            texts=flat(table["text"]) if table is not None and "text" in stored else None,
            threads=self.threads,
            suspects=suspects,
        )
        for chunk in ahead(chunks):
            taken = table.take(pa.array(chunk.rows)) if table is not None else None
            columns = {name: flat(taken[name]) for name in stored} if taken is not None else {}
            deadly = DEADLY if suspects is not None and chunk.rows[0] in suspects.deadly else ""
            for run in runs:
                columns |= run.do(chunk, columns, deadly)
        return ahead


def _chunks(runs: Sequence[OpRun]) -> list[np.ndarray]:
    """Rows of the shard that any op has to do, cut into chunks."""
    rows = np.flatnonzero(np.logical_or.reduce([run.todo for run in runs]))
    size = _rows_at_a_time([run.op for run in runs])
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _rows_at_a_time(ops: Sequence[Score]) -> int:
    """Rows of a chunk. Where an op keeps images at their full size, no more than it asks for: two chunks of them are
    in memory."""
    seeing = [op for op in ops if "image" in op.reads()]
    keeping = [op.rows_at_a_time() for op in seeing if "image" not in op.prepares()]
    return max(keeping or [op.rows_at_a_time() for op in seeing or ops])
