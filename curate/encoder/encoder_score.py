"""EncoderScore: what all scores that run an image-text model have in common."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from curate.encoder.model import EMBEDDED, Encoder, check_model, model_weights
from curate.op import Score


class EncoderScore(Score):
    """A Score with an Encoder: loaded once per worker, on a GPU where there is one; its weights are in the identity."""

    #: True where the columns are named after the table: the name is then part of what is made.
    columns_by_name: ClassVar[bool] = False

    model: str = EMBEDDED
    device: Literal["auto", "cpu", "cuda"] = "auto"
    #: 0: as many as fit, found when the model is loaded.
    batch_size: int = Field(0, ge=0)

    _encoder: Any = PrivateAttr(None)

    def spec(self) -> dict[str, Any]:
        made = super().spec()
        return {**made, "options": {**made["options"], "name": self.table()}} if self.columns_by_name else made

    def gpus(self) -> float:
        return 0 if self.device == "cpu" else 1

    def weights(self) -> str:
        return model_weights(self.model)

    def check(self) -> None:
        check_model(self.model)

    def setup(self) -> None:
        self._encoder = Encoder.shared(self.model, self.device)

    def rows_at_a_time(self) -> int:
        return self.batch_size or int(self._encoder.batch_size)
