"""The best rows by one column: how many, and in which of its forms it is written."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_PERCENT = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?%")
_FRACTION = re.compile(r"0?\.\d+")
_ROWS = re.compile(r"(\d+) rows?")


def _share(value: Any) -> Any:
    """A fraction: 0.3, or "30%"."""
    percent = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if percent:
        return float(Decimal(percent[1]) / 100)
    if isinstance(value, bool) or (isinstance(value, str) and not _FRACTION.fullmatch(value.strip())):
        raise ValueError("write a fraction as 0.3 or 30%")
    return value


def _number_of_rows(value: Any) -> Any:
    rows = _ROWS.fullmatch(value.strip()) if isinstance(value, str) else None
    if rows:
        return int(rows[1])
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError("write rows as a whole number, 1000")
    return value


def _size(text: str) -> dict[str, Any]:
    """`30%`, `0.3` or `1000 rows`, the only forms: `1` may be one row or all of them; and `within` behind it."""
    size, _, within = (part.strip() for part in text.partition(" within "))
    if within:
        return {**_size(size), "within": within}
    if _PERCENT.fullmatch(size) or _FRACTION.fullmatch(size):
        return {"fraction": size}
    if _ROWS.fullmatch(size):
        return {"rows": size}
    rows, percent = (f"{size} row{'s' * (size != '1')}", f"{size}%") if size.isdigit() else ("1000 rows", "30%")
    meant = f"'{rows}' or '{percent}'" if size.isdigit() else f"'{percent}', '0.3' or '{rows}'"
    raise ValueError(f"{size!r} says neither a fraction nor a number of rows: write {meant}")


class Top(BaseModel):
    """Keep the best rows by one column: a fraction (0.3, "30%"), or a number of rows; in short "column=30%",
    or "column=30% within source".

    Scores are ranked in the precision of their column, up to 64 bits. The threshold is resolved once, over `among`, and
    kept in the manifest. `ties: exact` keeps exactly N times the fraction, rounded down, equal scores by ascending uid,
    equal uids in the order of the input; `ties: datacomp` keeps every row with a score of at least the element at index
    `int(N * fraction)`, computed in doubles as DataComp does. Rows without a score (null, NaN, infinite) are not
    counted and not kept.

    within: a column of texts or whole numbers: the best of each of its values, N being the rows that have it; null is a
    value of its own, called `null`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str
    fraction: Annotated[float | None, BeforeValidator(_share)] = Field(None, gt=0, le=1)
    rows: Annotated[int | None, BeforeValidator(_number_of_rows)] = Field(None, ge=1)
    among: Literal["entering", "passing"] = "entering"
    ties: Literal["exact", "datacomp"] = "exact"
    within: str | None = Field(None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, spec: Any) -> Any:
        if not isinstance(spec, str):
            return spec
        by, equals, size = spec.rpartition("=")
        if not equals or not by.strip():
            raise ValueError("write it as column=30%, column=0.3 or column=1000 rows")
        return {"by": by.strip(), **_size(size)}

    @model_validator(mode="after")
    def _one_size(self) -> Top:
        if (self.fraction is None) == (self.rows is None):
            raise ValueError("give either `fraction` or `rows`")
        return self

    def count(self, scored: int) -> int:
        """How many of `scored` rows to keep."""
        if self.fraction is None:
            return min(self.rows or 0, scored)
        if self.ties == "datacomp":
            return int(scored * self.fraction)
        # 0.29 of 100 are 29 rows, and 28 in doubles.
        return int(scored * Fraction(str(self.fraction)))

    def reason(self) -> str:
        size = f"{self.rows} rows" if self.rows is not None else f"{self.fraction:.4g} of the rows"
        return f"not in the top {size} by {self.by}" + (f" within {self.within}" if self.within else "")

    def spec(self) -> dict[str, Any]:
        """What decides its result; `within` only where it is used."""
        return self.model_dump(mode="json", exclude=set() if self.within else {"within"})
