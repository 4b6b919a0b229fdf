"""OcrEngine: RapidOCR's text detector and recogniser, for the ops that look for text in images."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import threading
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from curate.errors import CurateError
from curate.store.file_hash import file_sha256
from curate.text_in_images.shared_session import SharedSession

#: Which boxes count: those in which the recogniser reads something, or all that the detector finds.
Boxes = Literal["read", "found"]

#: Where the models run.
Device = Literal["cpu", "cuda"]

#: Small images are enlarged so many times at most: no letter of 3 pixels gets readable.
MOST_TIMES = 4
#: A box of more than this share of the image is large. A texture, an icon or a whole photograph is often read as one
#: sign or two, rarely as three, and hardly ever with confidence: in 46 images without text and 120 drawings and
#: icons no large box was read as three signs with 0.6 or more where none were.
LARGE, SURE, SURE_OF_TWO = 0.05, 0.8, 0.97
#: No box of more than this share of the image counts unless it is read.
MOST_UNREAD = 0.25


#: What runs a model on a GPU in onnxruntime.
CUDA = "CUDAExecutionProvider"
#: Kernels by a rule: trying them all takes seconds for each shape, and there are some hundred.
_CUDA_OPTIONS = {
    "EngineConfig.onnxruntime.use_cuda": True,
    "EngineConfig.onnxruntime.cuda_ep_cfg.cudnn_conv_algo_search": "HEURISTIC",
}


class Line(NamedTuple):
    """What the recogniser reads in one polygon, and how sure it is (0 to 1)."""

    text: str
    score: float


class Spotted(NamedTuple):
    """Lines of text in an image.

    polygons: float32, n x 4 x 2 (x, y), in pixels of the image; top to bottom. lines: what is read in each; empty where
        nothing was read or asked for. unread: how many boxes of the detector held nothing that could be read; null when
        not all were asked for.
    """

    polygons: np.ndarray
    lines: list[Line]
    unread: int | None


class OcrEngine:
    """Finds and reads lines of text, in any thread; what it gives depends on the image alone.

    The wheel of rapidocr carries the models (PP-OCRv6 small, Apache-2.0; Latin letters, Greek, Chinese and Japanese).

    detector, recognizer: paths of other .onnx files of the PP-OCR family.
    enlarge_side_px, limit_side_px: images with a shorter longer side are enlarged to it, at most four times, and larger
        ones reduced, before detection. Reading takes the image as it was enlarged.
    boxes: `read` keeps the boxes with a line read with `min_word_score` or more (see `is_read`). `found` keeps all, but
        for doubtful ones: PP-OCRv6 marks many a photograph as one line of text, so a box higher than `max_height_frac`
        of the image's shorter side, and less than three times as long as high, must be read, and so must one of more
        than a quarter of the image.
    device: `cpu`, where each thread has models of its own; or `cuda`, where all threads share them, and images of one
        shape that wait at a time are one batch.

    Raises:
        CurateError: when rapidocr or onnxruntime is not installed, a model's file is not there, or `cuda` was asked for
            and onnxruntime cannot use it.
    """

    def __init__(
        self,
        *,
        detector: str = "",
        recognizer: str = "",
        enlarge_side_px: int = 768,
        limit_side_px: int = 768,
        min_box_score: float = 0.5,
        min_word_score: float = 0.5,
        max_height_frac: float = 0.4,
        boxes: Boxes = "read",
        device: Device = "cpu",
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
        self._enlarge_side_px = enlarge_side_px
        self._min_word_score, self._max_height_frac, self._boxes = min_word_score, max_height_frac, boxes
        self._own = threading.local()
        self._shared = self._on_cuda() if device == "cuda" else None
        self._rapidocr  # noqa: B018 - a model that cannot be loaded is found here, not at the first image

    @property
    def _rapidocr(self) -> Any:
        """This thread's: a RapidOCR keeps what it was last asked, so two threads cannot share one."""
        if not hasattr(self._own, "engine"):
            engine = self._loaded()
            if self._shared:
                engine._load_det_model().session, engine._load_rec_model().session = self._shared
            self._own.engine = engine
        return self._own.engine

    def _loaded(self, **options: Any) -> Any:
        return importlib.import_module("rapidocr").RapidOCR(params=self._options | options)

    def _on_cuda(self) -> tuple[SharedSession, SharedSession]:
        """Detector and recogniser on the GPU; an error rather than a slow run on the CPU that nobody sees."""
        onnxruntime = importlib.import_module("onnxruntime")
        install = "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        if CUDA not in onnxruntime.get_available_providers():
            raise CurateError(f"device: cuda was asked for, and this onnxruntime is for CPUs only: {install}")
        engine = self._loaded(**_CUDA_OPTIONS)
        sessions = engine._load_det_model().session, engine._load_rec_model().session
        if any(CUDA not in session.session.get_providers() for session in sessions):
            raise CurateError(
                "device: cuda was asked for, and onnxruntime cannot use the GPU here: it needs the CUDA and cuDNN of "
                f"its release {onnxruntime.__version__} (onnxruntime.ai, CUDA Execution Provider)"
            )
        return SharedSession(sessions[0]), SharedSession(sessions[1])

    def spot(self, image: Image.Image, words: bool = True) -> Spotted:
        """The boxes that count, and what is read in them.

        words: False asks the recogniser only where it decides which boxes count.
        """
        large, times = enlarged(image, self._enlarge_side_px)
        boxes = self._find(large)
        doubtful = self._doubtful(boxes, large)
        asked = np.full(len(boxes), True) if words or self._boxes == "read" else doubtful
        lines = [Line("", 0.0)] * len(boxes)
        for number, line in zip(np.flatnonzero(asked), self._read(large, boxes[asked]), strict=True):
            lines[number] = line
        read = np.array([self._is_read(*pair, large) for pair in zip(lines, boxes, strict=True)], bool)
        counted = read | (~doubtful if self._boxes == "found" else False)
        spelled = [line if is_read else Line("", 0.0) for line, is_read in zip(lines, read, strict=True)]
        kept = [spelled[i] for i in np.flatnonzero(counted)]
        return Spotted((boxes[counted] / times).astype(np.float32), kept, int((~read).sum()) if asked.all() else None)

    def _find(self, image: Image.Image) -> np.ndarray:
        boxes = self._rapidocr(image).boxes
        return np.zeros((0, 4, 2), np.float32) if boxes is None else np.asarray(boxes, np.float32)

    def _doubtful(self, boxes: np.ndarray, image: Image.Image) -> np.ndarray:
        sides = np.linalg.norm(boxes[:, [1, 3]] - boxes[:, [0]], axis=2)
        height, length = sides.min(axis=1), sides.max(axis=1)
        blocks = (height > self._max_height_frac * min(image.size)) & (length < 3 * height)
        doubtful: np.ndarray = blocks | (np.ptp(boxes, axis=1).prod(axis=1) > MOST_UNREAD * image.width * image.height)
        return doubtful

    def _read(self, image: Image.Image, boxes: np.ndarray) -> list[Line]:
        """The text in each box; empty where the recogniser sees none."""
        if not len(boxes):
            return []
        bgr = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
        read = self._rapidocr.recognize_txt(self._rapidocr.crop_text_regions(bgr, boxes))
        return [Line(text, float(score)) for text, score in zip(read.txts, read.scores, strict=True)]

    def _is_read(self, line: Line, box: np.ndarray, image: Image.Image) -> bool:
        width, height = np.ptp(box, axis=0)
        return line.score >= self._min_word_score and is_read(line, width * height / (image.width * image.height))


def is_read(line: Line, share: float) -> bool:
    """Whether a line says something: it has a letter or a number, and in a box of much of the image several and sure.

    share: of the image's area, that the box's bounds take.

    >>> is_read(Line("7", 0.6), 0.01), is_read(Line("wo", 0.9), 0.6), is_read(Line("STOP", 0.9), 0.6)
    (True, False, True)
    """
    signs = sum(sign.isalnum() for sign in line.text)
    if share <= LARGE:
        return signs > 0
    return (signs > 2 and line.score >= SURE) or (signs == 2 and line.score >= SURE_OF_TWO)


def enlarged(image: Image.Image, side_px: int) -> tuple[Image.Image, float]:
    """The image with a longer side of `side_px`, but at most `MOST_TIMES` as large; and how many times as large it is.

    >>> [(large.size, times) for large, times in (enlarged(Image.new("RGB", (256, 100)), s) for s in (768, 100))]
    [((768, 300), 3.0), ((256, 100), 1.0)]
    """
    times = min(side_px / max(image.size), MOST_TIMES)
    if times <= 1:
        return image, 1.0
    size = (max(1, round(image.width * times)), max(1, round(image.height * times)))
    return image.resize(size, Image.Resampling.BICUBIC), times


def flat_polygons(polygons: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Polygons of several images as the column `text_polygons` holds them: x, y, x, y ..., eight numbers each."""
    return [polygon.reshape(-1).astype(np.float32) for polygon in polygons]


def ocr_weights(*paths: str) -> str:
    """Identity of the models: the release of rapidocr that carries them, and the sha256 of each file given instead.

    Raises:
        CurateError: when a file is not there.
    """
    files = [f"{name}={_hash(path)}" for name, path in zip(("detector", "recognizer"), paths, strict=False) if path]
    try:
        release = importlib.metadata.version("rapidocr")
    except importlib.metadata.PackageNotFoundError:  # a filter is read where no image is: `check_ocr` is for the others
        release = "not installed"
    return ",".join([f"rapidocr@{release}", *files])


def check_ocr(*paths: str) -> None:
    """
    Raises:
        CurateError: when a model's file is not there.
    """
    ocr_weights(*paths)


def _hash(path: str) -> str:
    try:
        return file_sha256(path)[:12]
    except OSError as error:
        raise CurateError(f"no OCR model '{path}': {error.strerror}; expected an .onnx file of PP-OCR") from error
