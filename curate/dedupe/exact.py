"""Exact duplicates by URL, caption, pair, file, pixels or any columns: which row each one repeats."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
from pydantic import field_validator

from curate.alike.keeper import keep_columns, keepers, known_keep
from curate.alike.kept_keys import KeptKeys
from curate.alike.row_key import comparable, row_keys
from curate.library.names import in_sql
from curate.op import Grouped, Rows

#: What a column holds, in words.
THINGS = {"text": "caption", "sha256": "image file", "pixel_hash": "pixels"}


class Exact(KeptKeys, Grouped):
    """`<table>_of` is the uid of the row that stays where this one repeats it, null for rows that stay;
    `<table>_size` how many rows share the key. Both null for a row without a key. Table: `dup_<by>`.

    by: a column, or several that must all be equal; `url_text` is url and text. URLs are compared as `alike.url_key`
        spells them, captions in NFC with blanks collapsed, everything else as it is. Null, an empty string and NaN
        equal nothing.
    keep: which row of a group stays: `smallest_uid`, the `first` of the input, the `largest_image` (original width
        times height), or `best:COLUMN` (highest value). A null ranks last; equals go by smallest uid, then by input.
    against: stores whose rows were there first: those that are in at the end of their last run take part as if they had
        been read before and ranked best, and only rows of this store are judged. `<table>_store` names the store of the
        row that `<table>_of` names, null for one of this store; `<table>_size` counts old rows, too. An old store needs
        the columns that this op reads, made by the same op with the same options. Nothing is written there.
    keep_keys: keep the keys, 16 bytes a row, as a table of their own: what a row's key is made of is not read again by
        a later run, here or in a store that names this one in `against`.

    A `dedupe:` step keeps one row of each group, by `dup_url_of IS NULL`.
    """

    cite: ClassVar[str] = "exact keys as LAION, DataComp and MetaCLIP drop them; Schuhmann et al., 2022"
    version: ClassVar[int] = 2  # keys of URLs: read by the standard's rules
    key_options: ClassVar[frozenset[str]] = frozenset({"by"})
    batch_size: int = 10_000
    by: str | tuple[str, ...] = "url"
    keep: str = "smallest_uid"

    @field_validator("by")
    @classmethod
    def _one_spelling(cls, by: str | tuple[str, ...]) -> str | tuple[str, ...]:
        columns = ("url", "text") if by == "url_text" else (by,) if isinstance(by, str) else by
        if not all(columns) or not columns:
            raise ValueError("name a column, or several")
        return columns[0] if len(columns) == 1 else columns

    _known = field_validator("keep")(known_keep)

    def columns(self) -> tuple[str, ...]:
        """What makes the key."""
        return (self.by,) if isinstance(self.by, str) else self.by

    def table(self) -> str:
        return self.name or "dup_" + "_".join(self.columns())

    def packages(self) -> tuple[str, ...]:
        return ("ada_url",) if "url" in self.columns() else ()

    def makes(self) -> dict[str, pa.DataType]:
        return {f"{self.table()}_of": pa.string(), f"{self.table()}_size": pa.uint32(), **self.store_column()}

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.columns(), *self.carries())))

    def key_columns(self) -> tuple[str, ...]:
        return self.columns()

    def carries(self) -> tuple[str, ...]:
        return keep_columns(self.keep)

    def decision(self) -> dict[str, Any]:
        of, *_ = self.makes()
        reason = "the same " + " and ".join(THINGS.get(column, column) for column in self.columns())
        keep = [*self.not_in_old(reason), {"if": f"{in_sql(of)} IS NULL", "else": reason}]
        return {"name": "duplicates", "keep": keep}

    def keys(self, rows: Rows) -> pa.Array:
        return row_keys([comparable(pl.Series(rows[name]), name) for name in self.columns()])

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        return keepers(rows, self.keep, *self.makes(), against=self.against)
