"""Which row of a group of duplicates stays, and what the others say about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from curate.alike.row_key import sorted_by_key
from curate.errors import unknown

KEEPS = ("smallest_uid", "first", "largest_image", "best:COLUMN")


def known_keep(keep: str) -> str:
    """Raises ValueError for a rule that there is not."""
    if keep not in KEEPS[:3] and not re.fullmatch(r"best:.+", keep):
        raise ValueError(str(unknown("keep", keep, KEEPS)))
    return keep


def keep_columns(keep: str) -> tuple[str, ...]:
    """What the rule looks at, `uid` first."""
    more: tuple[str, ...] = ()
    if keep == "largest_image":
        more = ("original_width", "original_height")
    elif keep.startswith("best:"):
        more = (keep.removeprefix("best:"),)
    return tuple(dict.fromkeys(("uid", *more)))


def in_order(rows: pl.DataFrame, keep: str) -> pl.DataFrame:
    """By `key`, and in each group the row that stays first. A row of an old store, which `old_store` tells, stays
    before one that comes to it, whatever the rule."""
    if keep == "first":
        return sorted_by_key(rows, ["shard", "row"])
    order = ["rank", "uid", "shard", "row"]
    ranked = rows.with_columns(rank=_rank(keep, rows.schema))
    if "old_store" in rows.columns:
        order.insert(0, "new")
        ranked = ranked.with_columns(new=pl.col("old_store").is_null())
    return sorted_by_key(ranked, order, descending=["rank"]).drop(order[:-3])


def keepers(
    rows: pl.DataFrame, keep: str, of: str, size: str, store: str = "", *, against: Sequence[str] = ()
) -> pl.DataFrame:
    """From `key`, `shard`, `row` and the columns of the rule: per row the uid of the row that stays in its group (null
    for that row itself) and the group's size. A null ranks last; equals go by smallest uid, then by input.

    store: a column for the name of the old store that this row is of, by its `old_store`, a place in `against`; null
    where it is of none.
    """
    ranked = in_order(rows, keep)
    # Groups lie together, so no key is hashed: what `over` takes ten times as long for.
    first = _first_of_groups(ranked["key"])
    places = np.flatnonzero(first)
    sizes = np.diff(places, append=len(ranked))
    keeper = np.repeat(places, sizes)
    repeats = pl.Series(~first)
    columns: list[pl.Expr | pl.Series] = [
        pl.when(repeats).then(ranked["uid"].gather(keeper)).alias(of),
        pl.Series(size, np.repeat(sizes, sizes).astype(np.uint32)),
    ]
    if store:
        names = pl.Series(against, dtype=pl.String).gather(ranked["old_store"].gather(keeper))
        columns.append(pl.when(repeats).then(names).alias(store))
    return ranked.select("shard", "row", *columns)


def _first_of_groups(keys: pl.Series) -> np.ndarray:
    """bool[n]: whether a key is another than the one before it, of keys that lie together; nulls are equal."""
    first: np.ndarray = keys.ne_missing(keys.shift(1)).to_numpy().copy()
    first[:1] = True
    return first


def _rank(keep: str, schema: pl.Schema) -> pl.Expr:
    """Higher stays."""
    if keep == "largest_image":
        return pl.col("original_width").cast(pl.Int64) * pl.col("original_height").cast(pl.Int64)
    if keep.startswith("best:"):
        best = keep.removeprefix("best:")
        # polars ranks NaN above every number.
        return pl.col(best).fill_nan(None) if schema[best].is_float() else pl.col(best)
    return pl.lit(0)
