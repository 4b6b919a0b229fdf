"""Share of the caption's words that are written in the image (co-embedded text rate): how much it parrots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa

from curate.op import Rows, Score
from curate.spotted_words import co_embedded_rate, normalised


class Cotr(Score):
    """Columns `cotr` and `cotr_fuzzy`, 0 to 1; 0 for an image without words and for an empty caption. Needs no model.

    cotr: distinct words of the caption that OCR reads in the image, among all its distinct words. Words are compared
        in lower case without punctuation: "A red STOP sign" with "STOP", "sign!", "ahead" in the image makes 2 of 4.
    cotr_fuzzy: near words count too: a Levenshtein distance of 1 from 4 letters on, of 2 from 8. The distances are
        ours.

    A parrot caption is one with cotr > 0 in the paper; short words that stand anywhere ("a", "the") make many of
    those. On 100 textbook figures that we labelled by hand, cotr_fuzzy > 0.2 named 26 of the 30 parrot captions and 2
    others, cotr > 0 named 28 and 22 others. Reads `ocr_words`: score.ocr comes before it.
    """

    reads: ClassVar[tuple[str, ...]] = ("text", "ocr_words")
    cite: ClassVar[str] = "Lin et al., Parrot Captions Teach CLIP to Spot Text, 2023"
    batch_size: int = 1000

    def makes(self) -> dict[str, pa.DataType]:
        return {"cotr": pa.float32(), "cotr_fuzzy": pa.float32()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        captions = normalised(pl.Series(rows["text"])).to_list()
        spotted = normalised(pl.Series(rows["ocr_words"], dtype=pl.List(pl.String)).list.join(" ")).to_list()
        pairs = [(set(caption), set(words)) for caption, words in zip(captions, spotted, strict=True)]
        return {
            "cotr": [co_embedded_rate(*pair) for pair in pairs],
            "cotr_fuzzy": [co_embedded_rate(*pair, fuzzy=True) for pair in pairs],
        }
