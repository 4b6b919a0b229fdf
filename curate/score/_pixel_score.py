"""PixelScore: what ops have in common that look at an image's pixels with compiled loops."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from curate.op import Score
from curate.pictures.decoded import Decoded


class PixelScore(Score):
    """An op whose `prepare_image` does the work, in threads."""

    def reads(self) -> tuple[str, ...]:
        return ("image",)

    def packages(self) -> tuple[str, ...]:
        return (*super().packages(), "numba")

    def setup(self) -> None:
        self.prepare_image(Decoded.halves())  # compiled now, and not within the first batch

    @abstractmethod
    def prepare_image(self, decoded: Decoded) -> Any:
        """What the op says of one image."""
