"""Tokens of a caption as fastText counts them: pieces between ASCII blanks, and each line feed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa

from curate.op import Rows, Score

#: A blank of Unicode is none to fastText, so `a\\u00a0b` is one token.
TOKEN = r"\n|[^ \n\r\t\x0b\x0c\x00]+"


class FasttextTokens(Score):
    """`fasttext_tokens`, uint32: of "stop sign" 2, of "castle\\n" 2 (the line feed is one), of "" 0.

    DataComp's image-based filter wants more than one; `words` of score.words counts what Unicode's blanks part.
    """

    cite: ClassVar[str] = "Joulin et al., Bag of tricks for efficient text classification, 2016 (fastText, readWord)"
    batch_size: int = 10_000

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"fasttext_tokens": pa.uint32()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {"fasttext_tokens": pl.Series(rows["text"]).str.count_matches(TOKEN).to_arrow()}
