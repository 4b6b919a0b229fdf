"""How many words of the caption no list of English words has: names, slips, other languages, codes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import PrivateAttr

from curate.op import Rows, Score

#: Letters with their marks, and apostrophes between them; numbers are no words.
_WORD = r"\p{L}[\p{L}\p{M}]*(?:['’]\p{L}[\p{L}\p{M}]*)*"
#: What English puts behind a name.
_POSSESSIVE = r"['’]s$"


class RareWords(Score):
    """`rare_words`: words of the caption, repeats counted again, that wordfreq's large English list does not have.

    The list holds words that stand once in 10^8 words or more, which is about 20 times in English Wikipedia: CC12M
    drops a caption with a word of fewer than 20 occurrences, Conceptual Captions with one of fewer than 5 in
    Wikipedia. Words are runs of letters in lower case, `'s` taken off; numbers do not count.

    "a dog and a cat" has 0, "a zorblax" 1. Names of people, which CC12M replaces first, are mostly in the list.
    """

    cite: ClassVar[str] = "after Changpinyo et al., Conceptual 12M, 2021; the list is wordfreq's (Speer, 2022)"
    batch_size: int = 10_000

    _listed: Any = PrivateAttr(None)

    def reads(self) -> tuple[str, ...]:
        return ("text",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"rare_words": pa.int32()}

    def packages(self) -> tuple[str, ...]:
        return ("wordfreq",)

    def weights(self) -> str:
        try:
            return f"wordfreq@{version('wordfreq')}"
        except PackageNotFoundError:
            return "wordfreq@not installed"

    def setup(self) -> None:
        from wordfreq import get_frequency_dict

        self._listed = pl.DataFrame({"word": list(get_frequency_dict("en", "large"))})

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        words = pl.Series(rows["text"]).str.to_lowercase().str.extract_all(_WORD)
        flat = pl.DataFrame({"row": np.arange(len(rows)), "word": words}).explode("word").drop_nulls()
        plain = flat.with_columns(pl.col("word").str.replace(_POSSESSIVE, "").str.replace_all("’", "'"))
        rare = plain.join(self._listed, on="word", how="anti")
        return {"rare_words": np.bincount(rare["row"].to_numpy(), minlength=len(rows)).astype(np.int32)}
