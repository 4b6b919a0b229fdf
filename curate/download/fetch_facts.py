"""What is kept of how each row was fetched: when, how often, and what its host said of the use.

A table of its own beside the images: times differ from run to run, and the images, which the shards are made of, are to
be the same bytes. The robots.txt files that a shard's work read lie beside it, as they were.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate.download.robots_file import Robots
from curate.store.image_columns import FETCH_FIELDS

if TYPE_CHECKING:
    from curate.download.attempt import Fetched


_ROBOTS = pa.schema(
    [
        ("origin", pa.string()),
        ("status", pa.string()),
        ("retrieved", FETCH_FIELDS["retrieved"]),
        ("error_message", pa.string()),
        ("text", pa.string()),
    ]
)


class FetchFacts:
    """The columns of a shard, filled as rows are fetched; rows that are not keep what an earlier run left."""

    def __init__(self, rows: int, earlier: pa.Table | None) -> None:
        known = {} if earlier is None else {name: earlier[name].to_pylist() for name in FETCH_FIELDS}
        self._columns: dict[str, list[Any]] = known or {name: [None] * rows for name in FETCH_FIELDS}

    def note(self, row: int, answer: Fetched) -> None:
        values = (
            answer.attempts,
            answer.seconds,
            answer.final_url,
            answer.content_type,
            _time(answer.retrieved),
            answer.server_date,
            answer.robots,
            answer.x_robots,
            answer.content_usage,
        )
        for column, value in zip(self._columns.values(), values, strict=True):
            column[row] = value

    def table(self) -> pa.Table:
        return pa.table({name: pa.array(self._columns[name], kind) for name, kind in FETCH_FIELDS.items()})


def beside(images: str, name: str) -> str:
    """The folder of a table that goes with a folder of images.

    >>> beside("images-0a1b", "fetches")
    'fetches-0a1b'
    """
    return f"{name}-{images.rpartition('-')[2]}"


def robots_table(files: Sequence[Robots], earlier: pa.Table | None = None) -> pa.Table:
    """robots.txt files as they were read, by origin; of one that was read again the last."""
    rows = {row["origin"]: row for row in (earlier.to_pylist() if earlier is not None else ())}
    for robots in files:
        rows[robots.origin] = {
            "origin": robots.origin,
            "status": robots.status,
            "retrieved": _time(robots.retrieved),
            "error_message": robots.error or None,
            "text": robots.text if robots.status == "success" else None,
        }
    return pa.Table.from_pylist([rows[origin] for origin in sorted(rows)], schema=_ROBOTS)


def _time(seconds: float | None) -> datetime.datetime | None:
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
