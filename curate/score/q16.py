"""Q16: whether an image is inappropriate, by two learned prompts that its stored CLIP embedding is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import PrivateAttr

from curate.arrays.vectors import normalised, read_vectors
from curate.errors import CurateError
from curate.models.heads import checked, open_weights, result
from curate.op import Rows
from curate.score._head_score import HeadScore


class Q16(HeadScore):
    """Columns `q16`, true where the second prompt is nearer than the first (the first wins a tie), and `q16_margin`,
    cosine of the second minus cosine of the first: over 0 is inappropriate. (`name` takes the place of `q16`.)

    file: the two prompt vectors, 2 x d, by path or URL. They are published as a pickle (ml-research/Q16, MIT:
        `prompts.p` for ViT-L/14 and for ViT-B/16), which is refused, for it could run code; the error says how to make
        a .npy of it. In a .pt or .safetensors they are the only tensor, of any name.
    sha256: of that file; required for a URL. It, not the place, is part of the table's identity.
    by: column of image embeddings of the model that the prompts were learned with.

    Published code multiplies the cosines by 100 and takes a softmax: margin m is a probability of 1 / (1 + e^(-100 m)).
    """

    cite: ClassVar[str] = "Schramowski et al., Can Machines Help Us Answering Question 16 in Datasheets, 2022"

    _prompts: Any = PrivateAttr(None)

    def makes(self) -> dict[str, pa.DataType]:
        return {self.table(): pa.bool_(), f"{self.table()}_margin": pa.float32()}

    def setup(self) -> None:
        tensors = open_weights(self.file, self.sha256)
        if len(tensors) != 1:
            raise CurateError(f"'{self.file}' has {len(tensors)} tensors, expected one: the two prompts, 2 x d")
        ((name, prompts),) = checked(tensors, dict.fromkeys(tensors, (2, None)), self.file).items()
        if not prompts.any(axis=1).all():
            raise CurateError(f"'{self.file}': a prompt of '{name}' is all zeros")
        self._prompts = normalised(prompts, self.file)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        vectors = read_vectors(rows[self.by], self.by, self._prompts.shape[1])
        cosines = vectors.unit @ self._prompts.T
        margin = cosines[:, 1] - cosines[:, 0]
        return result(vectors, {self.table(): margin > 0, f"{self.table()}_margin": margin})
