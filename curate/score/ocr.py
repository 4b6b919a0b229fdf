"""Words written in the image, read by OCR, with where they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field, PrivateAttr

from curate.decoded import Decoded
from curate.masking import text_area
from curate.ocr_engine import OcrEngine, check_ocr, flat_polygons, ocr_weights
from curate.op import Rows, Score


class Ocr(Score):
    """The columns of score.text_boxes, and `n_ocr_words`, `ocr_words`, `ocr_word_scores`, `ocr_word_boxes`.

    ocr_words: what stands between blanks in the lines read, as read, top to bottom; a word may occur twice.
    ocr_word_scores: the recogniser's confidence in the line that the word is of, 0 to 1.
    ocr_word_boxes: number of the word's polygon in `text_polygons`, from 0. It reads lines, so that all words of one
        line share a polygon.

    A line read with less than `min_word_score` gives no words and keeps its polygon: the text is there all the same.

    detector, limit_side_px, min_box_score, max_height_frac: as for score.text_boxes. recognizer: path of another .onnx
    recogniser with its characters inside; by default PP-OCRv6 small, which reads Latin letters, Chinese and Japanese.

    Licence of the default models: Apache-2.0 (PaddleOCR), as rapidocr's. The parrot-caption paper used DeepSolo.
    Runs on CPU cores: a worker's own, or those that feed a GPU while its models work.
    """

    reads: ClassVar[tuple[str, ...]] = ("image",)
    cite: ClassVar[str] = "PP-OCR (PaddleOCR) through RapidOCR; for parrot captions, Lin et al., 2023"
    detector: str = ""
    recognizer: str = ""
    limit_side_px: int = Field(512, ge=32)
    min_box_score: float = Field(0.5, ge=0, le=1)
    max_height_frac: float = Field(0.4, gt=0, le=1)
    min_word_score: float = Field(0.5, ge=0, le=1)
    batch_size: int = 64

    _engine: Any = PrivateAttr(None)

    def makes(self) -> dict[str, pa.DataType]:
        return {
            "n_text_boxes": pa.int32(),
            "text_area_frac": pa.float32(),
            "text_polygons": pa.list_(pa.float32()),
            "n_ocr_words": pa.int32(),
            "ocr_words": pa.list_(pa.string()),
            "ocr_word_scores": pa.list_(pa.float32()),
            "ocr_word_boxes": pa.list_(pa.int32()),
        }

    def weights(self) -> str:
        return ocr_weights(self.detector, self.recognizer)

    def check(self) -> None:
        check_ocr(self.detector, self.recognizer)

    def setup(self) -> None:
        self._engine = OcrEngine(
            detector=self.detector,
            recognizer=self.recognizer,
            limit_side_px=self.limit_side_px,
            min_box_score=self.min_box_score,
            max_height_frac=self.max_height_frac,
        )

    def prepare_image(self, decoded: Decoded) -> dict[str, Any]:
        polygons = self._engine.find(decoded.image)
        words = self._words(decoded.image, polygons)
        return {
            "n_text_boxes": len(polygons),
            "text_area_frac": text_area(polygons, decoded.image),
            "text_polygons": flat_polygons([polygons])[0],
            "n_ocr_words": len(words),
            "ocr_words": [word for word, _, _ in words],
            "ocr_word_scores": [score for _, score, _ in words],
            "ocr_word_boxes": [number for _, _, number in words],
        }

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {name: [found[name] for found in rows.images] for name in self.makes()}

    def _words(self, image: Image.Image, polygons: np.ndarray) -> list[tuple[str, float, int]]:
        return [
            (word, line.score, number)
            for number, line in enumerate(self._engine.read(image, polygons))
            if line.score >= self.min_word_score
            for word in line.text.split()
        ]
