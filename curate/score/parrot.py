"""How much of the CLIP cosine comes from text in the image: all of it, and the words that the caption repeats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from PIL import Image
from pydantic import Field

from curate.arrays.vectors import read_vectors
from curate.models.names import column_name
from curate.op import Rows
from curate.score._encoder_score import EncoderScore
from curate.text_in_images.masking import Fill, masked_name, polygons_of, without_text
from curate.text_in_images.spotted_words import normalised, readable, says_something


class Parrot(EncoderScore):
    """Columns `rsa` and `rsc`, differences of cosines of `model`; 0 for an image without text.

    rsa: `<clip>` minus the cosine once all text is removed (score.clip_masked's column). High: the score was for the
        text.
    rsc: `<clip>` minus the cosine once only the co-embedded text is removed, the lines that hold a word of the
        caption; words are compared as by score.cotr, and a word of fewer than `least_letters` is none. 0 where there
        is no such line, rsa where that is all the text; only the other images are encoded. OCR reads lines, so other
        words of such a line go with it. Null, with the status `unreadable_script`, for a caption in a script that the
        shipped recogniser cannot read (see score.cotr), unless `any_script`.

    score.ocr, score.clip and score.clip_masked, with the same model and fill, come before it.

    Painting over costs an encoder some cosine even if it cannot read: `curate probe-text` says whether it can (the
    embedded one cannot), and only then do rsa and rsc say that it did.

    fill: how text is removed, `mean`, `median` or `inpaint`. The paper inpaints (Telea); `mean` shares T-MARS's column.
    """

    cite: ClassVar[str] = "Lin et al., Parrot Captions Teach CLIP to Spot Text, 2023 (relative scores RSA, RSC)"
    version: ClassVar[int] = 2
    fill: Fill = "mean"
    least_letters: int = Field(3, ge=1)
    any_script: bool = False

    def reads(self) -> tuple[str, ...]:
        clip = column_name(self.model)
        read = ("image", "text", "text_polygons", "ocr_words", "ocr_word_boxes")
        return (*read, clip, f"{clip}_txt", masked_name(clip, self.fill))

    def makes(self) -> dict[str, pa.DataType]:
        return {"rsa": pa.float32(), "rsc": pa.float32()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        clip = column_name(self.model)
        cosine, masked = (rows[c].to_numpy(zero_copy_only=False) for c in (clip, masked_name(clip, self.fill)))
        polygons = polygons_of(rows["text_polygons"])
        rsa = cosine - masked
        rsc, status = np.zeros_like(rsa), np.full(len(rsa), "ok", object)
        pictures: dict[int, Image.Image] = {}
        for i, numbers in enumerate(_co_embedded(rows, self.least_letters)):
            if len(numbers) == len(polygons[i]):
                rsc[i] = rsa[i]
            elif numbers:
                pictures[i] = without_text(rows.images[i], polygons[i][numbers], self.fill)
        if pictures:
            encoded, images = list(pictures), self._encoder.images(list(pictures.values()))
            texts = read_vectors(rows[f"{clip}_txt"].take(pa.array(encoded)), f"{clip}_txt", images.shape[1])
            rsc[encoded] = cosine[encoded] - np.einsum("nd,nd->n", images, texts.unit)
            status[encoded] = texts.status
        if not self.any_script:
            status[~readable(pl.Series(rows["text"])).to_numpy()] = "unreadable_script"
        return {"rsa": rsa, "rsc": pa.array(rsc, pa.float32(), mask=status != "ok"), "status": status}


def _co_embedded(rows: Rows, least_letters: int) -> list[list[int]]:
    """For each row the numbers of its polygons that hold a word of the caption."""
    captions = normalised(pl.Series(rows["text"])).to_list()
    numbers = []
    for caption, words, boxes in zip(
        captions, rows["ocr_words"].to_pylist(), rows["ocr_word_boxes"].to_pylist(), strict=True
    ):
        own = {word for word in caption if says_something(word, least_letters)}
        spotted = normalised(pl.Series(words, dtype=pl.String)).to_list()
        numbers.append(sorted({box for box, word in zip(boxes, spotted, strict=True) if own & set(word)}))
    return numbers
