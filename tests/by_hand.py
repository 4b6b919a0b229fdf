"""Ops on rows at hand, without a store: what a Fitted op makes of several parts of a pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import pyarrow as pa

from curate.op import Fitted, Op, Rows


def rows_with(op: Op, columns: Mapping[str, pa.Array]) -> Rows:
    """Rows that have all that the op reads, as a store would hand them over."""
    table = pa.table(dict(columns))
    if not op.reads_null:
        for name in op.reads():
            table = table.filter(table[name].is_valid())
    return Rows({name: table[name].combine_chunks() for name in table.column_names}, length=table.num_rows)


def learned(op: Fitted, parts: Sequence[Rows]) -> Any:
    """What `fit` learns of these parts."""

    def summed(part: Callable[[Rows], Any]) -> Any:
        return reduce(add, [part(rows) for rows in parts])

    return op.fit(summed)


def made(op: Fitted, columns: Mapping[str, pa.Array]) -> dict[str, list[Any]]:
    """The op's columns of all rows that have what it reads, in one part."""
    rows = rows_with(op, columns)
    values = op.batch(rows, learned(op, [rows]))
    return {name: pa.array(values[name], kind).to_pylist() for name, kind in op.makes().items()}
