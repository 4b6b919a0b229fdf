"""Probability that an image carries a watermark, by the detector of LAION-5B."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import PrivateAttr

from curate.models.heads import open_weights
from curate.models.open_clip_import import PACKAGES
from curate.op import Rows
from curate.pictures.decoded import Decoded
from curate.score._head_score import FileScore


class Watermark(FileScore):
    """Column `pwatermark`, 0 to 1; LAION's aesthetic subsets keep under 0.8.

    file: the weights as published, by path or URL: `watermark_model_v1.pt` of LAION-AI/LAION-5B-WatermarkDetection, for
        whose use see the licence there.
    sha256: of that file; required for a URL. It, not the place, is part of the table's identity.

    EfficientNet-B3 on the image squashed to 256 x 256.
    """

    cite: ClassVar[str] = "Schuhmann et al., LAION-5B, 2022 (watermark detection)"
    batch_size: int = 256
    device: Literal["auto", "cpu", "cuda"] = "auto"

    _net: Any = PrivateAttr(None)

    def reads(self) -> tuple[str, ...]:
        return ("image",)

    def packages(self) -> tuple[str, ...]:
        return (*super().packages(), *PACKAGES)

    def makes(self) -> dict[str, pa.DataType]:
        return {"pwatermark": pa.float32()}

    def gpus(self) -> float:
        return 0 if self.device == "cpu" else 1

    def setup(self) -> None:
        from curate.models.watermark_net import WatermarkNet

        self._net = WatermarkNet(open_weights(self.file, self.sha256), self.file, self.device)

    def prepare_image(self, decoded: Decoded) -> Any:
        return self._net.pixels.one(decoded)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return {"pwatermark": self._net(rows.images)}
