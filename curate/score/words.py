"""Words and characters of the caption, as DataComp counts them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa

from curate.arrays.ascii_words import by_bytes, in_two
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
        counts = in_two(rows["text"], counts_by_bytes, counts_by_patterns)
        return {name: counts[name].to_arrow() for name in self.makes()}


def counts_by_bytes(texts: pa.Array) -> dict[str, np.ndarray]:
    return by_bytes(texts, "words", "characters")


def counts_by_patterns(texts: pl.Series) -> dict[str, pl.Series]:
    return {"words": texts.str.count_matches(WORD), "characters": texts.str.len_chars()}
