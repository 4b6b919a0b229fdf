"""Rows to show: verdicts of some shards, and what the rows that were picked from them hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from curate.errors import CurateError, unknown
from curate.store.verdict import ledger_columns
from curate.store.view import View


def verdicts(view: View, shards: Iterable[int], keep: str, with_image: bool = False) -> pl.DataFrame:
    """shard, row (its number in the shard), kept, dropped_by, reason of the rows of some shards.

    keep: folder of the keep table. with_image: only rows whose image is stored.
    """
    frames = []
    for shard in shards:
        part = view.store.read_part(keep, shard)
        frame = pl.DataFrame(part).select(ledger_columns(part.column_names)).with_row_index("row")
        if with_image:
            if view.images is None:
                raise CurateError(f"{view.store.url} has no images")
            status = pl.Series(view.store.read_part(view.images, shard, ["status"])["status"])
            frame = frame.filter(status == "success")
        words = pl.col("dropped_by", "reason").cast(pl.String)
        frames.append(frame.select(pl.lit(shard).alias("shard"), "row", "kept", words))
    return pl.concat(frames)


def filled(view: View, rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Rows of `verdicts` in the order of the input, with columns of the store beside them.

    Raises:
        CurateError: for a column that is not there.
    """
    for name in columns:
        if name not in view.columns:
            raise unknown("column", name, view.columns, view.store.url)
    if rows.is_empty():
        return rows.hstack(view.frame(min(view.store.shard_rows()), columns).clear())
    groups = rows.sort("shard", "row").partition_by("shard", maintain_order=True)
    return pl.concat(group.hstack(view.frame(group["shard"][0], columns)[group["row"]]) for group in groups)
