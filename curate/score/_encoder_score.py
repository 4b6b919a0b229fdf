"""EncoderScore: what all scores that run an image-text model have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, field_validator
from rich.markup import escape

from curate.messages.progress import console
from curate.models.at_hand import check_model
from curate.models.encoder import Encoder
from curate.models.made_by import refuse_other_models
from curate.models.names import EMBEDDED
from curate.models.open_clip_import import PACKAGES
from curate.models.published import doubt
from curate.models.weights import model_weights
from curate.op import Score

#: CLIPScore and RefCLIPScore read every caption and reference behind it.
PREFIX = "A photo depicts "


class EncoderScore(Score):
    """A Score with an Encoder: loaded once per worker, on a GPU where there is one; its weights are in the identity."""

    #: 2: models run as published; until then those of 27 tags ran with GELU in the place of QuickGELU.
    version: ClassVar[int] = 2

    model: str = EMBEDDED
    device: Literal["auto", "cpu", "cuda"] = "auto"
    #: 0: as many as fit, found when the model is loaded.
    batch_size: int = Field(0, ge=0)

    _encoder: Any = PrivateAttr(None)

    @field_validator("batch_size")
    @classmethod
    def _some_rows(cls, batch_size: int) -> int:
        # In the place of the rule that every op has: 0 has its meaning here.
        return batch_size

    def packages(self) -> tuple[str, ...]:
        return (*super().packages(), *PACKAGES)

    def gpus(self) -> float:
        return 0 if self.device == "cpu" else 1

    def weights(self) -> str:
        return model_weights(self.model)

    def check(self) -> None:
        check_model(self.model)
        if line := doubt(self.model):
            console.print(f"[yellow]{escape(line)}")

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_other_models(self, self.model, self.weights(), made_by)

    def setup(self) -> None:
        self._encoder = Encoder.shared(self.model, self.device)

    def rows_at_a_time(self) -> int:
        return self.batch_size or int(self._encoder.batch_size)
