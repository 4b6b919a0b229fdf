"""EncoderScore: what all scores that run an image-text model have in common."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import PrivateAttr

from curate.encoder.model import EMBEDDED, Encoder, check_model, model_weights
from curate.op import Score


class EncoderScore(Score):
    """A Score with an Encoder: loaded once per worker, on a GPU where there is one; its weights are in the identity."""

    #: True where the columns are named after the table: the name is then part of what is made.
    columns_by_name: ClassVar[bool] = False

    model: str = EMBEDDED
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch_size: int = 64

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
        self._encoder = Encoder(self.model, self.device)
