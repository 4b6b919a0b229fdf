"""OcrScore: what ops that look for text in images have in common, the engine and its options."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from PIL import Image
from pydantic import Field, PrivateAttr

from curate.op import Score
from curate.text_in_images.masking import text_area
from curate.text_in_images.ocr_engine import Boxes, Device, OcrEngine, Spotted, check_ocr, flat_polygons, ocr_weights


class OcrScore(Score):
    """An op with an OcrEngine; the options are its arguments."""

    detector: str = ""
    recognizer: str = ""
    enlarge_side_px: int = Field(768, ge=0)
    limit_side_px: int = Field(768, ge=32)
    min_box_score: float = Field(0.5, ge=0, le=1)
    min_word_score: float = Field(0.5, ge=0, le=1)
    max_height_frac: float = Field(0.4, gt=0, le=1)
    boxes: Boxes = "read"
    #: Not `auto`: an onnxruntime for CPUs, which most have, would hold a GPU and leave it idle.
    device: Device = "cpu"
    batch_size: int = 64

    _engine: Any = PrivateAttr(None)

    def reads(self) -> tuple[str, ...]:
        return ("image",)

    def packages(self) -> tuple[str, ...]:
        return (*super().packages(), "rapidocr", "onnxruntime")

    def gpus(self) -> float:
        return 1 if self.device == "cuda" else 0

    def weights(self) -> str:
        return ocr_weights(self.detector, self.recognizer)

    def check(self) -> None:
        check_ocr(self.detector, self.recognizer)

    def setup(self) -> None:
        self._engine = OcrEngine(
            detector=self.detector,
            recognizer=self.recognizer,
            enlarge_side_px=self.enlarge_side_px,
            limit_side_px=self.limit_side_px,
            min_box_score=self.min_box_score,
            min_word_score=self.min_word_score,
            max_height_frac=self.max_height_frac,
            boxes=self.boxes,
            device=self.device,
        )


def box_columns() -> dict[str, pa.DataType]:
    """Columns that say where text is."""
    counts = {"n_text_boxes": pa.int32(), "n_unread_boxes": pa.int32()}
    return counts | {"text_area_frac": pa.float32(), "text_polygons": pa.list_(pa.float32())}


def box_values(spotted: Spotted, image: Image.Image) -> dict[str, Any]:
    """Their values for one image."""
    return {
        "n_text_boxes": len(spotted.polygons),
        "n_unread_boxes": spotted.unread,
        "text_area_frac": text_area(spotted.polygons, image),
        "text_polygons": flat_polygons([spotted.polygons])[0],
    }
