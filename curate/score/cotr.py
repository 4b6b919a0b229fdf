"""Share of the caption's words that are written in the image (co-embedded text rate): how much it parrots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from curate.op import Rows, Score
from curate.text_in_images.spotted_words import co_embedded_rate, normalised, readable


class Cotr(Score):
    """Columns `cotr_published`, `cotr` and `cotr_fuzzy`, 0 to 1; 0 for an empty caption. Needs no model.

    cotr_published: algorithm 1 of the paper: distinct words of the caption that OCR reads in the image, among all its
        distinct words; words are what stands between blanks, with their capitals and punctuation. "A red STOP sign"
        with "STOP", "sign!", "ahead" in the image makes 1 of 4. Null for an image without words: the paper's subsets
        by CoTR are drawn among images with text.
    cotr: ours. Words are compared in lower case without punctuation, so that the same example makes 2 of 4; a word of
        fewer than `least_letters` counts as not written there. 0 for an image without words.
    cotr_fuzzy: as cotr, and near words count too: a Levenshtein distance of 1 from 4 letters on, of 2 from 8. The
        distances are ours.

    All three are null, with the status `unreadable_script`, where most letters of the caption are of a script that the
    shipped recogniser cannot read (Hangul, Devanagari, Thai, Arabic, Cyrillic ...): whether the image spells them is
    not known. any_script: true when score.ocr has a `recognizer` of yours that reads the captions' script.

    A parrot caption is one with cotr > 0 in the paper; short words that stand anywhere ("a", "the") make many of
    those, hence `least_letters`: of 96 real figures, screenshots and drawings 28 had cotr > 0.1 with all words and 22
    with these, and of the 6 others 4 had only letters of panels and numbers in common with their caption. On web pairs
    kept back and labelled by hand, with all words, cotr > 0.2 named parrots with a precision of .82 (95 %: .59 to .94)
    and a recall of .82, cotr_fuzzy > 0.2 with .67 and .82.
    Reads `ocr_words`: score.ocr comes before it.
    """

    version: ClassVar[int] = 2
    cite: ClassVar[str] = "Lin et al., Parrot Captions Teach CLIP to Spot Text, 2023"
    batch_size: int = 1000
    least_letters: int = Field(3, ge=1)
    any_script: bool = False

    def reads(self) -> tuple[str, ...]:
        return ("text", "ocr_words")

    def makes(self) -> dict[str, pa.DataType]:
        return dict.fromkeys(("cotr_published", "cotr", "cotr_fuzzy"), pa.float32())

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        texts, words = pl.Series(rows["text"]), rows["ocr_words"].to_pylist()
        captions = [set(caption) for caption in normalised(texts).to_list()]
        spotted = normalised(pl.Series([" ".join(read) for read in words], dtype=pl.String)).to_list()
        published = [
            co_embedded_rate(set(text.split()), " ".join(read).split()) if read else None
            for text, read in zip(texts, words, strict=True)
        ]
        pairs = list(zip(captions, spotted, strict=True))
        known = np.ones(len(texts), bool) if self.any_script else readable(texts).to_numpy()
        values = {
            "cotr_published": published,
            "cotr": [co_embedded_rate(*pair, least=self.least_letters) for pair in pairs],
            "cotr_fuzzy": [co_embedded_rate(*pair, fuzzy=True, least=self.least_letters) for pair in pairs],
        }
        columns = {name: pa.array(column, pa.float32(), mask=~known) for name, column in values.items()}
        return columns | {"status": np.where(known, "ok", "unreadable_script").tolist()}
