"""A column computed from other columns of its row by SQL, as conditions are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import field_validator

from curate.errors import CurateError
from curate.filter.sql_nodes import Types, value_of
from curate.filter.sql_tree import tree
from curate.filter.sql_values import NAMES, ConditionError, Kind, Value, as_float
from curate.op import Rows, Score

#: What a kind of value becomes.
RESULTS: dict[str, pa.DataType] = {"number": pa.float32(), "truth": pa.bool_(), "text": pa.string()}
_OF_KIND: dict[Kind, str] = {"whole": "number", "float": "number", "truth": "truth", "text": "text"}


class Formula(Score):
    """One column, called as the table: what `expr` says of the columns of one row.

    expr: SQL as in `where`: arithmetic, comparisons, CASE, COALESCE, functions of texts; no aggregates, no windows.
        Division by zero, NaN and what is beyond float32 are null.
    result: `number` (float32), `truth` (bool) or `text` (string). By default what the expression is without a look at
        its columns: a comparison is a truth, a call such as LOWER(text) a text, all else a number.

    It gives the differences of two models' columns, so that `top` can rank them: C-RHO and ACID
    (`clip_finetuned - clip_pool`), C-SSFT, the delta of Devil in the Number. With clip_a .31 and clip_b .25,
    "clip_a - clip_b" is .06. Columns with null reach the expression: COALESCE and IS NULL see them.
    """

    cite: ClassVar[str] = "ours; for C-RHO and C-SSFT, Maini et al., T-MARS, 2023; for ACID, Udandarao et al., 2024"
    columns_by_name: ClassVar[bool] = True
    reads_null: ClassVar[bool] = True
    batch_size: int = 50_000
    expr: str
    result: Literal["", "number", "truth", "text"] = ""

    @field_validator("expr")
    @classmethod
    def _is_sql(cls, expr: str) -> str:
        value = _value(expr, {})
        if value.kind not in (*_OF_KIND, "any", "null"):
            raise ConditionError(f"{expr!r} is {NAMES[value.kind]}: a column holds a number, a truth value or a text")
        if not _columns(expr):
            raise ConditionError(f"{expr!r} names no column: it would be the same for every row")
        return expr

    def reads(self) -> tuple[str, ...]:
        return _columns(self.expr)

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): RESULTS[self.kind()]}

    def kind(self) -> str:
        """`result`, or what the expression is whatever its columns hold."""
        return self.result or _OF_KIND.get(_value(self.expr, {}).kind, "number")

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        frame = pl.DataFrame({name: pl.Series(rows[name]) for name in self.reads()})
        value = self._typed(dict(frame.schema))
        if value.kind == "null":
            return {self.table(): pa.nulls(len(rows), RESULTS[self.kind()])}
        expr = as_float(value) if self.kind() == "number" else value.expr
        # A constant gives a single value: this makes it one per row.
        column = frame.select(pl.when(pl.int_range(pl.len()) >= 0).then(expr)).to_series()
        if self.kind() != "number":
            return {self.table(): column.to_arrow().cast(RESULTS[self.kind()])}
        numbers = column.cast(pl.Float32)
        finite = numbers.is_finite().fill_null(False).to_numpy()
        return {self.table(): pa.array(numbers.fill_null(0).to_numpy().astype(np.float32), mask=~finite)}

    def _typed(self, types: Types) -> Value:
        try:
            value = _value(self.expr, types)
        except ConditionError as error:
            raise CurateError(f"score.formula {self.table()}: {error}") from error
        kind = _OF_KIND.get(value.kind, "") if value.kind != "null" else self.kind()
        if kind != self.kind():
            hint = f": write `result: {kind}`" if kind else ""
            raise CurateError(
                f"score.formula {self.table()}: {self.expr!r} is {NAMES[value.kind]}, not a {self.kind()}{hint}"
            )
        return value


def _value(expr: str, types: Types) -> Value:
    try:
        return value_of(tree(expr), types)
    except RecursionError as error:
        raise ConditionError(f"nested too deeply: {expr[:80]!r}") from error


def _columns(expr: str) -> tuple[str, ...]:
    from sqlglot import exp

    return tuple(dict.fromkeys(column.name for column in tree(expr).find_all(exp.Column, bfs=False)))
