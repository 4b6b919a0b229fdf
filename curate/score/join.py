"""Columns of a table from outside, published scores among them: each row's by its uid, url or file hash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
from pydantic import ConfigDict, Field, field_validator, model_validator

from curate.alike.outside_keys import comparable_keys, version_of
from curate.alike.outside_table import KEYS, MARK, OutsideTable, files_of, open_table, renamed, table_name
from curate.alike.row_key import comparable, row_keys
from curate.errors import CurateError
from curate.messages.remarks import Remarks
from curate.op import Grouped, Rows

#: Columns that are the store's own.
TAKEN = ("uid", "url", "text", "kept", "reason", "dropped_by")


class Join(Grouped):
    """The outside table's columns under the names that they have there; null for a row that it does not have, whose
    status is `no_match`. Of several outside rows with one key the first is taken, in the order of the files.

    table: a parquet, a folder or a list of these; or an .npz or .npy, with `key_file`. Arrays of an .npz beside a
        parquet (its name with another ending) are columns, too, when they are named: that is how DataComp keeps
        vectors. The table is known by what its files hold, wherever they lie.
    by: `uid`, `url` (compared as `alike.url_key` spells them) or `sha256`.
    key: the outside column that has it; by default the one of the usual name.
    key_file: of an .npz or .npy the keys, in the same order: a .parquet, a .npy (of uids as in a subset file, or of
        texts) or a .txt.
    columns: which are taken; by default all. `{mine: theirs}` gives them other names.
    """

    model_config = ConfigDict(populate_by_name=True)

    cite: ClassVar[str] = "published score files and DataComp's metadata; Gadre et al., 2023"
    #: The table is known by the sums of its files, see `weights`.
    how: ClassVar[frozenset[str]] = Grouped.how | {"files", "key_file"}
    batch_size: int = 10_000
    files: str | tuple[str, ...] = Field(alias="table")
    by: str = "uid"
    key: str = ""
    key_file: str = ""
    columns: tuple[str, ...] | dict[str, str] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_column(cls, options: Any) -> Any:
        if isinstance(options, Mapping) and isinstance(options.get("columns"), str):
            return {**options, "columns": [options["columns"]]}
        return options

    @field_validator("by")
    @classmethod
    def _known(cls, by: str) -> str:
        if by not in KEYS:
            raise ValueError(f"rows are found by {', '.join(KEYS)}")
        return by

    def table(self) -> str:
        return self.name or table_name(self.files)

    def packages(self) -> tuple[str, ...]:
        return ("ada_url",) if self.by == "url" else ()

    def outside(self) -> OutsideTable:
        files = files_of(self.files)
        beside = [*files, *filter(None, [self.key_file])]
        return open_table(files, self.by, self.key, self.key_file, renamed(self.columns), version_of(beside))

    def weights(self) -> str:
        return self.outside().digest()

    def reads(self) -> tuple[str, ...]:
        return (self.by,)

    def makes(self) -> dict[str, pa.DataType]:
        return {column.name: column.kind for column in self.outside().columns}

    def carries(self) -> tuple[str, ...]:
        return tuple(self.outside().schema)

    def check(self) -> None:
        super().check()
        table = self.outside()
        if not table.columns:
            raise CurateError(f"score.join: '{table.files[0]}' has no column beside '{table.key}'")
        if twice := sorted({c.name for c in table.columns if c.name in TAKEN}):
            raise CurateError(
                f"score.join: a column cannot be called '{twice[0]}', which every row has: give it another name, "
                f"columns: {{their_{twice[0]}: {twice[0]}}}"
            )
        if not sum(table.sizes):
            raise CurateError(f"score.join: '{table.files[0]}' has no rows")

    def keys(self, rows: Rows) -> pa.Array:
        keys = pl.Series(rows[self.by])
        return row_keys([comparable(keys, "url") if self.by == "url" else comparable_keys(keys)])

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        columns = [pl.col(name).alias(name.removeprefix(MARK)) for name in self.carries()]
        theirs = rows.filter(pl.col("shard") < 0).sort("shard", "row")
        first = theirs.unique("key", keep="first", maintain_order=True).select("key", *columns, status=pl.lit("ok"))
        ours = rows.filter(pl.col("shard") >= 0).select("key", "shard", "row")
        joined = ours.join(first, on="key", how="left").with_columns(pl.col("status").fill_null("no_match"))
        outside = theirs.select("shard", "row", *columns, status=pl.lit("ok"))
        return pl.concat([joined.select(outside.columns), outside])

    def tally(self, rows: pl.DataFrame) -> dict[str, int]:
        theirs = rows.filter(pl.col("shard") < 0)
        times = theirs.group_by("key").len()
        ours = rows.filter(pl.col("shard") >= 0)
        return {
            "keys": len(times),
            "repeated": times.filter(pl.col("len") > 1).height,
            "with_key": len(theirs),
            "rows": len(ours),
            "matched": ours.join(times, on="key", how="semi").height,
            "of_no_row": times.join(ours, on="key", how="anti").height,
        }

    def tallied(self, tally: Mapping[str, int]) -> dict[str, Any]:
        table, remarks = self.outside(), Remarks()
        rows, matched, total = tally.get("rows", 0), tally.get("matched", 0), sum(table.sizes)
        by = f"'{table.key_file or table.files[0]}'"
        remarks.add(
            "row(s) without a match", rows - matched, "none has one: is it the right table?" if not matched else ""
        )
        remarks.add(f"{self.by}(s) of the outside table that no row has", tally.get("of_no_row", 0))
        remarks.add(
            f"{self.by}(s) that the outside table has more than once: the first is taken", tally.get("repeated", 0)
        )
        remarks.add(f"row(s) of the outside table without a {self.by}", total - tally.get("with_key", 0), by)
        remarks.add("column(s) of the outside table left out", len(table.left_out), ", ".join(table.left_out))
        return {"outside_rows": total, "matched": matched, "misses": rows - matched, "remarks": remarks.to_json()}
