"""The CLIP cosine of the caption without its numbers: what is left once they no longer move it."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from curate.arrays.vectors import read_vectors
from curate.models.names import column_name
from curate.op import Rows
from curate.score._encoder_score import EncoderScore

Mode = Literal["tokens", "digits"]

_URL = re.compile(r"(?:https?://|ftp://|\bwww\.)\S+", re.I)
_IMAGE_EXTENSION = re.compile(r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|heic|svg)\b", re.I)
_DIGIT = re.compile(r"\d")


def strip_numbers(text: str, mode: Mode = "tokens") -> str:
    """URLs and file extensions of images removed, then numbers, then punctuation and blanks around what is left.

    mode: `tokens` removes whatever holds a digit from blank to blank, `digits` the digits alone.

    >>> strip_numbers("Nike Air Max 90 2021 size 10.5"), strip_numbers("B07XYZ bag"), strip_numbers("12345")
    ('Nike Air Max size', 'bag', '')
    >>> strip_numbers("B07XYZ bag", "digits"), strip_numbers("sunset.jpg, see https://a.b/c1")
    ('BXYZ bag', 'sunset, see')
    """
    text = _IMAGE_EXTENSION.sub("", _URL.sub(" ", text))
    if mode == "digits":
        text = _DIGIT.sub("", text)
    text = " ".join(token for token in text.split() if not _DIGIT.search(token))
    start, end = 0, len(text)
    while start < end and _is_edge(text[start]):
        start += 1
    while end > start and _is_edge(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_edge(character: str) -> bool:
    return character.isspace() or character in string.punctuation or unicodedata.category(character)[0] == "P"


class ClipNoDigits(EncoderScore):
    """Columns `<clip>_no_digits`, cosine of image and stripped caption, and `<clip>_no_digits_delta`, what it lost.

    `<clip>` is the column of score.clip for the same model, which comes before this op: image vectors are taken from
    there. A caption that stripping leaves as it is keeps its cosine and is not encoded (one that only loses its full
    stop is changed, too); one of which nothing is left has no value and the status `empty_text`.

    mode: `tokens` or `digits`, see `strip_numbers`. Which of them was published is not known to us, nor are the exact
        patterns: the rule is ours, after the abstract.

    Only the score changes, never the caption that is written out.
    """

    columns_by_name: ClassVar[bool] = True
    cite: ClassVar[str] = "Devil in the Number: Towards Robust Multi-modality Data Filter, 2023; the rule is ours"
    mode: Mode = "tokens"

    def table(self) -> str:
        return self.name or f"{column_name(self.model)}_no_digits"

    def reads(self) -> tuple[str, ...]:
        clip = column_name(self.model)
        return ("text", clip, f"{clip}_img")

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): pa.float32(), f"{self.table()}_delta": pa.float32()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        clip = column_name(self.model)
        captions = rows["text"].to_pylist()
        stripped = [strip_numbers(caption, self.mode) for caption in captions]
        before = rows[clip].to_numpy(zero_copy_only=False).astype(np.float32)
        cosine = before.copy()
        status = np.where([not text for text in stripped], "empty_text", "ok").astype(object)
        changed = [i for i, text in enumerate(stripped) if text and text != captions[i]]
        if changed:
            texts = self._encoder.texts([stripped[i] for i in changed])
            images = read_vectors(rows[f"{clip}_img"].take(pa.array(changed)), f"{clip}_img", texts.shape[1])
            cosine[changed] = np.einsum("nd,nd->n", images.unit, texts)
            status[changed] = images.status
        return {
            self.table(): pa.array(cosine, mask=status != "ok"),
            f"{self.table()}_delta": pa.array(before - cosine, mask=status != "ok"),
            "status": status,
        }
