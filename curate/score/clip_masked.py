"""The CLIP cosine once the text in the image is painted over: what the picture itself says (T-MARS)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.arrays.vectors import read_vectors
from curate.models.names import column_name
from curate.op import Rows
from curate.score._encoder_score import EncoderScore
from curate.text_in_images.masking import Fill, masked_name, polygons_of, without_text


class ClipMasked(EncoderScore):
    """Column `<clip>_masked` (`<clip>_masked_median`, `<clip>_inpainted`), float32: cosine of masked image and caption.

    `<clip>` is the column of score.clip for the same model, clip_b32 for ViT-B-32/openai; it comes before this op,
    and so does score.text_boxes or score.ocr. An image without text keeps its cosine, the others are encoded once
    more; captions are not. Against `<clip>` a masked cosine has an error of about 0.0001: the caption's vector is
    stored as float16.

    model: as score.clip's. fill: `mean`, the mean colour around each box; `median`, nearer to the ground where the ring
        crosses a line or a word; `inpaint`, Telea's inpainting, which the parrot-caption paper used and which leaves
        fewer edges. score.text_left says where words can still be read.

    T-MARS publishes no masking code: the exact fill is ours (curate.text_in_images.masking).
    """

    columns_by_name: ClassVar[bool] = True
    cite: ClassVar[str] = "Maini et al., T-MARS, 2023"
    fill: Fill = "mean"

    def table(self) -> str:
        return self.name or masked_name(column_name(self.model), self.fill)

    def reads(self) -> tuple[str, ...]:
        clip = column_name(self.model)
        return ("image", "text_polygons", clip, f"{clip}_txt")

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): pa.float32()}

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        clip = column_name(self.model)
        polygons = polygons_of(rows["text_polygons"])
        cosine = rows[clip].to_numpy(zero_copy_only=False).astype(np.float32)
        status = np.full(len(polygons), "ok", object)
        with_text = [i for i, boxes in enumerate(polygons) if len(boxes)]
        if with_text:
            pictures = [without_text(rows.images[i], polygons[i], self.fill) for i in with_text]
            masked = self._encoder.images(pictures)
            texts = read_vectors(rows[f"{clip}_txt"].take(pa.array(with_text)), f"{clip}_txt", masked.shape[1])
            cosine[with_text] = np.einsum("nd,nd->n", masked, texts.unit)
            status[with_text] = texts.status
        cosine[status != "ok"] = np.nan
        return {self.table(): cosine, "status": status}
