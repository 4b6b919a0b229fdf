"""Near-duplicate images by a 64-bit perceptual hash: all pairs within a few bits, none missed, as groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from curate.errors import CurateError
from curate.hamming import BITS, covering_masks, masks_needed, near_hashes
from curate.keeper import keep_columns, keepers, known_keep
from curate.linked import Linked, Links
from curate.op import Rows

#: Keys of one row, each stored once while the op runs.
MOST_KEYS = 400


class Perceptual(Linked):
    """`<table>_of` is the uid of the row that stays where this one is in a group with it, null for rows that stay;
    `<table>_size` how many rows are in the group. Both null for a row without a hash. Table: `near_<by>`.

    by: a column of 64-bit hashes, as score.phash makes: `phash`, `dhash`, `ahash`.
    radius: two images are linked when their hashes differ in so many bits or fewer. Usual: 6 to 10 for phash, 5 to 10
        for dhash, 5 for ahash. Recall is exact; precision is the hash's own: right on photographs and figures, but it
        sees brightness and layout only, so flags, signs and recoloured icons of one shape fall together.
    keep: `smallest_uid`, the `first` of the input, the `largest_image`, or `best:COLUMN` (highest value).
    cap: a group of more rows is cut at its weakest links; images of equal hash stay together.
    pieces: how the hash is split to find pairs: `pieces` over `radius` keys per row, of 64 * (1 - radius / pieces) bits
        each. More pieces suit more rows; the result is the same. By default radius + 2.

    Groups chain: A may be near B, and B near C, where A is not near C.
    """

    how: ClassVar[frozenset[str]] = Linked.how | {"pieces"}
    cite: ClassVar[str] = "Norouzi et al., Fast Search in Hamming Space with Multi-Index Hashing, 2012"
    batch_size: int = 10_000
    by: str = "phash"
    radius: int = Field(6, ge=0, le=16)
    keep: str = "smallest_uid"
    cap: int = Field(10_000, ge=2)
    pieces: int | None = Field(None, ge=1, le=BITS)

    _known = field_validator("keep")(known_keep)

    @model_validator(mode="after")
    def _enough_pieces(self) -> Perceptual:
        if self._split() <= self.radius:
            raise ValueError(f"pieces must be more than radius {self.radius}, got {self.pieces}")
        if self.bands() > MOST_KEYS:
            raise ValueError(
                f"{self.pieces} pieces at radius {self.radius} are {self.bands():,} keys per row, at most {MOST_KEYS}"
            )
        return self

    def _split(self) -> int:
        return self.radius + 2 if self.pieces is None else self.pieces

    def table(self) -> str:
        return self.name or f"near_{self.by}"

    def makes(self) -> dict[str, pa.DataType]:
        return {f"{self.table()}_of": pa.string(), f"{self.table()}_size": pa.uint32()}

    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, *self.carries())))

    def carries(self) -> tuple[str, ...]:
        return keep_columns(self.keep)

    def compares(self) -> tuple[str, ...]:
        return (self.by,)

    def bands(self) -> int:
        return masks_needed(self.radius, self._split())

    def keys(self, rows: Rows) -> Sequence[pa.Array]:
        null = rows[self.by].is_null().to_numpy(zero_copy_only=False)
        hashes = self._hashes(rows[self.by])
        return [pa.array(hashes & mask, mask=null) for mask in covering_masks(self.radius, self._split())]

    def links(self, rows: pl.DataFrame) -> Links:
        hashes = self._hashes(rows[self.by].to_arrow())
        frame = pl.DataFrame({"key": rows["key"], "place": np.arange(len(rows)), "hash": hashes})
        # Equal hashes of a key are linked to the first of them; only one of them is compared with others.
        first = frame.with_columns(first=pl.col("place").first().over("key", "hash"))
        equal = first.filter(pl.col("place") != pl.col("first"))
        single = first.filter(pl.col("place") == pl.col("first")).filter(pl.col("key").is_duplicated())
        single = single.sort("key", "hash")
        bounds = np.append(np.flatnonzero(~single["key"].is_first_distinct().not_().to_numpy()), len(single))
        a, b, bits = near_hashes(single["hash"].to_numpy(), bounds, self.radius)
        places = single["place"].to_numpy()
        return (
            np.concatenate([equal["first"].to_numpy(), places[a]]),
            np.concatenate([equal["place"].to_numpy(), places[b]]),
            np.concatenate([np.ones(len(equal)), 1 - bits / BITS]),
        )

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        return keepers(rows, self.keep, *self.makes())

    def _hashes(self, column: pa.Array) -> np.ndarray:
        """As uint64, 0 for null; a column of int64 holds the same bits."""
        if column.type not in (pa.uint64(), pa.int64()):
            raise CurateError(
                f"dedupe.perceptual: column '{self.by}' is {column.type}, expected 64-bit hashes (uint64)"
            )
        return column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.uint64)  # type: ignore[no-any-return]
