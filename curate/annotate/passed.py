"""Passes over all rows that add up, run by run: of an op that learns from all rows, and of an op on groups before
and after they are judged, where old rows take part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from curate.annotate.all_rows import AllRows
from curate.annotate.partitions import rows_of_runs
from curate.annotate.pool import as_rows
from curate.cluster.cluster import Cluster
from curate.op import Grouped, Rows


@dataclass(frozen=True)
class Passed:
    """The job. columns: that are read. runs: the shards that one task adds up. part: what is added up in this pass."""

    rows: AllRows
    op: Grouped
    columns: tuple[str, ...]
    runs: list[list[int]]
    part: Callable[[Rows], Any] | None = None

    def add_up(self, run: int) -> Any:
        """The sum over the rows of a run of shards."""
        assert self.part is not None
        return added(self.part(self._rows(shard)) for shard in self.runs[run])

    def _rows(self, shard: int) -> Rows:
        rows, table = self.rows.pool_rows(shard, self.columns)
        columns = {name: as_rows(table)[name] for name in table.column_names}
        return Rows(columns | self.rows.placed(shard, rows, table.select([])), length=len(rows))


def summed(job: Passed, cluster: Cluster, what: str, part: Callable[[Rows], Any]) -> Any:
    """One pass, as curate.op.Summed has it. what: it is for, in the progress that is shown."""
    use: dict[str, Any] = {"cpus": job.op.cpus, "memory": cluster.memory or 0}
    rows = rows_of_runs(job.runs, job.rows.sizes())
    return one_pass(cluster, f"{job.op.table()}: {what}", replace(job, part=part).add_up, rows, use)


def one_pass(
    cluster: Cluster, label: str, add_up: Callable[[int], Any], rows: Mapping[int, int], use: Mapping[str, Any]
) -> Any:
    """The sum of what `add_up` returns for each run; None where there is none. rows: of each run. use: see
    Cluster.each."""
    return added(more for _, more in cluster.each(label, add_up, list(rows), rows, **use))


def added(parts: Iterable[Any]) -> Any:
    """Their sum, put together one by one as they come; None where there is none."""
    total: Any = None
    for more in parts:
        total = more if total is None else total + more
    return total
