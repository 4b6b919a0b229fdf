"""Image and caption embeddings of an open_clip model, and their cosine as curation uses it (no prefix, no factor)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import PrivateAttr

from curate.encoder.model import EMBEDDED, Encoder, check_model, column_name, model_weights
from curate.op import Rows, Score


class Clip(Score):
    """Columns `<name>` (cosine, float32), `<name>_img` and `<name>_txt` (unit vectors, float16).

    model: `ViT-L-14/openai` or any other open_clip architecture/tag, `hf-hub:...`, `local-dir:FOLDER`,
        `architecture//path/to/checkpoint`; by default the embedded lite0-minilm, which is not CLIP and whose cosines
        have another scale. `<name>` is clip_l14 for ViT-L-14/openai, clip_b32 for ViT-B-32/openai, lite by default.

    The cosine is taken from float32 vectors before they are stored as float16. An empty caption has no cosine.
    """

    reads: ClassVar[tuple[str, ...]] = ("image", "text")
    cite: ClassVar[str] = "Radford et al., CLIP, 2021; Ilharco et al., OpenCLIP; cosine as in LAION and DataComp"
    model: str = EMBEDDED
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch_size: int = 64

    _encoder: Any = PrivateAttr(None)

    def table(self) -> str:
        return self.name or column_name(self.model)

    def makes(self) -> dict[str, pa.DataType]:
        vector = pa.list_(pa.float16())
        return {self.table(): pa.float32(), f"{self.table()}_img": vector, f"{self.table()}_txt": vector}

    def spec(self) -> dict[str, Any]:
        # The columns are named after the table, so its name is part of what is made.
        made = super().spec()
        return {**made, "options": {**made["options"], "name": self.table()}}

    def gpus(self) -> float:
        return 0 if self.device == "cpu" else 1

    def weights(self) -> str:
        return model_weights(self.model)

    def check(self) -> None:
        check_model(self.model)

    def setup(self) -> None:
        self._encoder = Encoder(self.model, self.device)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        captions = rows["text"].to_pylist()
        spoken = np.array([bool(c.strip()) for c in captions])
        images = self._encoder.images(rows.images)
        texts = np.zeros_like(images)
        if spoken.any():
            texts[spoken] = self._encoder.texts([c for c, s in zip(captions, spoken, strict=True) if s])
        cosine = np.einsum("nd,nd->n", images, texts, dtype=np.float32)
        return {
            self.table(): pa.array(cosine, pa.float32(), mask=~spoken),
            f"{self.table()}_img": images.astype(np.float16),
            f"{self.table()}_txt": pa.array(
                [v if s else None for v, s in zip(texts.astype(np.float16), spoken, strict=True)],
                pa.list_(pa.float16()),
            ),
            "status": np.where(spoken, "ok", "empty_text"),
        }
