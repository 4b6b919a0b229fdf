"""Soft-cap sampling: rows are drawn again and again by their scores, and each draw lowers the score of a drawn row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from curate.alike.repeated_draws import Scored, draws_of, thresholds
from curate.arrays.string_hash import hash_strings
from curate.errors import CurateError
from curate.messages.counted import counted
from curate.op import Fitted, Rows, Summed

#: Rounds of the published 128 M draws, 100,000 at a time.
PUBLISHED_ROUNDS = 1280
#: More copies of a row than a keep table holds.
MOST_ROUNDS = 65_535


class SoftCap(Fitted):
    """`<table>_copies`, uint16: how often a row is taken, for `filter: {copies: soft_cap_copies}`; 0 for most. Table:
    `soft_cap`. Until `rows` draws are made, `draw` rows are drawn without replacement with probability softmax(score),
    and `penalty` is taken off the scores of those that were drawn. A row without a score (null, NaN, infinite) is
    null.

    by: a column of scores, larger is better; differences of 1 are factors of e, so it is usually standardised.
    rows: draws all together; published 128 M of a pool of 128 M.
    draw: rows of a round; by default a 1,280th of `rows`, as published.
    penalty: published 0.15; a row that was drawn k times has its weight times e^(-k penalty).
    most: copies of a row at most; 0 is no such limit. The paper's hard cap is 15.
    sample: where more rows than this have a score, how low a score is still drawn in a round is found on so many of
        them, those with the lowest seeded hashes of uid, and `rows` is met nearly. With fewer rows it is met exactly,
        uids that repeat aside. Some 100 bytes a row on the driver.

    A draw is a hash of (seed, round, uid), so the same rows on any cluster; time grows with rows * rounds.
    """

    cite: ClassVar[str] = "Shechter et al., FLYT, 2025 (soft cap sampling)"
    by: str
    rows: int = Field(ge=1)
    draw: int | None = Field(None, ge=1)
    penalty: float = Field(0.15, gt=0, allow_inf_nan=False)
    most: int = Field(0, ge=0)
    sample: int = Field(10_000_000, ge=1)
    seed: int = Field(0, ge=0, lt=2**62)

    @model_validator(mode="after")
    def _copies_fit(self) -> SoftCap:
        if self._rounds() > MOST_ROUNDS:
            raise ValueError(
                f"{self._rounds():,} rounds, and a row is taken {MOST_ROUNDS:,} times at most: raise `draw`"
            )
        return self

    def _draw(self) -> int:
        return self.draw or -(-self.rows // PUBLISHED_ROUNDS)

    def _rounds(self) -> int:
        return -(-self.rows // self._draw())

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, "uid")))

    def makes(self) -> dict[str, pa.DataType]:
        return {f"{self.table()}_copies": pa.uint16()}

    def decision(self) -> dict[str, Any]:
        return {"name": "soft_cap", "copies": f"{self.table()}_copies"}

    def fit(self, summed: Summed) -> Drawn:
        scored: Scored | None = summed(self._scored)
        if scored is None or not scored.total:
            raise CurateError(f"balance.soft_cap: no row has a score in '{self.by}'")
        if self._draw() > scored.total:
            raise CurateError(
                f"balance.soft_cap: {counted(self._draw(), 'row')} cannot be drawn without repeats of "
                f"{counted(scored.total, 'row')} with a '{self.by}': give fewer `rows`, or a smaller `draw`"
            )
        if self.most and self.rows > self.most * scored.total:
            raise CurateError(
                f"balance.soft_cap: {self.rows:,} draws, and {counted(scored.total, 'row')} of {self.most} copies at "
                f"most are {self.most * scored.total:,}"
            )
        scored = scored.whole()
        share = len(scored.scores) / scored.total
        ends = np.minimum(np.arange(1, self._rounds() + 1) * self._draw(), self.rows)
        numbers = np.diff(np.rint(ends * share).astype(np.int64), prepend=0)
        limits, copies = thresholds(scored, numbers, self.penalty, self.most, self.seed)
        return Drawn(limits, len(scored.scores), scored.total, int((copies > 0).sum()), int(copies.max()))

    def _scored(self, rows: Rows) -> Scored:
        scores = _doubles(rows[self.by], self.by)
        known = np.isfinite(scores)
        hashes = hash_strings(rows["uid"])[known]
        return Scored(hashes, scores[known], self.sample, self.seed, int(known.sum()))

    def batch(self, rows: Rows, fitted: Any) -> Mapping[str, Any]:
        scores = _doubles(rows[self.by], self.by)
        known = np.isfinite(scores)
        copies = np.zeros(len(rows), np.uint16)
        hashes = hash_strings(rows["uid"])[known]
        copies[known] = draws_of(hashes, scores[known], fitted.limits, self.penalty, self.most, self.seed)
        (column,) = self.makes()
        return {column: pa.array(copies, mask=~known), "status": np.where(known, "ok", "no_value").tolist()}

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        facts = {"rounds": len(fitted.limits), "scored": fitted.scored, "most_copies": fitted.most_copies}
        if fitted.sampled < fitted.scored:
            return facts | {"sampled": fitted.sampled}
        return facts | {"draws": self.rows, "rows_drawn": fitted.rows_drawn}


@dataclass(frozen=True)
class Drawn:
    """limits: float64, of each round. sampled, of `scored` rows, were drawn from to find them; rows_drawn of these were
    drawn once or more often, and one of them most_copies times."""

    limits: np.ndarray
    sampled: int
    scored: int
    rows_drawn: int
    most_copies: int


def _doubles(column: pa.Array, name: str) -> np.ndarray:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise CurateError(f"balance.soft_cap: column '{name}' is {column.type}, expected numbers")
    values: np.ndarray = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return values
