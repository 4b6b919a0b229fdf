"""What an op still has to do: which tables are final, which shards have work, which rows of a shard.

What is reused, and when, is told in docs/reuse.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.annotate.answer import SKIPPED, status_column
from curate.annotate.pool import rows_inside
from curate.op import Score
from curate.store.folder import identity
from curate.store.manifest import Manifest
from curate.store.view import View

#: Up to here the driver looks itself which shards have work, so that a finished step starts no worker.
LOOK_HERE = 2000


@dataclass(frozen=True)
class Planned:
    """An op and the folder of the table that it fills."""

    op: Score
    folder: str


def pools_done(view: View, folder: str) -> dict[str, str]:
    """The pools of rows that a table is final for, each with the identity of what its op read there (`reads_id`)."""
    entry = view.store.manifest().op_table(folder)
    return (entry.complete or {}) if entry else {}


def reads_id(view: View, op: Score, manifest: Manifest | None = None) -> str:
    """Identity of what an op reads: it changes when the values may have.

    manifest: of the view's store, where it was read already.
    """
    manifest = manifest or view.store.manifest()
    marks: dict[str, list[object]] = {}
    for name in op.reads():
        folder = view.images if name == "image" else view.columns[name]
        entry = manifest.op_table(folder)
        marks[name] = [folder, entry.changes if entry else 0, len((entry.complete if entry else None) or ())]
    return identity(**marks)


def shards_to_do(view: View, planned: Planned, shards: Sequence[int]) -> list[int]:
    """The shards in which an op has work, in order. The columns of all ops of its pass are in the view."""
    absent = set(shards) - view.store.parts(planned.folder)
    if pools_done(view, planned.folder).get(view.pool()) == reads_id(view, planned.op):
        return sorted(absent)
    if len(shards) > LOOK_HERE:
        return sorted(shards)

    def has_work(shard: int) -> bool:
        return shard in absent or bool(rows_to_do(view, planned, shard)[0].any())

    with ThreadPoolExecutor(8) as threads:
        return [shard for shard, work in zip(shards, threads.map(has_work, shards), strict=True) if work]


def rows_to_do(
    view: View, planned: Planned, shard: int, coming: Mapping[str, np.ndarray] | None = None
) -> tuple[np.ndarray, pa.Table | None]:
    """Rows of a shard that are in and have no value yet (a bool per row), and the part as it stands.

    coming: for columns that this pass fills before, the rows in which it does.
    """
    part = view.store.try_part(planned.folder, shard)
    if part is None:
        return rows_inside(view, shard), None
    kept = view.kept(shard)
    status = np.asarray(part[status_column(planned.op.table())].to_pylist(), object)
    todo = status == SKIPPED
    for name in planned.op.reads():
        # What a row lacked may have come since: a download tried again, a column filled for more rows.
        lacked = status == f"no_{name}"
        if lacked.any():
            todo |= lacked & (coming[name] if coming and name in coming else _with_value(view, name, shard))
    return (todo if kept is None else todo & kept), part


def _with_value(view: View, name: str, shard: int) -> np.ndarray:
    """Rows of a shard that have a value in a column, or an image."""
    if name == "image":
        assert view.images is not None
        status = view.store.read_part(view.images, shard, ["status"])["status"].to_pylist()
        stored: np.ndarray = np.asarray(status, object) == "success"
        return stored
    valid: np.ndarray = view.read(shard, [name])[name].is_valid().to_numpy()
    return valid
