"""How many distinct images share a caption, or captions an image: the frequency rules of ALIGN."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
from pydantic import Field

from curate.alike.kept_keys import KeptKeys
from curate.alike.row_key import comparable, row_keys
from curate.library.names import in_sql
from curate.op import Grouped, Rows

#: Columns that stand for one thing, and what the count of it is called.
THINGS = {"text": "text", "url": "url"} | dict.fromkeys(("sha256", "pixel_hash", "phash", "dhash", "pdq"), "image")


class Shared(KeptKeys, Grouped):
    """`text_images` is the number of distinct images among all rows with the row's caption (by: text, distinct:
    sha256); `image_texts` the number of distinct captions of its image (by: sha256, distinct: text).

    Distinct values are counted, not rows: one image under ten URLs is one image. A row without a value adds none, and
    a row without a key has no count. URLs and captions are compared as in dedupe.exact. The counts are of the rows
    that are in when the op runs; ALIGN counts its raw data.

    most: a `dedupe:` step drops rows with a larger count; a row without a count stays. ALIGN takes 10 images of a
        caption, 1,000 captions of an image. Without it the op only counts.
    against: stores whose rows were there first, as in dedupe.exact: only rows of this store are judged, and the count
        is of all rows, old and new. `<table>_old` is how many of the distinct values old rows have: where these alone
        are more than `most`, the reason says so.
    keep_keys: keep the keys, 16 bytes a row, as dedupe.exact does.
    """

    cite: ClassVar[str] = "Jia et al., ALIGN, 2021"
    version: ClassVar[int] = 2  # keys of URLs: read by the standard's rules
    how: ClassVar[frozenset[str]] = KeptKeys.how | {"most"}
    key_options: ClassVar[frozenset[str]] = frozenset({"by"})
    by: str = "text"
    distinct: str = "sha256"
    most: int | None = Field(None, ge=1)

    def _things(self) -> tuple[str, str]:
        return THINGS.get(self.by, self.by), THINGS.get(self.distinct, self.distinct)

    def table(self) -> str:
        by, distinct = self._things()
        return self.name or f"{by}_{distinct}s"

    def packages(self) -> tuple[str, ...]:
        return ("ada_url",) if "url" in (self.by, self.distinct) else ()

    def makes(self) -> dict[str, pa.DataType]:
        return dict.fromkeys((self.table(), *self._of_old()), pa.uint32())

    def _of_old(self) -> tuple[str, ...]:
        """The column that counts what old rows have."""
        return (f"{self.table()}_old",) if self.against else ()

    def decision(self) -> dict[str, Any]:
        if self.most is None:
            return {}
        by, distinct = (thing.replace("text", "caption") for thing in self._things())
        reason = f"{by} with more than {self.most} {distinct}s"
        reasons = {**dict.fromkeys(self._of_old(), f"{reason} (old store)"), self.table(): reason}
        counts = {in_sql(column): reason for column, reason in reasons.items()}
        return {"keep": [{"if": f"{n} <= {self.most} OR {n} IS NULL", "else": reason} for n, reason in counts.items()]}

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, *self.carries())))

    def key_columns(self) -> tuple[str, ...]:
        return (self.by,)

    def carries(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("uid", self.distinct)))

    def keys(self, rows: Rows) -> pa.Array:
        return row_keys([comparable(pl.Series(rows[self.by]), self.by)])

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        values = comparable(rows[self.distinct], self.distinct)
        distinct = {self.table(): pl.col("value").drop_nulls()}
        for name in self._of_old():
            distinct[name] = pl.col("value").filter(pl.col("old_store").is_not_null()).drop_nulls()
        counts = [value.n_unique().over("key").cast(pl.UInt32).alias(name) for name, value in distinct.items()]
        return rows.with_columns(value=values).select("shard", "row", *counts)
