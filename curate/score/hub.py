"""How near an image is to many unrelated captions at once: high for images made, or happening, to match everything."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, PrivateAttr

from curate.arrays.vectors import normalised, read_vectors, unit_rows
from curate.errors import CurateError, unknown
from curate.models.heads import UNREADABLE, check_file, check_source, identity, read_checked, result
from curate.models.made_by import refuse_older
from curate.op import Op, Rows, Score

FORMATS = (".npy", ".parquet")
#: A bank is read whole by every worker.
MOST_BYTES = 4 << 30


def hub(unit: np.ndarray, bank: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """(mean cosine to all of the bank, mean of the `top` greatest) of each row; all are unit vectors.

    >>> mean, greatest = hub(np.eye(2)[:1], np.array([[1, 0], [0.6, 0.8], [-1, 0]]), top=2)
    >>> mean.round(6).tolist(), greatest.round(6).tolist()
    ([0.2], [0.8])
    """
    cosines = unit @ bank.T
    greatest = np.partition(cosines, bank.shape[0] - top, axis=1)[:, bank.shape[0] - top :]
    return cosines.mean(axis=1), greatest.mean(axis=1)


class Hub(Score):
    """Columns `<by>_hub_mean`, mean cosine to a fixed bank of captions, and `<by>_hub_top`, the greatest of them.

    A CLIPMasterPrint, one image that scores high with any caption, stands out in both. There is no published threshold:
    compare with the rest of the table.

    by: column of image embeddings.
    bank: embeddings of random captions by the text tower of the same model: a .npy (n x d), or a .parquet with them in
        `column`; by path or URL.
    column: of the .parquet; by default that of `by` with `_txt` for `_img`.
    sha256: of the bank; required for a URL. It, not the place, is part of the table's identity.
    captions: so many are drawn from a larger bank, by `seed`; time grows with them.
    top: `<by>_hub_top` is the mean of so many of the greatest cosines.
    """

    columns_by_name: ClassVar[bool] = True
    cite: ClassVar[str] = "Freiberger et al., CLIPMasterPrints, 2023; the bank and the two scores are ours"
    how: ClassVar[frozenset[str]] = Op.how | {"bank", "sha256"}
    batch_size: int = 1024
    by: str = "clip_l14_img"
    bank: str
    column: str = ""
    sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    captions: int = Field(4096, ge=1)
    seed: int = Field(0, ge=0)
    top: int = Field(1, ge=1)

    _bank: Any = PrivateAttr(None)

    def table(self) -> str:
        return self.name or f"{self.by}_hub"

    def reads(self) -> tuple[str, ...]:
        return (self.by,)

    def makes(self) -> dict[str, pa.DataType]:
        return {f"{self.table()}_mean": pa.float32(), f"{self.table()}_top": pa.float32()}

    def weights(self) -> str:
        return identity(self.bank, self.sha256)

    def check(self) -> None:
        check_file(self.bank, self.sha256, self.setup, FORMATS)

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)

    def setup(self) -> None:
        suffix = check_source(self.bank, self.sha256, FORMATS)
        file = io.BytesIO(read_checked(self.bank, self.sha256, MOST_BYTES))
        try:
            values = np.load(file, allow_pickle=False) if suffix == ".npy" else self._parquet(file)
        except UNREADABLE as error:
            raise CurateError(f"'{self.bank}' is no {suffix} file of numbers: {error}") from error
        if values.ndim != 2 or values.dtype.kind != "f":
            raise CurateError(f"'{self.bank}' holds {values.dtype}{list(values.shape)}, expected float[n, d]")
        if len(values) > self.captions:
            drawn = np.random.Generator(np.random.PCG64(self.seed)).permutation(len(values))[: self.captions]
            values = values[np.sort(drawn)]
        bank = normalised(values.astype(np.float32), self.bank)
        if len(bank) < self.top or not bank.any(axis=1).all():
            raise CurateError(f"'{self.bank}' has {len(bank)} captions for a top of {self.top}, or one of all zeros")
        self._bank = bank

    def _parquet(self, file: io.BytesIO) -> np.ndarray:
        column, names = self.column or self.by.removesuffix("_img") + "_txt", pq.read_schema(file).names
        if column not in names:
            raise unknown("column", column, names, self.bank)
        file.seek(0)
        values = pq.read_table(file, columns=[column], page_checksum_verification=True)[column]
        return unit_rows(values.filter(values.is_valid()), column)

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        vectors = read_vectors(rows[self.by], self.by, self._bank.shape[1])
        mean, greatest = hub(vectors.unit, self._bank, self.top)
        return result(vectors, dict(zip(self.makes(), (mean, greatest), strict=True)))
