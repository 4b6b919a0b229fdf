"""Where text stands in the image, by a text detector: number of boxes, share of the area, polygons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, PrivateAttr

from curate.decoded import Decoded
from curate.masking import text_area
from curate.ocr_engine import OcrEngine, check_ocr, flat_polygons, ocr_weights
from curate.op import Rows, Score


class TextBoxes(Score):
    """Columns `n_text_boxes`, `text_area_frac` and `text_polygons`; 0, 0 and an empty list for an image without text.

    text_area_frac: share of the pixels in the upright bounds of the polygons, each counted once: what masking paints.
    text_polygons: eight numbers per line of text, x and y of four corners clockwise from the top left, in pixels of
        the stored image.

    score.ocr makes the same columns and reads the text too, at a third of the speed.

    detector: path of another .onnx detector of the PP-OCR family; by default the one in rapidocr's wheel (PP-OCRv6
        small). limit_side_px: larger images are reduced to this longer side before detection. min_box_score: mean
        probability under a box from which it counts. max_height_frac: a box higher than this share of the image's
        shorter side counts only if it is long, too (three times its height): PP-OCRv6 takes many a photograph or icon
        for one line of text. A letter or short word that fills the image goes with those; 1 keeps them all.

    Licence of the default models: Apache-2.0 (PaddleOCR), as rapidocr's. T-MARS used FAST, the parrot-caption
    paper DeepSolo. Runs on CPU cores: a worker's own, or those that feed a GPU while its models work.
    """

    reads: ClassVar[tuple[str, ...]] = ("image",)
    cite: ClassVar[str] = "PP-OCR (PaddleOCR) through RapidOCR; for T-MARS, Maini et al., 2023"
    detector: str = ""
    limit_side_px: int = Field(512, ge=32)
    min_box_score: float = Field(0.5, ge=0, le=1)
    max_height_frac: float = Field(0.4, gt=0, le=1)
    batch_size: int = 64

    _engine: Any = PrivateAttr(None)

    def makes(self) -> dict[str, pa.DataType]:
        return {"n_text_boxes": pa.int32(), "text_area_frac": pa.float32(), "text_polygons": pa.list_(pa.float32())}

    def weights(self) -> str:
        return ocr_weights(self.detector)

    def check(self) -> None:
        check_ocr(self.detector)

    def setup(self) -> None:
        self._engine = OcrEngine(
            detector=self.detector,
            limit_side_px=self.limit_side_px,
            min_box_score=self.min_box_score,
            max_height_frac=self.max_height_frac,
        )

    def prepare_image(self, decoded: Decoded) -> tuple[int, float, np.ndarray]:
        polygons = self._engine.find(decoded.image)
        return len(polygons), text_area(polygons, decoded.image), polygons

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {
            "n_text_boxes": [number for number, _, _ in rows.images],
            "text_area_frac": [area for _, area, _ in rows.images],
            "text_polygons": flat_polygons([polygons for _, _, polygons in rows.images]),
        }
