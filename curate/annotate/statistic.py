"""An op that learns something from all rows: passes that add up, then every shard judged by what was learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa

from curate.annotate.partitions import Cut, rows_of_runs, runs_of
from curate.annotate.passed import added, one_pass
from curate.annotate.pool import as_rows, part_of, pool_rows
from curate.annotate.tables import made_by
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.library.op_fault import OpFault
from curate.library.op_names import op_name
from curate.library.user_code import one_line
from curate.op import Fitted, Op, Rows
from curate.store.store import LEARNED
from curate.store.view import View

T = TypeVar("T")


@dataclass(frozen=True)
class Statistic:
    """The job: `add_up` for each pass that `fit` asks for, then `judge`.

    folder: of the table. runs: the shards that one task adds up.
    part: what is added up in this pass. fitted: what `fit` returned.
    """

    view: View
    op: Fitted
    folder: str
    runs: list[list[int]]
    part: Callable[[Rows], Any] | None = None
    fitted: Any = None

    def setup(self) -> None:
        self.op.setup()

    def add_up(self, run: int) -> Any:
        """The sum over the rows of a run of shards."""
        assert self.part is not None
        return added(self.part(as_rows(self._inside(shard)[2])) for shard in self.runs[run])

    def judge(self, shard: int) -> None:
        """The shard's part of the table."""
        rows, inside, table = self._inside(shard)
        values: Any = {name: pa.array([], kind) for name, kind in self.op.makes().items()}
        if len(rows):
            values = self.op.batch(as_rows(table), self.fitted)
        self.view.store.write_part(self.folder, shard, part_of(self.op, rows, inside, values))

    def _inside(self, shard: int) -> tuple[np.ndarray, np.ndarray, pa.Table]:
        """As curate.annotate.pool.pool_rows, without rows that lack what the op reads unless it judges null itself."""
        return pool_rows(self.view, shard, self.op.reads(), nulls=self.op.reads_null)


def run_statistic(view: View, op: Fitted, folder: str, cluster: Cluster, cut: Cut) -> dict[str, Any]:
    """Fill the table of a Fitted op, and return its report. After a kill the passes are done again, finished parts are
    not."""
    store = view.store
    sizes = store.shard_rows()
    job = Statistic(view, op, folder, runs_of(sorted(sizes), cut))
    rows_of_run = rows_of_runs(job.runs, sizes)
    passes = 0

    def summed(part: Callable[[Rows], T]) -> T:
        nonlocal passes
        passes += 1
        task, use = replace(job, part=part).add_up, {"cpus": op.cpus}
        return cast(T, one_pass(cluster, f"{op.table()}: pass {passes}", task, rows_of_run, use))

    try:
        fitted = op.fit(summed)
    except CurateError:
        raise
    except Exception as error:
        raise OpFault(f"{op_name(type(op))}: `fit` fails: {one_line(error)}") from error
    if (learned := op.learned(fitted)) is not None:
        store.write_file(f"{folder}/{LEARNED}", learned)
    missing = sorted(sizes.keys() - store.parts(folder))
    cluster.do(op.table(), replace(job, fitted=fitted).judge, missing, sizes, cpus=op.cpus)
    export(view, op, folder)
    return op.report(fitted, made_by(view, op))


def export(view: View, op: Op, folder: str) -> None:
    """What a finished table keeps beside it, where the op writes that elsewhere, too."""
    if isinstance(op, Fitted) and type(op).export is not Fitted.export and LEARNED in view.store.names(folder):
        op.export(view.store.read_file(f"{folder}/{LEARNED}"))
