"""negCLIPLoss: how much better an image and its caption fit each other than they fit the rest of random batches."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from curate.arrays.vectors import unit_rows
from curate.score._batched import Batched

#: Rows and columns of a tile of cosines: 8 MB of float64.
TILE = 1024


class Ncl(Batched):
    """Column `ncl`, float32, 0 or less: the cosine of image and caption, less what a training step would hold against
    it, R = (T / 2) * (ln sum_j exp(f_i g_j / T) + ln sum_j exp(f_j g_i / T)) over the rows j of its batch, itself
    among them; the mean over `partitions` random batches. A caption that fits every image loses by it.

    Published: the best 30 % of a pool, exactly int(0.3 N), and NormSim (score.normsim) after it.

    by, texts: columns of image and caption embeddings of one model; `texts` is by default that of `by` with `_txt` for
        `_img`.
    temperature: of the model's training: 0.01 for OpenAI's ViT-B/32 and L/14; published with 0.07 for another.
    batch: rows of a batch. A smaller one gives larger values, so compare values of one table only.
    partitions: published 10; 5 are enough.

    Cosines are of float32, exponents and sums of float64: a value is right to some 1e-7. Takes partitions * batch *
    dimensions multiplications a row. While it works, the disk holds a row's two vectors `partitions` times. A row alone
    in its batch has no value.
    """

    cite: ClassVar[str] = "Wang et al., CLIPLoss and norm-based data selection methods, 2024 (negCLIPLoss)"
    columns_by_name: ClassVar[bool] = True
    texts: str = ""
    temperature: float = Field(0.01, ge=0.003, le=10)
    batch: int = Field(32_768, ge=2)
    partitions: int = Field(10, ge=1, le=100)

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): pa.float32()}

    def spec(self) -> dict[str, Any]:
        spec = super().spec()
        spec["options"]["texts"] = self.vectors()[1]
        return spec

    def vectors(self) -> tuple[str, ...]:
        return self.by, self.texts or self.by.removesuffix("_img") + "_txt"

    def bands(self) -> int:
        return self.partitions

    def rows_of_batch(self) -> int:
        return self.batch

    def judged(self, rows: pl.DataFrame) -> dict[str, np.ndarray]:
        if len(rows) < 2:
            return {self.table(): np.full(len(rows), np.nan)}
        images, texts = (unit_rows(rows[name].to_arrow(), name) for name in self.vectors())
        return {self.table(): neg_clip_loss(images, texts, self.temperature)}


def neg_clip_loss(images: np.ndarray, texts: np.ndarray, temperature: float, tile: int = TILE) -> np.ndarray:
    """float64[n] of one batch. images, texts: float32[n, d] of length 1.

    >>> images, texts = np.eye(2, dtype=np.float32), np.array([[0.3, 0.2], [0.1, 0.25]], np.float32)
    >>> neg_clip_loss(images, texts, 0.1).round(6).tolist()
    [-0.022009, -0.033775]
    """
    number = len(images)
    by_image, by_text, own = np.zeros(number), np.zeros(number), np.empty(number)
    for first in range(0, number, tile):
        some = slice(first, first + tile)
        for second in range(0, number, tile):
            others = slice(second, second + tile)
            cosines = (images[some] @ texts[others].T).astype(np.float64)
            if first == second:
                own[some] = cosines.diagonal()
            # No cosine is over 1, so with 1 taken off first nothing overflows; at 0.003 nothing vanishes either.
            cosines -= 1
            cosines /= temperature
            np.exp(cosines, out=cosines)
            by_image[some] += cosines.sum(axis=1)
            by_text[others] += cosines.sum(axis=0)
    rest = temperature / 2 * (np.log(by_image) + np.log(by_text)) + 1
    # A row's own cosine is among those that are summed; only rounding can take the value over 0.
    return np.minimum(own - rest, 0)
