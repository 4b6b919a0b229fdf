"""Near-duplicate images by a perceptual hash of 64 or 256 bits: all pairs within a few bits, none missed, as groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from curate.alike.against_old import AgainstOld
from curate.alike.colours import BYTES, kinds
from curate.alike.equal_first import links_of_keys
from curate.alike.hamming import BITS, covering_masks, masks_needed, near_hashes
from curate.alike.hash_columns import hash_words, narrow_hashes
from curate.alike.keeper import in_order, keep_columns, keepers, known_keep
from curate.alike.wide_hamming import BITS as WIDE
from curate.alike.wide_hamming import FARTHEST, half_type, keys_for, near_wide, sampled_keys
from curate.library.names import in_sql
from curate.op import Linked, Links, Rows

#: Keys of one row, each stored once while the op runs.
MOST_KEYS = 400
#: The largest radius for hashes of 64 bits: random ones are 32 bits apart, and lie within 16 of some by the thousand.
FARTHEST_NARROW = 16
#: Radius where none is given.
USUAL = {"phash": 4, "dhash": 4, "ahash": 5, "pdq": 31}


class Perceptual(AgainstOld, Linked):
    """`<table>_of` is the uid of the row that stays where this one is in a group with it, null for rows that stay;
    `<table>_size` how many rows are in the group, or of one colour in it. Both null for a row without a hash.
    Table: `near_<by>`.

    by: a column of hashes: `pdq` of score.pdq, or `phash`, `dhash`, `ahash` of score.phash.
    bits: 256 or 64; by default 256 for `pdq` and 64 for any other.
    radius: two images are linked when their hashes differ in so many bits or fewer. Recall is exact; precision is the
        hash's own.
    colours: the column of colours that the hash's op makes beside it, `<by>_colours`, or null to look at none. A row
        goes only with a row that stays if no channel of any of 4 x 4 cells differs by more than `apart`, of 255.
        Without it, recoloured icons and other flags of one layout are duplicates; with it, grey copies are none.
    keep: `smallest_uid`, the `first` of the input, the `largest_image`, or `best:COLUMN` (highest value).
    cap: a group of more rows is cut at its weakest links; images of equal hash stay together.
    against: stores whose rows were there first, as in dedupe.exact: only rows of this store are judged, `<table>_store`
        names the store of an old row that `<table>_of` names.
    pieces: how 64 bits are split to find pairs: `pieces` over `radius` keys per row, of 64 * (1 - radius / pieces) bits
        each. More pieces suit more rows; the result is the same. By default radius + 2. 256 bits make 32 keys of 8.
    recall: of hashes of 256 bits only: how likely a pair that is just at the radius is found; closer ones are more so.
        null finds all, and compares each row with a share of all others: past some 10^8 rows give 0.95, which is 77
        keys at radius 31. What is missed is not said anywhere.
    key_bits: bits of each of those keys; rows in 2^key_bits times keys are compared by chance, and each bit more takes
        more keys.

    Looked at on 3,500 real clip-arts, figures, icons and screenshots, groups of different pixels: pdq made 16 (7 one
    picture, 9 variants of one, none wrong), phash 16 (6, 10, none), dhash 32 (7, 22, 3: road signs of one frame); with
    `colours: null` 58, 62 and 97. Nearly flat pictures, which score.phash gives no hash, made most wrong ones. Found
    of copies at half size 84 %, 99 % and 100 %, as JPEG of quality 50 96 %, 97 % and 100 %, with 5 % cut off 6 %, 29 %
    and 39 %: no hash of these is for crops.

    Groups chain: A may be near B, and B near C, where A is not near C.
    """

    how: ClassVar[frozenset[str]] = Linked.how | {"pieces"}
    cite: ClassVar[str] = "Norouzi et al., Fast Search in Hamming Space with Multi-Index Hashing, 2012"
    batch_size: int = 10_000
    by: str = "phash"
    bits: Literal[64, 256]
    radius: int = Field(ge=0, le=FARTHEST)
    colours: str | None = None
    apart: int = Field(32, ge=0, le=255)
    keep: str = "smallest_uid"
    cap: int = Field(10_000, ge=2)
    pieces: int | None = Field(None, ge=1, le=BITS)
    recall: float | None = Field(None, gt=0, lt=1)
    key_bits: int = Field(24, ge=8, le=64)

    _known = field_validator("keep")(known_keep)

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, options: Any) -> Any:
        """What goes with the column, where it is not given."""
        by = options.get("by", "phash")
        usual = {"bits": WIDE if by == "pdq" else BITS, "radius": USUAL.get(by, USUAL["phash"])}
        return usual | ({"colours": f"{by}_colours"} if by in USUAL else {}) | options

    @model_validator(mode="after")
    def _enough_pieces(self) -> Perceptual:
        if self.bits == WIDE:
            if self.pieces is not None:
                raise ValueError("pieces go with hashes of 64 bits")
            if self.bands() > MOST_KEYS:
                raise ValueError(
                    f"recall {self.recall} at radius {self.radius} takes {self.bands():,} keys of {self.key_bits} bits "
                    f"per row, at most {MOST_KEYS}: give a smaller recall or fewer key_bits"
                )
            return self
        if self.recall is not None:
            raise ValueError("recall goes with hashes of 256 bits: with 64, none is missed")
        if self.radius > FARTHEST_NARROW:
            raise ValueError(f"radius must be {FARTHEST_NARROW} or less for hashes of {BITS} bits, got {self.radius}")
        if self._split() <= self.radius:
            raise ValueError(f"pieces must be more than radius {self.radius}, got {self.pieces}")
        if self.bands() > MOST_KEYS:
            raise ValueError(
                f"{self.pieces} pieces at radius {self.radius} are {self.bands():,} keys per row, at most {MOST_KEYS}"
            )
        return self

    def _split(self) -> int:
        return self.radius + 2 if self.pieces is None else self.pieces

    def spec(self) -> dict[str, Any]:
        spec = super().spec()
        if self.recall is None:  # tables that were made before there was a choice stay what they are
            spec["options"] = {name: v for name, v in spec["options"].items() if name not in ("recall", "key_bits")}
        return spec

    def table(self) -> str:
        return self.name or f"near_{self.by}"

    def makes(self) -> dict[str, pa.DataType]:
        return {f"{self.table()}_of": pa.string(), f"{self.table()}_size": pa.uint32(), **self.store_column()}

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, *self.carries())))

    def decision(self) -> dict[str, Any]:
        of, *_ = self.makes()
        reason = "looks the same as another image"
        keep = [*self.not_in_old(reason), {"if": f"{in_sql(of)} IS NULL", "else": reason}]
        return {"name": "near_duplicates", "keep": keep}

    def carries(self) -> tuple[str, ...]:
        return (*keep_columns(self.keep), *([self.colours] if self.colours else []))

    def compares(self) -> tuple[str, ...]:
        return (self.by,)

    def bands(self) -> int:
        if self.recall is not None:
            return keys_for(self.recall, self.radius, self.key_bits)
        if self.bits == WIDE:
            return WIDE // int(8 * half_type(self.radius)().itemsize)
        return masks_needed(self.radius, self._split())

    def keys(self, rows: Rows) -> Sequence[pa.Array]:
        column = rows[self.by]
        null = column.is_null().to_numpy(zero_copy_only=False)
        if self.colours:
            null |= rows[self.colours].is_null().to_numpy(zero_copy_only=False)
        if self.recall is not None:
            sampled = sampled_keys(hash_words(column, self.by), self.bands(), self.key_bits)
            return [pa.array(np.ascontiguousarray(key), mask=null) for key in sampled.T]
        if self.bits == WIDE:
            halves = hash_words(column, self.by).view(half_type(self.radius))
            return [pa.array(half.astype(np.uint64), mask=null) for half in halves.T]
        hashes = narrow_hashes(column, self.by)
        return [pa.array(hashes & mask, mask=null) for mask in covering_masks(self.radius, self._split())]

    def links(self, rows: pl.DataFrame) -> Links:
        return links_of_keys(rows["key"], rows[self.by], self._near)

    def _near(self, hashes: pl.Series, bounds: np.ndarray) -> Links:
        column = hashes.to_arrow()
        if self.bits == WIDE:
            a, b, bits = near_wide(hash_words(column, self.by), bounds, self.radius, all_pairs=self.recall is not None)
        else:
            a, b, bits = near_hashes(narrow_hashes(column, self.by), bounds, self.radius)
        return a, b, 1 - bits / self.bits

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        if self.colours and len(rows):
            rows = in_order(rows, self.keep)
            bounds = np.append(np.flatnonzero(rows["key"].is_first_distinct().to_numpy()), len(rows))
            cells = hash_words(rows[self.colours].to_arrow(), self.colours, BYTES).view(np.uint8)
            rows = rows.with_columns(key=pl.Series(kinds(cells, bounds, self.apart)))
        return keepers(rows, self.keep, *self.makes(), against=self.against)
