"""OcrEngine: RapidOCR's text detector and recogniser on CPU threads, for the ops that look for text in images."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from curate.errors import CurateError
from curate.file_hash import file_sha256

#: Each line of text is one quadrilateral: four corners (x, y), clockwise from the top left.
CORNERS = 8


class Line(NamedTuple):
    """What the recogniser reads in one polygon, and how sure it is (0 to 1)."""

    text: str
    score: float


class OcrEngine:
    """Finds and reads lines of text, in any thread; what it gives depends on the image alone.

    The wheel of rapidocr carries the models (PP-OCRv6 small, Apache-2.0; Latin letters, Chinese and Japanese). Its
    defaults enlarge every image; here none is, and those with a longer side than `limit_side_px` are reduced to it.

    detector, recognizer: paths of other .onnx files of the PP-OCR family.
    max_height_frac: PP-OCRv6 marks many a whole photograph as one line of text. A box higher than this share of the
        image's shorter side, and less than three times as long as high, is left out; of 86 such boxes in 390
        photographs, drawings and icons, 3 held more than a letter.

    Raises:
        CurateError: when rapidocr or onnxruntime is not installed, or a model's file is not there.
    """

    def __init__(
        self,
        *,
        detector: str = "",
        recognizer: str = "",
        limit_side_px: int,
        min_box_score: float,
        max_height_frac: float,
    ):
        check_ocr(detector, recognizer)
        importlib.import_module("cv2").setNumThreads(1)  # as for onnxruntime below: images are spread over threads
        self._options = {
            "Global.log_level": "critical",
            "Global.use_cls": False,  # asks only whether a line stands on its head
            "Global.use_rec": False,  # called below, so that lines it cannot read keep their polygon
            "Global.use_preprocess_img": False,  # it resizes before the detector resizes again
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.limit_type": "max",
            "Det.limit_side_len": limit_side_px,
            "Det.box_thresh": min_box_score,
            "Det.model_path": detector or None,
            "Rec.model_path": recognizer or None,
        }
        self._max_height_frac = max_height_frac
        self._own = threading.local()
        self._rapidocr  # noqa: B018 - a model that cannot be loaded is found here, not at the first image

    @property
    def _rapidocr(self) -> Any:
        """This thread's: a RapidOCR keeps what it was last asked, so two threads cannot share one."""
        if not hasattr(self._own, "engine"):
            self._own.engine = importlib.import_module("rapidocr").RapidOCR(params=dict(self._options))
        return self._own.engine

    def find(self, image: Image.Image) -> np.ndarray:
        """Polygons of the lines of text, float32, n x 4 x 2 (x, y), in pixels of the image; top to bottom."""
        found = self._rapidocr(image).boxes
        polygons = np.zeros((0, 4, 2), np.float32) if found is None else np.asarray(found, np.float32)
        sides = np.linalg.norm(polygons[:, [1, 3]] - polygons[:, [0]], axis=2)
        height, length = sides.min(axis=1), sides.max(axis=1)
        line: np.ndarray = polygons[(height <= self._max_height_frac * min(image.size)) | (length >= 3 * height)]
        return line

    def read(self, image: Image.Image, polygons: np.ndarray) -> list[Line]:
        """The text in each polygon; empty where the recogniser sees none."""
        if not len(polygons):
            return []
        bgr = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
        read = self._rapidocr.recognize_txt(self._rapidocr.crop_text_regions(bgr, polygons))
        return [Line(text, float(score)) for text, score in zip(read.txts, read.scores, strict=True)]


def flat_polygons(polygons: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Polygons of several images as the column `text_polygons` holds them: x, y, x, y ..., eight numbers each."""
    return [found.reshape(-1).astype(np.float32) for found in polygons]


def ocr_weights(*paths: str) -> str:
    """Identity of the models: the release of rapidocr that carries them, and the sha256 of each file given instead.

    Raises:
        CurateError: when a file is not there.
    """
    given = [f"{name}={_hash(path)}" for name, path in zip(("detector", "recognizer"), paths, strict=False) if path]
    try:
        release = importlib.metadata.version("rapidocr")
    except importlib.metadata.PackageNotFoundError:  # a filter is read where no image is: `check_ocr` is for the others
        release = "not installed"
    return ",".join([f"rapidocr@{release}", *given])


def check_ocr(*paths: str) -> None:
    """
    Raises:
        CurateError: when rapidocr or onnxruntime is not installed, or a model's file is not there.
    """
    missing = [name for name in ("rapidocr", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise CurateError(f"finding text in images needs {' and '.join(missing)}: pip install 'curate[ocr]'")
    ocr_weights(*paths)


def _hash(path: str) -> str:
    try:
        return file_sha256(path)[:12]
    except OSError as error:
        raise CurateError(f"no OCR model '{path}': {error.strerror}; expected an .onnx file of PP-OCR") from error
