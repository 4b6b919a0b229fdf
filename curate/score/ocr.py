"""Words written in the image, read by OCR, with where they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from curate.op import Rows
from curate.pictures.decoded import Decoded
from curate.score._ocr_score import OcrScore, box_columns, box_values


class Ocr(OcrScore):
    """The columns of score.text_boxes, and `n_ocr_words`, `ocr_words`, `ocr_word_scores`, `ocr_word_boxes`.

    ocr_words: what stands between blanks in the lines read, as read, top to bottom; a word may occur twice.
    ocr_word_scores: the recogniser's confidence in the line that the word is of, 0 to 1.
    ocr_word_boxes: number of the word's polygon in `text_polygons`, from 0. It reads lines, so that all words of one
        line share a polygon.

    The options are those of score.text_boxes. A line read with less than `min_word_score`, or in a large box with fewer
    than three letters, gives no words; with `boxes: found` it keeps its polygon. The default recogniser, PP-OCRv6
    small, reads Latin letters, Greek, Chinese and Japanese.

    Licence of the default models: Apache-2.0 (PaddleOCR), as rapidocr's. The parrot-caption paper used DeepSolo.
    """

    version: ClassVar[int] = 2
    cite: ClassVar[str] = "PP-OCR (PaddleOCR) through RapidOCR; for parrot captions, Lin et al., 2023"

    def makes(self) -> dict[str, pa.DataType]:
        words = {"n_ocr_words": pa.int32(), "ocr_words": pa.list_(pa.string())}
        return (
            box_columns() | words | {"ocr_word_scores": pa.list_(pa.float32()), "ocr_word_boxes": pa.list_(pa.int32())}
        )

    def prepare_image(self, decoded: Decoded) -> dict[str, Any]:
        spotted = self._engine.spot(decoded.image)
        words = [(word, line.score, i) for i, line in enumerate(spotted.lines) for word in line.text.split()]
        return box_values(spotted, decoded.image) | {
            "n_ocr_words": len(words),
            "ocr_words": [word for word, _, _ in words],
            "ocr_word_scores": [score for _, score, _ in words],
            "ocr_word_boxes": [number for _, _, number in words],
        }

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {name: [spotted[name] for spotted in rows.images] for name in self.makes()}
