"""Words and characters of the caption, as DataComp counts them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa

from curate.arrays.ascii_words import AsciiWords, in_two
from curate.op import Rows, Score

#: A run of what Python's str.split() does not split at: white space and the four information separators.
WORD = r"[^\s\x1c-\x1f]+"


class Words(Score):
    """`words` is `len(text.split())`, `characters` is `len(text)`; both 0 for an empty caption, null for none."""

    cite: ClassVar[str] = "Gadre et al., DataComp, 2023 (basic filtering)"
    batch_size: int = 10_000

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"words": pa.int32(), "characters": pa.int32()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        text = pl.Series(rows["text"])
        words = in_two(text, counts_by_bytes, counts_by_patterns)["words"]
        return {"words": words.to_arrow(), "characters": text.str.len_chars().to_arrow()}


def counts_by_bytes(texts: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"words": AsciiWords(texts).words})


def counts_by_patterns(texts: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"words": texts.str.count_matches(WORD).cast(pl.Int32)})
