"""Rows near an evaluation set: by embeddings or perceptual hashes of its images, kept in a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from pydantic import Field, PrivateAttr

from curate.errors import CurateError, unknown
from curate.hamming import BITS, nearest_hash
from curate.op import Rows, Score
from curate.vectors import nearest, normalised, unit_rows


class Decontaminate(Score):
    """`near_eval` says whether the row is near an image of the evaluation set; `eval_match` which one is nearest, by
    name or by number in the file, if it is near; `eval_closeness` the cosine, or the bits between the two hashes.

    by: the column to compare: embeddings (`clip_img`) or 64-bit hashes (`phash`).
    against: .npy or .parquet of the evaluation set: embeddings of the same model, or hashes of the same kind. A .npy is
        float[n, d] or uint64[n]; a .parquet has them in the column `column` (by default that of `by`).
    names: a column of the .parquet that names its rows.
    threshold: near is a cosine of this or more. No default fits two models: DINOv2 takes .45 of SSCD, ISC .604.
    radius: near is so many bits or fewer, for hashes. COYO takes 0, that is equal ones.

    The file's content is part of the table's identity. Time grows with rows times evaluation images.
    """

    cite: ClassVar[str] = "Oquab et al., DINOv2, 2023; Byeon et al., COYO-700M, 2022"
    batch_size: int = 4096
    by: str
    against: str
    column: str = ""
    names: str = ""
    threshold: float | None = Field(None, gt=-1, le=1)
    radius: int | None = Field(None, ge=0, le=BITS)

    _set: tuple[np.ndarray, list[str]] | None = PrivateAttr(None)
    _digest: str = PrivateAttr("")

    def table(self) -> str:
        return self.name or "near_eval"

    def makes(self) -> dict[str, pa.DataType]:
        kinds = {"near_eval": pa.bool_(), "eval_match": pa.string(), "eval_closeness": pa.float32()}
        return {(name if not self.name else f"{self.name}_{name}"): kind for name, kind in kinds.items()}

    def needs(self) -> tuple[str, ...]:
        return (self.by,)

    def check(self) -> None:
        if (self.threshold is None) == (self.radius is None):
            raise CurateError("dedupe.decontaminate: give `threshold` for embeddings, or `radius` for hashes")
        if not self.against.endswith((".npy", ".parquet")):
            raise CurateError(f"dedupe.decontaminate: against is '{self.against}', expected a .npy or a .parquet file")
        self._read()

    def weights(self) -> str:
        if not self._digest:
            with self._opened() as file:
                self._digest = xxhash.xxh3_128_hexdigest(file.read())
        return self._digest

    def setup(self) -> None:
        self.check()

    def _opened(self) -> Any:
        try:
            return fsspec.open(self.against, "rb").open()
        except OSError as error:
            raise CurateError(f"dedupe.decontaminate: cannot open '{self.against}': {error}") from error

    def _read(self) -> tuple[np.ndarray, list[str]]:
        """The evaluation set: unit vectors or uint64 hashes, and a name for each."""
        if self._set is None:
            with self._opened() as file:
                self._set = self._npy(file) if self.against.endswith(".npy") else self._parquet(file)
            if not len(self._set[0]):
                raise CurateError(f"dedupe.decontaminate: '{self.against}' is empty")
        return self._set

    def _npy(self, file: Any) -> tuple[np.ndarray, list[str]]:
        values = np.load(file, allow_pickle=False)
        vectors = values.ndim == 2 and values.dtype.kind == "f"
        if vectors != (self.threshold is not None) or not (vectors or (values.ndim == 1 and values.dtype == np.uint64)):
            wanted = "float[n, d] for `threshold`" if self.radius is None else "uint64[n] for `radius`"
            raise CurateError(
                f"dedupe.decontaminate: '{self.against}' holds {values.dtype}{list(values.shape)}, expected {wanted}"
            )
        made = normalised(values.astype(np.float32), self.against) if vectors else values
        return made, [str(i) for i in range(len(values))]

    def _parquet(self, file: Any) -> tuple[np.ndarray, list[str]]:
        column, have = self.column or self.by, pq.read_schema(file).names
        for name in filter(None, (column, self.names)):
            if name not in have:
                raise unknown("column", name, have, self.against)
        file.seek(0)
        table = pq.read_table(file, columns=list(filter(None, (column, self.names))))
        table = table.filter(table[column].is_valid())
        values = table[column].combine_chunks()
        names = table[self.names].to_pylist() if self.names else range(len(table))
        made = unit_rows(values, column) if self.radius is None else self._hashes(values, column)
        return made, [str(name) for name in names]

    def _hashes(self, values: Any, column: str) -> np.ndarray:
        if values.type not in (pa.uint64(), pa.int64()):
            raise CurateError(f"dedupe.decontaminate: column '{column}' is {values.type}, expected 64-bit hashes")
        return values.to_numpy(zero_copy_only=False).astype(np.uint64)  # type: ignore[no-any-return]

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        others, names = self._read()
        if self.radius is None:
            closeness, place = nearest(unit_rows(rows[self.by], self.by, others.shape[1]), others)
            near = closeness >= self.threshold
        else:
            closeness, place = nearest_hash(self._hashes(rows[self.by], self.by), others)
            near = closeness <= self.radius
        match = [names[i] if found else None for i, found in zip(place.tolist(), near.tolist(), strict=True)]
        return dict(zip(self.makes(), (near, match, closeness.astype(np.float32)), strict=True))
