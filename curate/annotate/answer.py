"""What an op returned for some rows, checked: one value per row and column, and a status word per row."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.arrays.arrow_columns import as_array, flat
from curate.library.op_fault import OpFault
from curate.library.op_names import op_name
from curate.messages.counted import counted
from curate.messages.remarks import Remarks
from curate.op import Op

#: Status of a row that was out already.
SKIPPED = "skipped"


def status_column(table: str) -> str:
    """Beside every table's columns: `ok`, `skipped` (the row was out already), or why there is no value."""
    return f"{table}_status"


def checked(result: Mapping[str, Any], op: Op, rows: int) -> dict[str, pa.Array]:
    """What an op returned as arrays of the types that it declares.

    Raises:
        OpFault: when a column is missing, or has not one value per row.
    """
    name = op_name(type(op))
    if not isinstance(result, Mapping):
        raise OpFault(f"{name}: `batch` must return columns by name, it returned {type(result).__name__}")
    columns = {}
    for column, kind in op.makes().items():
        if column not in result:
            raise OpFault(f"{name}: `batch` returned no column '{column}'; it returned: {', '.join(map(str, result))}")
        columns[column] = as_array(_one_per_row(result[column], f"{name}: column '{column}'", rows), kind)
    return columns


def status_words(result: Mapping[str, Any], op: Op, rows: int) -> list[str] | str:
    """What an op says of each row, `ok` where it says nothing; one word for all when it says nothing of any.

    Raises:
        OpFault: when it has not one word per row.
    """
    if "status" not in result:
        return "ok"
    words = _one_per_row(result["status"], f"{op_name(type(op))}: `status`", rows)
    return pa.array(words, pa.string()).fill_null("ok").to_pylist()  # type: ignore[no-any-return]


def _one_per_row(values: Any, what: str, rows: int) -> Any:
    """Values as they are, when there is one for each row: known before any is converted, so that no row is blamed."""
    if isinstance(values, (str, bytes, Mapping, Set)) or not hasattr(values, "__len__"):
        raise OpFault(
            f"{what} is a {type(values).__name__}, expected one value for each of {rows} rows, in their order"
        )
    if len(values) != rows:
        raise OpFault(f"{what} has {counted(len(values), 'value')} for {counted(rows, 'row')}")
    return values


def remarks_of(part: pa.Table, op: Op, shard: int) -> Remarks:
    """Rows of a part without a value, by the reason that the op or the pass gave; the first example of each."""
    remarks = Remarks()
    status = flat(part[status_column(op.table())])
    for entry in pc.value_counts(status).to_pylist():
        word = entry["values"]
        if word not in ("ok", SKIPPED):
            kind, _, detail = word.partition(": ")
            row = pc.index(status, pa.scalar(word, status.type)).as_py()
            place = f"shard {shard}, row {row}{': ' if detail else ''}{detail}"
            remarks.add(kind, entry["counts"], place, (shard, row))
    return remarks
