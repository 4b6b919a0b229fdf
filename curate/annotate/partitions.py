"""How a whole-dataset step is cut, so that one worker stays within its memory; results do not depend on the cut.

Keys are cut into partitions and shards into runs. How many rows each may have follows from the memory of a worker and
from what a row costs there: the bytes of its columns, as a few shards of the store show them, times the copies that
the op makes of them at its peak (Grouped.copies, Linked.copies and link_copies).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.annotate.all_rows import AllRows
from curate.annotate.key_marks import bits_for
from curate.cluster.cluster import Cluster
from curate.messages.progress import console
from curate.store.store import Store

#: Bytes of a row beside its columns: key 16, shard 4, row 4.
PLACE = 24
#: And where old stores take part: which one it is of.
OLD_STORE = 5
#: Bytes that a link takes while links are put together; measured by benchmarks/memory.py.
LINK_BYTES = 440
#: Shards looked at to see what a row's columns take.
LOOKED_AT = 8
#: Partitions differ by chance; over this many times the rows that fit, some keys have very many rows.
SKEWED = 1.5


@dataclass(frozen=True)
class Cut:
    """How small the pieces of a whole-dataset step are at most.

    rows_per_partition: where nobody set a limit of memory.
    shards_per_run: shards of one task. files_per_merge: files of links that one task puts together.
    links: that one worker puts together, where its memory does not say fewer.
    ranges: of spilled rows that are read in one step; where they would be more, rows go in two.
    imports: bytes that a worker takes before it has any rows: Python, Arrow, polars, kernels and their compiler.
    """

    rows_per_partition: int = 4_000_000
    shards_per_run: int = 64
    files_per_merge: int = 64
    links: int = 1 << 40
    ranges: int = 10_000_000
    imports: int = 400_000_000


#: As it is outside of tests.
USUAL = Cut()


def rows_that_fit(
    rows: AllRows, columns: Sequence[str], copies: float, cluster: Cluster, cpus: float, cut: Cut = USUAL
) -> int:
    """Rows that one worker can hold while an op makes `copies` of these columns."""
    shards = sorted(rows.sizes())
    tables = [rows.read(shard, columns) for shard in shards[:: -(-len(shards) // LOOKED_AT)]]
    mean = sum(table.nbytes for table in tables) / max(1, sum(table.num_rows for table in tables))
    limit = cluster.worker_memory(cpus)
    place = PLACE + (OLD_STORE if rows.old_views else 0)
    fit = max(1, int(max(limit - cut.imports, limit // 4) / (copies * (place + mean))))
    return fit if cluster.memory else min(fit, cut.rows_per_partition)


def links_that_fit(cluster: Cluster, cpus: float, cut: Cut = USUAL) -> int:
    """Links that one worker can put together."""
    limit = cluster.worker_memory(cpus)
    return max(1, min(cut.links, max(limit - cut.imports, limit // 4) // LINK_BYTES))


def marks_for(rows: AllRows, bands: int, cluster: Cluster, cpus: float) -> int:
    """Bits that mark the keys of new rows for old ones to be looked up; 0 where a worker has no room for them."""
    new = sum(rows.view.store.shard_rows().values())
    return bits_for(new, sum(rows.sizes().values()) - new, bands, cluster.worker_memory(cpus))


def planned(store: Store, folder: str, fit: Mapping[str, int]) -> dict[str, int]:
    """The rows per partition to work with, by phase; `fit` says how many fit now. Work that was begun with as few or
    fewer is gone on with; with more it may be what did not fit: it is removed."""
    plan = f"{folder}/.work/plan.json"
    if "plan.json" in store.names(f"{folder}/.work"):
        known: dict[str, int] = store.read_json(plan)
        if known.keys() == fit.keys() and all(known[phase] <= rows for phase, rows in fit.items()):
            return known
        why = "more rows at a time than fit now" if known.keys() == fit.keys() else "another version of curate"
        console.say(f"{folder}: work that was begun is begun anew: it was cut for {why}")
    forget(store, folder)
    store.write_json(plan, fit)
    return dict(fit)


def forget(store: Store, folder: str) -> None:
    """Remove a table's work; its plan goes first, so that what a kill leaves of the rest is never gone on with."""
    store.remove(f"{folder}/.work/plan.json")
    store.remove(f"{folder}/.work")


def partitions_for(rows: int, fit: int) -> int:
    return max(1, -(-rows // fit))


def runs_of(
    shards: Sequence[int], cut: Cut = USUAL, rows: Mapping[int, int] | None = None, fit: int = 0
) -> list[list[int]]:
    """Shards in runs, each the shards of one task, of old stores or of the one that is worked on; where their `rows`
    are given, also of `fit` rows or fewer, or one shard.

    >>> runs_of([0, 1, 2, 3, 4], USUAL, {0: 5, 1: 5, 2: 5, 3: 30, 4: 1}, 10), runs_of([-2, -1, 0])
    ([[0, 1], [2], [3], [4]], [[-2, -1], [0]])
    """
    runs: list[list[int]] = []
    held = 0
    for shard in shards:
        more = rows[shard] if rows else 0
        full = not runs or len(runs[-1]) == cut.shards_per_run or held + more > fit
        if full or (shard >= 0) != (runs[-1][0] >= 0):
            runs.append([])
            held = 0
        runs[-1].append(shard)
        held += more
    return runs


def rows_of_runs(runs: Sequence[Sequence[int]], rows: Mapping[int, int]) -> dict[int, int]:
    """Run number to its rows."""
    return {number: sum(rows[shard] for shard in run) for number, run in enumerate(runs)}


def warn_of_skew(rows: np.ndarray, fit: int, label: str, together: str = "rows that share a key") -> None:
    """Say that partitions have many more rows than fit: those that go `together` are never parted."""
    over = np.flatnonzero(rows > SKEWED * fit)
    if len(over):
        console.print(
            f"[yellow]{label}: partition {rows.argmax()} has {rows.max():,} rows where a worker's memory fits {fit:,} "
            f"({len(over)} of {len(rows)} partitions have too many): {together} stay together. A worker may "
            f"need {rows.max() / fit:.1f} times its memory there; if it dies, give it more (--memory)"
        )
