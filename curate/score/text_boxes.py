"""Where text stands in the image, by a text detector: number of boxes, share of the area, polygons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from curate.op import Rows
from curate.pictures.decoded import Decoded
from curate.score._ocr_score import OcrScore, box_columns, box_values


class TextBoxes(OcrScore):
    """Columns `n_text_boxes`, `text_area_frac`, `text_polygons` and `n_unread_boxes`; 0, 0, an empty list and 0 for an
    image in which the detector finds nothing.

    text_area_frac: share of the pixels in the upright bounds of the polygons, each counted once: what masking paints.
    text_polygons: eight numbers per line of text, x and y of four corners clockwise from the top left, in pixels of
        the stored image.
    n_unread_boxes: boxes of the detector in which nothing could be read. They are no text_polygons with `boxes: read`.
        Null with `boxes: found`, where not all are tried.

    boxes: `read`, the default, keeps the boxes that the recogniser reads, so that a texture or a face is not painted
        over; text in a script that it does not read (all but Latin, Greek, Chinese, Japanese) is left out with them.
        `found` keeps all boxes, and takes half of the time.
    detector, recognizer: paths of other .onnx files of the PP-OCR family; by default those in rapidocr's wheel
        (PP-OCRv6 small).
    enlarge_side_px, limit_side_px: images with a shorter longer side are enlarged to it (four times at most), those
        with a longer one reduced, before detection.
    min_box_score: mean probability under a box from which it counts. min_word_score: confidence from which a line is
        read; in a large box (over 5 % of the image) it must be 0.8 for three letters and 0.97 for two: one letter that
        fills the image is not told from an icon.
    max_height_frac: with `boxes: found`, a box higher than this share of the image's shorter side counts only if it is
        read, or three times as long as high; a box of more than a quarter of the image only if it is read.

    device: `cpu`, the default: cores of a worker's own, or those that feed a GPU while its models work. `cuda`: both
        models run on the GPU, images of one shape in one batch; it asks for onnxruntime-gpu in the place of
        onnxruntime. The batches are tested on a CPU, the GPU is not yet.

    Looked at on 96 real figures, screenshots, clip-arts and icons reduced to 256 pixels, 43 of them with text: 40 of
    the 43 have a box (27 without enlarging), and so has 1 of the 46 without text (the detector alone marks 41); 7 hold
    single letters, or lettering too small to say. 0.34 CPU seconds an image, 0.16 with `found`.

    There is no quick first look at a smaller size: of 409 figures, drawings, photos and screenshots of at most 512
    pixels the detector sees something in 87 % at 320, so a first look would save 4 % of the time, and lose 11 of the
    179 with text (benchmarks/first_look.py).

    score.ocr makes the same columns and the words too, in the same time. Licence of the default models: Apache-2.0
    (PaddleOCR), as rapidocr's. T-MARS used FAST, the parrot-caption paper DeepSolo.
    """

    version: ClassVar[int] = 2
    cite: ClassVar[str] = "PP-OCR (PaddleOCR) through RapidOCR; for T-MARS, Maini et al., 2023"

    def makes(self) -> dict[str, pa.DataType]:
        return box_columns()

    def prepare_image(self, decoded: Decoded) -> dict[str, Any]:
        return box_values(self._engine.spot(decoded.image, words=False), decoded.image)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {name: [spotted[name] for spotted in rows.images] for name in self.makes()}
