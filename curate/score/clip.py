"""Image and caption embeddings of an open_clip model, and their cosine as curation uses it (no prefix, no factor)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from curate.encoder.encoder_score import EncoderScore
from curate.encoder.model import Encoder, Precision, column_name
from curate.op import Rows


class Clip(EncoderScore):
    """Columns `<name>` (cosine, float32), `<name>_img` and `<name>_txt` (unit vectors, float16), `<name>_cut` (bool).

    model: `ViT-L-14/openai` or any other open_clip architecture/tag, `hf-hub:...`, `local-dir:FOLDER`,
        `architecture//path/to/checkpoint`; by default the embedded lite0-minilm, which is not CLIP and whose cosines
        have another scale. `<name>` is clip_l14 for ViT-L-14/openai, clip_b32 for ViT-B-32/openai, lite by default.

    windows: what becomes of a caption that is longer than the model's context: `cut` as the tokenizer cuts it, which
        `<name>_cut` says; `average` of the vectors of its consecutive windows (ours, after ClipMD), and nothing is cut.
    precision: auto is fp16 on CUDA and fp32 on a CPU; bf16 moves cosines ten times as far as fp16.
    compile: torch.compile the image tower, which pays over long runs.
    batch_size: on a GPU several hundred, so that the next images are prepared while it works.

    The cosine is taken from float32 vectors before they are stored as float16. An empty caption has no cosine.
    """

    reads: ClassVar[tuple[str, ...]] = ("image", "text")
    how: ClassVar[frozenset[str]] = EncoderScore.how | {"compile"}
    columns_by_name: ClassVar[bool] = True
    cite: ClassVar[str] = "Radford et al., CLIP, 2021; Ilharco et al., OpenCLIP; cosine as in LAION and DataComp"
    precision: Precision = "auto"
    windows: Literal["cut", "average"] = "cut"
    compile: bool = False

    def table(self) -> str:
        return self.name or column_name(self.model)

    def makes(self) -> dict[str, pa.DataType]:
        vector = pa.list_(pa.float16())
        vectors = {f"{self.table()}_img": vector, f"{self.table()}_txt": vector}
        return {self.table(): pa.float32(), **vectors, f"{self.table()}_cut": pa.bool_()}

    def setup(self) -> None:
        self._encoder = Encoder(self.model, self.device, precision=self.precision, compile=self.compile)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        captions = rows["text"].to_pylist()
        spoken = np.array([bool(c.strip()) for c in captions])
        images = self._encoder.images(rows.images)
        texts, cut = np.zeros_like(images), np.full(len(captions), None, object)
        if spoken.any():
            given = [c for c, s in zip(captions, spoken, strict=True) if s]
            texts[spoken], cut[spoken] = self._encoder.captions(given, self.windows)
        cosine = np.einsum("nd,nd->n", images, texts, dtype=np.float32)
        return {
            self.table(): pa.array(cosine, pa.float32(), mask=~spoken),
            f"{self.table()}_img": images.astype(np.float16),
            f"{self.table()}_txt": pa.array(
                [v if s else None for v, s in zip(texts.astype(np.float16), spoken, strict=True)],
                pa.list_(pa.float16()),
            ),
            f"{self.table()}_cut": pa.array(cut, pa.bool_()),
            "status": np.where(spoken, "ok", "empty_text"),
        }
