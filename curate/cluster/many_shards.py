"""Light work that looks at every shard: in threads of this process while they are few, on workers when they are many.

What it reads of a row is a few bytes, so it is done before workers could be started, until there are very many shards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from curate.cluster.cluster import Cluster

#: Of at most so many shards, with so many rows in all, threads of this process do it: in about the seconds that Ray
#: takes to start.
FEW_SHARDS = 2_000
FEW_ROWS = 20_000_000

#: Rows of the shards that one task looks at, and how many shards these are at most: a part that is read takes some KB
#: beside its rows, however few they are.
RUN_ROWS, RUN_SHARDS = 300_000, 1_000

#: Reading small parquet files waits for storage more than it computes.
THREADS = 8

#: Runs whose reports wait for their turn, for each thread.
WAITING = 2

T = TypeVar("T")


def are_few(rows: Mapping[int, int]) -> bool:
    """Whether light work on these shards is done in this process. rows: shard number to row count."""
    return len(rows) <= FEW_SHARDS and sum(rows.values()) <= FEW_ROWS


def shard_runs(rows: Mapping[int, int], most: int = 0) -> list[range]:
    """At most RUN_SHARDS shards with consecutive numbers, of at most `most` rows together (default: RUN_ROWS), or one
    larger shard.

    >>> shard_runs({0: 4, 1: 4, 2: 4, 3: 20, 4: 1, 6: 1}, 10)
    [range(0, 2), range(2, 3), range(3, 4), range(4, 5), range(6, 7)]
    """
    runs: list[range] = []
    held = 0
    for shard, size in sorted(rows.items()):
        if runs and shard == runs[-1].stop and held + size <= (most or RUN_ROWS) and len(runs[-1]) < RUN_SHARDS:
            runs[-1] = range(runs[-1].start, shard + 1)
            held += size
        else:
            runs.append(range(shard, shard + 1))
            held = size
    return runs


def each_run(
    label: str, task: Callable[[int], T], runs: Sequence[range], rows: Mapping[int, int], cluster: Cluster | None
) -> Iterator[T]:
    """Do a task for each run of shards, by the run's number; yields its reports, in an order that says nothing.

    rows: shard number to row count, of all shards. cluster: where it is done when shards are many; None is always here.

    Raises:
        CurateError: when runs fail on the cluster, at the end; what a run raises here comes at once.
    """
    if cluster is None or cluster.workers == 0 or are_few(rows):
        yield from in_threads(task, len(runs))
        return
    sizes = {number: sum(rows[shard] for shard in run) for number, run in enumerate(runs)}
    for _, report in cluster.each(label, task, list(sizes), sizes):
        yield report


def in_threads(task: Callable[[int], T], runs: int) -> Iterator[T]:
    """Do a task for the numbers below `runs`; yields its reports in this order, never more than a few ahead of the
    reader."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for number in range(runs):
                waiting.append(pool.submit(task, number))
                if len(waiting) >= THREADS * WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
