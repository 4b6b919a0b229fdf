"""Rows of the pool, a shard at a time: what an op over all rows reads of them, and the part that its values become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.annotate.answer import SKIPPED, checked, status_column, status_words
from curate.arrays.arrow_columns import flat
from curate.op import Op, Rows
from curate.store.view import View


def pool_rows(view: View, shard: int, columns: Sequence[str], nulls: bool) -> tuple[np.ndarray, np.ndarray, pa.Table]:
    """Of a shard: numbers of the rows in the pool, a mask of the same over all rows, and their columns.

    nulls: whether rows that lack a value count, too; otherwise the numbers and the columns are without them.
    """
    table = view.read(shard, columns).combine_chunks()
    inside = rows_inside(view, shard)
    valid = inside.copy()
    if not nulls:
        for name in columns:
            valid &= pc.is_valid(table[name]).to_numpy()
    rows = np.flatnonzero(valid)
    return rows, inside, table.take(pa.array(rows))


def rows_inside(view: View, shard: int) -> np.ndarray:
    """bool per row of a shard: whether it is in the pool."""
    kept = view.kept(shard)
    if kept is not None:
        return kept
    with view.store.opened(view.store.part("records", shard)) as records:
        return np.ones(records.rows, bool)


def as_rows(table: pa.Table) -> Rows:
    return Rows({name: flat(table[name]) for name in table.column_names}, length=table.num_rows)


def part_of(op: Op, rows: np.ndarray, inside: np.ndarray, values: Mapping[str, Any]) -> pa.Table:
    """The part of one shard: values at `rows`, null elsewhere, with a status for every row.

    inside: bool per row of the shard, whether it is in the pool.
    """
    status = np.where(inside, "no_value", SKIPPED).astype(object)
    status[rows] = status_words(values, op, len(rows))
    index = np.full(len(inside), len(rows), np.int64)
    index[rows] = np.arange(len(rows))
    columns: dict[str, Any] = {}
    for name, array in checked(values, op, len(rows)).items():
        columns[name] = pa.concat_arrays([array, pa.nulls(1, array.type)]).take(pa.array(index))
    columns[status_column(op.table())] = pa.array(status, pa.string())
    return pa.table(columns)
