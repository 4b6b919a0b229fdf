"""Passes over all rows, old ones too, that add up: what the report of an op on groups is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from curate.annotate.all_rows import AllRows
from curate.annotate.partitions import rows_of_runs
from curate.annotate.pool import as_rows
from curate.cluster.cluster import Cluster
from curate.op import Grouped, Rows


@dataclass(frozen=True)
class Passed:
    """The job. runs: the shards that one task adds up. part: what is added up in this pass."""

    rows: AllRows
    op: Grouped
    runs: list[list[int]]
    part: Callable[[Rows], Any] | None = None

    def add_up(self, run: int) -> Any:
        """The sum over the rows of a run of shards."""
        assert self.part is not None
        total: Any = None
        for shard in self.runs[run]:
            rows, table = self.rows.pool_rows(shard, self.op.reads())
            columns = {name: as_rows(table)[name] for name in table.column_names}
            more = self.part(Rows(columns | self.rows.placed(shard, rows, table.select([])), length=len(rows)))
            total = more if total is None else total + more
        return total


def summed(job: Passed, cluster: Cluster, part: Callable[[Rows], Any]) -> Any:
    """One pass, as curate.op.Summed has it."""
    total: Any = None
    rows = rows_of_runs(job.runs, job.rows.sizes())
    use: dict[str, Any] = {"cpus": job.op.cpus, "memory": cluster.memory or 0}
    task = replace(job, part=part).add_up
    for _, more in cluster.each(f"{job.op.table()}: report", task, list(rows), rows, **use):
        total = more if total is None else total + more
    return total
