"""Tells whether a new picture looks like an earlier one, so that a pool holds no near copies that nobody planted."""

from __future__ import annotations

import numpy as np
from PIL import Image

# 64-bit perceptual hashes of equal pictures differ in 0 to 8 bits; pictures further apart pass for different ones.
_ALIKE_BITS = 8
_SIDE = 32
_WAVES = np.cos(np.pi / _SIDE * (np.arange(_SIDE)[None, :] + 0.5) * np.arange(8)[:, None])


class Lookalikes:
    """Remembers the pictures it was shown: the low frequencies of their brightness, as perceptual hashes see them."""

    def __init__(self) -> None:
        self._seen: list[int] = []

    def accepts(self, image: Image.Image) -> bool:
        """Whether the picture is unlike all accepted before; if so, it is remembered."""
        grey = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
        low = (_WAVES @ grey @ _WAVES.T).ravel()
        bits = int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")
        if any((bits ^ other).bit_count() <= _ALIKE_BITS for other in self._seen):
            return False
        self._seen.append(bits)
        return True
