"""Verdicts as a keep table stores them: one dictionary column, so that a row is one small number in the file.

The column `verdict` holds "kept" for a row that stays, "<step>: <reason>" for one that a step dropped. Names of steps
hold no colon. Keep tables of earlier versions have `kept`, `dropped_by` and `reason` instead; both forms are read.

A second column, `copies`, is there where a filter said how often rows are to be taken; without it a row that stays is
taken once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

#: The column of a keep table.
VERDICT = "verdict"

#: The column of a keep table that says how often a row is taken; 0 for one that is out.
COPIES = "copies"

#: Copies of a row at most: they are kept in 16 bits.
MOST_COPIES = (1 << 16) - 1

#: The verdict of a row that stays; always the first value of the dictionary.
KEPT = "kept"

#: What people read of a verdict.
LEDGER = ("kept", "dropped_by", "reason")

_BETWEEN = ": "


def verdict_of(step: str, reason: str) -> str:
    """The verdict of a row that a step dropped.

    >>> verdict_of("english", "fails: lang = 'en'")
    "english: fails: lang = 'en'"
    """
    return f"{step}{_BETWEEN}{reason}"


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of a shard.

    codes: (rows,) whole numbers: the verdict of a row is `texts[code]`. texts: KEPT first.
    copies: (rows,) uint16: how often a row is taken, 0 for one that is out; None: every row that stays once.
    """

    codes: np.ndarray
    texts: Sequence[str]
    copies: np.ndarray | None = None

    @classmethod
    def of(cls, part: pa.Table) -> Verdicts:
        """The verdicts in a part of a keep table, of today's form or an earlier one."""
        if VERDICT not in part.column_names:
            part = _from_ledger(part)
        copies = part[COPIES].to_numpy() if COPIES in part.column_names else None
        column = part.unify_dictionaries()[VERDICT].combine_chunks()
        codes, texts = pl.Series(pl.from_arrow(column.indices)).to_numpy(), column.dictionary.to_pylist()
        if texts[:1] == [KEPT]:
            return cls(codes, texts, copies)
        rest = [text for text in texts if text != KEPT]
        order = {text: code for code, text in enumerate([KEPT, *rest])}
        return cls(np.array([order[text] for text in texts], np.int32)[codes], list(order), copies)

    @property
    def kept(self) -> np.ndarray:
        """(rows,) bool: the rows that stay."""
        kept: np.ndarray = self.codes == 0
        return kept

    def then(self, later: Verdicts) -> Verdicts:
        """The verdicts after a later step: a row that is out keeps its verdict; of copies the last ones count."""
        codes = np.where(self.kept, later.codes, self.codes.astype(np.int64) + len(later.texts) - 1)
        copies = self.copies if later.copies is None else later.copies
        if copies is not None:
            copies = np.where(codes == 0, copies, 0).astype(np.uint16)
        return Verdicts(codes, [*later.texts, *self.texts[1:]], copies)

    def to_arrow(self) -> pa.Table:
        """The columns of a part: a dictionary of KEPT and of the other texts that a row has, each once; and copies."""
        numbers = {KEPT: 0}
        codes = np.zeros(len(self.texts), np.int32)
        for code in np.flatnonzero(np.bincount(self.codes, minlength=1)).tolist():
            codes[code] = numbers.setdefault(self.texts[code], len(numbers))
        # Arrays by their buffers: `pa.array` of a list, or of numpy's, imports pandas, a third of a second.
        column = pa.Array.from_buffers(pa.int32(), len(self.codes), [None, pa.py_buffer(codes[self.codes])])
        columns = {VERDICT: pa.DictionaryArray.from_arrays(column, _strings(list(numbers)))}
        if self.copies is not None:
            data = pa.py_buffer(np.ascontiguousarray(self.copies, np.uint16))
            columns[COPIES] = pa.Array.from_buffers(pa.uint16(), len(self.copies), [None, data])
        return pa.table(columns)


def _strings(texts: Sequence[str]) -> pa.StringArray:
    values = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(ends), pa.py_buffer(b"".join(values)))


def _from_ledger(part: pa.Table) -> pa.Table:
    """The column `verdict` of a part that has `kept`, `dropped_by` and `reason`."""
    step, reason = (pl.col(name).cast(pl.String) for name in ("dropped_by", "reason"))
    dropped = pl.concat_str(step, reason, separator=_BETWEEN)
    verdict = pl.when("kept").then(pl.lit(KEPT)).otherwise(dropped).alias(VERDICT)
    texts = pl.DataFrame(part.select(LEDGER)).select(verdict).to_arrow().cast(pa.schema({VERDICT: pa.string()}))
    return pa.table({VERDICT: texts[VERDICT].combine_chunks().dictionary_encode()})


def ledger_columns(names: Sequence[str]) -> list[pl.Expr]:
    """`kept` (bool), `dropped_by` and `reason` (categories, null where kept) of a keep table that has these columns;
    and its `copies`, if any."""
    if VERDICT not in names:
        return [pl.col(name) for name in LEDGER]
    text = pl.col(VERDICT).cast(pl.String)
    # A step's name is ASCII, so that a place in bytes is one in characters; "kept" has no such place.
    end = text.str.find(_BETWEEN, literal=True)
    step = pl.when(end.is_not_null()).then(text.str.head(end))
    return [
        (text == KEPT).alias("kept"),
        step.cast(pl.Categorical).alias("dropped_by"),
        text.str.slice(end + len(_BETWEEN)).cast(pl.Categorical).alias("reason"),
        *(pl.col(name) for name in names if name == COPIES),
    ]
