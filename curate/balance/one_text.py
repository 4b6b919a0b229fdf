"""One text for each image: chosen uniformly among those that match, then kept with its MetaCLIP probability."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import field_validator

from curate.alike.row_key import comparable, row_keys
from curate.arrays.string_hash import hash_pairs, hash_strings
from curate.library.names import in_sql
from curate.op import Grouped, Rows


class OneText(Grouped):
    """`one_text_keep` is true for at most one row of each image: MetaCLIP 2 takes one of the image's distinct texts
    that match any entry, each equally likely, and keeps it with probability `metaclip_p`. `one_text_why` says `kept`,
    or why not: `no match`, `another text` was chosen, or it was chosen and `thinned`. Both are null without an image.

    Reads `metaclip_p`: balance.metaclip comes first, in an `annotate:` step, since its own decision `metaclip_keep` is
    the first MetaCLIP's, which judges each text by itself. The choice is a hash of (seed, image, text), the same on any
    cluster and in any order.

    by: column whose equal values are one image: `sha256`, `url`, `phash`. URLs are compared as in dedupe.exact.
    """

    cite: ClassVar[str] = "MetaCLIP 2, 2025"
    version: ClassVar[int] = 2  # keys of URLs: read by the standard's rules
    by: str = "sha256"
    seed: int = 0

    @field_validator("by")
    @classmethod
    def _not_empty(cls, by: str) -> str:
        if not by:
            raise ValueError("name the column of the image")
        return by

    def packages(self) -> tuple[str, ...]:
        return ("ada_url", "numba") if self.by == "url" else ("numba",)

    def makes(self) -> dict[str, pa.DataType]:
        return {f"{self.table()}_keep": pa.bool_(), f"{self.table()}_why": pa.string()}

    def decision(self) -> dict[str, Any]:
        keep, why = self.makes()
        return {"name": "one_text", "keep": [{"if": in_sql(keep), "else": "not drawn by MetaCLIP 2"}], "reason": why}

    def replaces(self) -> tuple[str, ...]:
        return ("metaclip_keep",)

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, *self.carries())))

    def carries(self) -> tuple[str, ...]:
        return ("uid", "text", "metaclip_p")

    def keys(self, rows: Rows) -> pa.Array:
        return row_keys([comparable(pl.Series(rows[self.by]), self.by)])

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with the same text share a hash, so a text is chosen as one, and its smallest uid stands for it."""
        images = hash_strings(rows["key"].bin.encode("hex").to_arrow())
        texts = hash_strings(rows["text"].fill_null("").to_arrow())
        rank, draw = (hash_pairs(images, texts, seed) for seed in (2 * self.seed, 2 * self.seed + 1))
        matches = pl.col("metaclip_p").fill_null(0.0) > 0
        judged = rows.with_columns(
            matches=matches, rank=pl.Series(rank), draw=pl.Series((draw >> np.uint64(11)) * 2.0**-53)
        )
        judged = judged.sort("key", "matches", "rank", "uid", "shard", "row", descending=[False, True, *[False] * 4])
        why = (
            pl.when(~pl.col("matches"))
            .then(pl.lit("no match"))
            .when(~pl.col("key").is_first_distinct())
            .then(pl.lit("another text"))
            .when(pl.col("draw") >= pl.col("metaclip_p"))
            .then(pl.lit("thinned"))
            .otherwise(pl.lit("kept"))
        )
        keep, reason = self.makes()
        return judged.select("shard", "row", why.alias(reason)).with_columns((pl.col(reason) == "kept").alias(keep))
