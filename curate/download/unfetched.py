"""Which rows of a shard a download has to fetch, in what order, and what is said of those that were."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curate.cluster.suspects import DEADLY, Suspects
from curate.messages.remarks import Remarks

#: Status of a row that was out already when its shard was downloaded.
SKIPPED = "skipped"

#: In a part's metadata: the remarks of its shard.
REMARKS = b"curate.messages.remarks"


def missing(part: pa.Table | None, kept: np.ndarray | None, rows: int, retry: Sequence[str]) -> np.ndarray:
    """Rows that are in and have not been fetched, or whose status is to be tried again."""
    inside = np.ones(rows, bool) if kept is None else kept
    if part is None:
        return inside
    again: np.ndarray = inside & matching(part["status"], [SKIPPED, *retry])
    return again


def matching(status: pa.ChunkedArray, words: Sequence[str]) -> np.ndarray:
    """bool[n]: the rows with one of these statuses; `http_5xx` is every code from 500 to 599.

    >>> matching(pa.chunked_array([["timeout", "http_503", None]]), ["http_5xx"]).tolist()
    [False, True, False]
    """
    values = np.asarray([word or "" for word in status.to_pylist()], object)
    known = sorted(set(values.tolist()))
    chosen = [value for value in known if value in words or (f"{value[:6]}xx" in words and value.startswith("http_"))]
    return np.isin(values, chosen)


def in_order(rows: list[int], columns: dict[str, list[Any]], suspects: Suspects | None) -> list[list[int]]:
    """Rows that are fetched together: by themselves and first those with which a worker died once, so that no other is
    asked for again when it dies again. Those that killed twice get their status, and are not fetched."""
    if suspects is None:
        return [rows]
    for row in suspects.deadly.intersection(rows):
        columns["status"][row], columns["error_message"][row] = DEADLY, "the process ended twice while it was decoded"
    living = [row for row in rows if row not in suspects.deadly]
    first, others = ([row for row in living if (row in suspects.kills) is known] for known in (True, False))
    return [some for some in (first, others) if some]


def shard_remarks(part: pa.Table | None, shard: int, columns: dict[str, list[Any]]) -> Remarks:
    """What was changed of images that are new, and what the part says of those before: said once, though a part be
    written twice because its worker was killed."""
    stored = ((part.schema.metadata or {}) if part is not None else {}).get(REMARKS, b"{}")
    remarks = Remarks.from_json(json.loads(stored))
    for row, changes in enumerate(columns["changes"]):
        for change in changes:
            remarks.add(change, example=f"shard {shard}, row {row}", place=(shard, row))
    return remarks
