"""One pass over a shard: it is read once, each image decoded once, and every op asked for runs on it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from curate.annotate.answer import remarks_of
from curate.annotate.meter import Meter, worker_name
from curate.annotate.next_shard import NextShard
from curate.annotate.op_run import OpRun
from curate.annotate.open_shard import OpenShard
from curate.annotate.packages import check_packages
from curate.annotate.room import Room
from curate.annotate.unfinished import Planned, rows_to_do
from curate.cluster.nodes import feeding_threads
from curate.cluster.suspects import Suspects
from curate.store.cost import Cost
from curate.store.view import View


@dataclass(frozen=True)
class ShardReport:
    """What a worker tells of a shard. rows: that any op had to do. seconds, costs: by folder.

    seconds: of the op's `batch`, and processor time of preparing; see `Table.seconds`. began, ended: by the clock of
    the worker's machine, seconds since 1970.
    """

    worker: str = field(default_factory=worker_name)
    rows: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0


class OneShard:
    """The job of a pass: fills the rows of a shard that are missing in the tables of several ops.

    Rows that have a value keep it: a later run with more rows computes only those.

    Where an op asks for a GPU, that is not to wait at the end of a shard: the parts are written in a thread while the
    next shard is worked on, and the first rows of that one are prepared while the last ones of this are. Two shards
    have rows in memory then, together no more than one has alone; and the values of one more wait to be written.
    """

    def __init__(self, view: View, plan: Sequence[Planned], session: str = ""):
        self.view, self.plan, self.session = view, plan, session
        # A worker has one core, which two threads keep busy while one of them reads; or a GPU to feed.
        self.threads = 2
        self.meter = Meter()
        self._room: Room | None = None
        self._next: NextShard | None = None
        self._writing: ThreadPoolExecutor | None = None

    def setup(self) -> None:
        check_packages(planned.op for planned in self.plan)  # here too: a node may lack what the driver has
        for planned in self.plan:
            self.meter.set_up(planned.folder, planned.op)
        if any(planned.op.gpus() for planned in self.plan):
            self.threads = feeding_threads()
            self._room, self._next = Room(), NextShard(self._opened)
            self._writing = ThreadPoolExecutor(1)

    def __call__(self, shard: int) -> ShardReport | Future[ShardReport]:
        return self._fill(shard, None)

    def coming(self, shard: int) -> None:
        """The shard that follows the one at work, or the one that is about to be."""
        if self._next:
            self._next.coming(shard)

    def leave(self) -> None:
        """No shard follows any more: nothing is prepared, and what was is forgotten."""
        if self._next and self._writing:
            self._next.close()
            self._writing.shutdown()

    def careful(self, shard: int) -> ShardReport:
        """After this shard failed once: slower, and it finds the rows that kill the worker."""
        suspects = self._suspects(shard)
        report = self._fill(shard, suspects)
        assert isinstance(report, ShardReport)
        suspects.clear()
        return report

    def acquit(self, shard: int) -> None:
        """The last attempt ended because a node was lost: no row is to blame for it."""
        self._suspects(shard).acquit()

    def _suspects(self, shard: int) -> Suspects:
        return Suspects(self.view.store, self.plan[0].folder, shard, self.session)

    def _fill(self, shard: int, suspects: Suspects | None) -> ShardReport | Future[ShardReport]:
        began = time.time()
        self.meter.begin()
        try:
            opened = (self._next.taken(shard) if self._next else None) or self._opened(shard, suspects)
            opened.run()
        except BaseException:
            self.meter.end()
            raise
        if self._writing and not suspects:
            return self._writing.submit(self._written, shard, opened, began)
        return self._written(shard, opened, began)

    def _written(self, shard: int, opened: OpenShard, began: float) -> ShardReport:
        sizes: dict[str, int] = {}
        try:
            for run in opened.runs:
                part = run.finished()
                self.view.store.write_remarks(run.folder, shard, remarks_of(part, run.op, shard))
                sizes[run.folder] = self.view.store.write_part(run.folder, shard, part, owner=opened.records)
        finally:
            spent = self.meter.end()
        if not opened.runs:
            return ShardReport()
        seconds = opened.seconds()
        costs = self.meter.costs(spent, opened.runs, seconds, sizes)
        return ShardReport(rows=opened.rows(), seconds=seconds, costs=costs, began=began, ended=time.time())

    def _opened(self, shard: int, suspects: Suspects | None = None) -> OpenShard:
        runs = [run for run in self._runs(shard) if run.has_work]
        opened = OpenShard(self.view, shard, runs, threads=self.threads, suspects=suspects, room=self._room)
        # A shard that may kill this process is alone in it.
        opened.begin(self._next.may_begin if self._next and not suspects else None)
        return opened

    def _runs(self, shard: int) -> list[OpRun]:
        runs: list[OpRun] = []
        coming: dict[str, np.ndarray] = {}
        for planned in self.plan:
            todo, part = rows_to_do(self.view, planned, shard, coming)
            runs.append(OpRun(planned.op, planned.folder, todo, part))
            if todo.any():
                coming |= dict.fromkeys(planned.op.makes(), todo)
        return runs
