"""A weighted sum of standardised columns: how M-FLYT and HYPE mix published scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, field_validator

from curate.arrays.exact_sum import exact_sum, of_sum
from curate.errors import CurateError
from curate.library.yaml_text import parse
from curate.messages.remarks import Remarks
from curate.op import Fitted, Rows, Summed


class Standardise(Fitted):
    """One column, called as the table: the sum over `columns` of weight * (x - mean) / std, float32.

    columns: numeric columns with the weight of each, {clip_b32: 0.7, ncl: 0.3}; as a list each has weight 1. Mean and
        population standard deviation are those of the rows with a value in the column: 1, 2, 3 become -1.224745, 0,
        1.224745. Where the deviation is 0 the part is 0, which is said. Or the path of a YAML file of weights, a line
        `column: weight` each; what it says is part of the table's identity, and not the path.

    A row without a value (null, NaN, infinite) in one of the columns is null. Sums are exact, so no bit depends on the
    order of rows or on how many workers add up. It decides nothing: rank the column by `top`.
    """

    cite: ClassVar[str] = "the linear form of M-FLYT, Shechter et al., FLYT, 2025; HYPE, Kim et al., 2024"
    columns_by_name: ClassVar[bool] = True
    reads_null: ClassVar[bool] = True
    columns: dict[str, float] = Field(min_length=1)

    @field_validator("columns", mode="before")
    @classmethod
    def _with_weights(cls, columns: Any) -> Any:
        if isinstance(columns, str):
            columns = _of_file(columns)
        if not isinstance(columns, (list, tuple)):
            return columns
        if twice := [name for number, name in enumerate(columns) if name in columns[:number]]:
            raise ValueError(f"`columns` names '{twice[0]}' twice")
        return dict.fromkeys(columns, 1.0)

    @field_validator("columns")
    @classmethod
    def _finite(cls, columns: dict[str, float]) -> dict[str, float]:
        for name, weight in columns.items():
            if not math.isfinite(weight):
                raise ValueError(f"the weight of '{name}' is {weight}: expected a finite number")
        return columns

    def reads(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): pa.float32()}

    def fit(self, summed: Summed) -> Moments:
        counts = summed(self._sums)
        numbers, sums = counts if counts is not None else np.zeros((2, len(self.columns)), object)
        for name, number in zip(self.columns, numbers, strict=True):
            if not number:
                raise CurateError(f"balance.standardise: no row has a value in '{name}'")
        means = [of_sum(int(total)) / int(number) for number, total in zip(numbers, sums, strict=True)]
        squares = summed(partial(self._squares, means))
        deviations = [math.sqrt(of_sum(int(s)) / int(n)) for s, n in zip(squares, numbers, strict=True)]
        return Moments([int(number) for number in numbers], means, deviations)

    def _sums(self, rows: Rows) -> np.ndarray:
        """object[2, k]: rows with a value, and the sum of these values in parts of a double."""
        values = [_finite(rows, name) for name in self.columns]
        return np.array([[len(v) for v in values], [exact_sum(v) for v in values]], object)

    def _squares(self, means: list[float], rows: Rows) -> np.ndarray:
        pairs = zip(self.columns, means, strict=True)
        return np.array([exact_sum((_finite(rows, name) - mean) ** 2) for name, mean in pairs], object)

    def batch(self, rows: Rows, fitted: Any) -> Mapping[str, Any]:
        total, known = np.zeros(len(rows)), np.ones(len(rows), bool)
        moments = zip(self.columns.items(), fitted.means, fitted.deviations, strict=True)
        for (name, weight), mean, deviation in moments:
            values = _doubles(rows, name)
            known &= np.isfinite(values)
            if deviation > 0:
                total += weight * (np.where(np.isfinite(values), values, mean) - mean) / deviation
        return {
            self.table(): pa.array(total.astype(np.float32), mask=~known),
            "status": np.where(known, "ok", "no_value").tolist(),
        }

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        remarks = Remarks()
        for name, number, deviation in zip(self.columns, fitted.rows, fitted.deviations, strict=True):
            if deviation == 0:
                remarks.add("with the same value in a column, which adds nothing", number, name)
        facts = zip(self.columns.items(), fitted.rows, fitted.means, fitted.deviations, strict=True)
        lines = [
            {"column": name, "weight": weight, "rows": number, "mean": mean, "deviation": deviation}
            for (name, weight), number, mean, deviation in facts
        ]
        return {"moments": lines, "remarks": remarks.to_json()}


def _of_file(path: str) -> Any:
    """Weights by column, of a YAML file.

    Raises:
        ValueError: when it cannot be read, or holds something else.
    """
    try:
        weights = parse(Path(path).read_text(encoding="utf-8-sig"), path)
    except (OSError, UnicodeDecodeError, CurateError) as error:
        raise ValueError(f"weights cannot be read: {error}") from error
    if not isinstance(weights, Mapping):
        raise ValueError(f"'{path}' holds no weights: expected a line `column: weight` for each column")
    return dict(weights)


@dataclass(frozen=True)
class Moments:
    """Of each column: rows with a value, their mean and population standard deviation."""

    rows: list[int]
    means: list[float]
    deviations: list[float]


def _doubles(rows: Rows, name: str) -> np.ndarray:
    values = pl.Series(rows[name])
    if not values.dtype.is_numeric() and values.dtype not in (pl.Boolean, pl.Null):
        raise CurateError(f"balance.standardise: column '{name}' holds {values.dtype}, no numbers")
    doubles: np.ndarray = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return doubles


def _finite(rows: Rows, name: str) -> np.ndarray:
    values = _doubles(rows, name)
    finite: np.ndarray = values[np.isfinite(values)]
    return finite
