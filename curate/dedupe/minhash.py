"""Near-duplicate captions: MinHash finds candidates, their Jaccard similarity decides, what is linked is a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, field_validator

from curate.alike.equal_first import links_of_keys
from curate.alike.keeper import keep_columns, keepers, known_keep
from curate.alike.kept_keys import KeptKeys
from curate.alike.minhash import band_keys, optimal_bands, plain, recalling_bands, shingles, signatures, similar_sets
from curate.library.names import in_sql
from curate.op import Linked, Links, Rows

#: Distinct captions of one key that are compared all with all; more are compared in runs of so many, in order of the
#: alphabet. It only meets templates by the thousand, which also go over `cap`.
COMPARED = 4096
#: Code points of a shingle, and words.
USUAL = {"char": 5, "word": 2}


class MinHash(KeptKeys, Linked):
    """`<table>_of` is the uid of the row that stays where this one is in a group with it, null for rows that stay;
    `<table>_size` how many rows are in the group. Both null for a row without a caption. Table: `near_text`.

    threshold: two captions are linked when their sets of shingles have a Jaccard similarity of this or more.
    shingles: `char` are `k` characters in a row (5), a shorter caption being one; `word` one to `k` words (1 and 2).
        Captions are compared in NFC and lower case, with blanks collapsed; `word` sees letters, marks and digits only.
    digits: `apart` tells numbers apart; `same` counts every digit as 0, so that "IMG 1234" is "IMG 5678": that finds
        templates, to cap them; what it finds more is seldom the same image.
    recall: how likely a pair that is just at the threshold is found; closer ones are more so. It sets the bands: null
        takes datasketch's, which miss 60 of 100 such pairs at 0.8 and cost half as much.
    keep: `smallest_uid`, the `first` of the input, the `largest_image`, or `best:COLUMN` (highest value).
    cap: a group of more rows is cut at its weakest links; captions that are equal stay together.
    against: stores whose rows were there first, as in dedupe.exact: only rows of this store are judged, `<table>_store`
        names the store of an old row that `<table>_of` names.
    keep_keys: keep the keys of the bands, 8 bytes each (144 a row), as dedupe.exact does.

    Groups chain: A may be like B, and B like C, where A is not like C. Near captions of different images are no
    duplicate pairs: use this to balance or to weigh, and drop by it only together with an image rule.
    """

    cite: ClassVar[str] = "Broder, 1997; Lee et al., Deduplicating Training Data Makes Language Models Better, 2022"
    key_options: ClassVar[frozenset[str]] = frozenset(
        {"threshold", "num_perm", "seed", "shingles", "k", "digits", "recall", "by"}
    )
    batch_size: int = 10_000
    threshold: float = Field(0.8, gt=0, le=1)
    num_perm: int = Field(128, ge=1, le=4096)
    seed: int = Field(1, ge=0, lt=2**32)
    shingles: Literal["char", "word"] = "char"
    k: int | None = Field(None, ge=1, le=64)
    digits: Literal["apart", "same"] = "apart"
    recall: float | None = Field(0.95, gt=0, lt=1)
    by: str = "text"
    keep: str = "smallest_uid"
    cap: int = Field(10_000, ge=2)

    _known = field_validator("keep")(known_keep)

    def table(self) -> str:
        return self.name or f"near_{self.by}"

    def packages(self) -> tuple[str, ...]:
        return (*super().packages(), "datasketch")

    def makes(self) -> dict[str, pa.DataType]:
        return {f"{self.table()}_of": pa.string(), f"{self.table()}_size": pa.uint32(), **self.store_column()}

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.by, *self.carries())))

    def key_columns(self) -> tuple[str, ...]:
        return (self.by,)

    def carries(self) -> tuple[str, ...]:
        return keep_columns(self.keep)

    def compares(self) -> tuple[str, ...]:
        return (self.by,)

    def shape(self) -> tuple[int, int]:
        """(bands, values in each)."""
        if self.recall is None:
            return optimal_bands(self.num_perm, self.threshold)
        return recalling_bands(self.num_perm, self.threshold, self.recall)

    def bands(self) -> int:
        return self.shape()[0]

    def plain(self, texts: pl.Series) -> pl.Series:
        """Captions as they are compared."""
        return plain(texts, words=self.shingles == "word", digits=self.digits == "same")

    def sets(self, texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Shingle ids and bounds of captions that are plain."""
        return shingles(texts, self.k or USUAL[self.shingles], words=self.shingles == "word")

    def decision(self) -> dict[str, Any]:
        of, *_ = self.makes()
        reason = f"nearly the same {'caption' if self.by == 'text' else self.by} as another row"
        keep = [*self.not_in_old(reason), {"if": f"{in_sql(of)} IS NULL", "else": reason}]
        return {"name": "near_captions", "keep": keep}

    def keys(self, rows: Rows) -> Sequence[pa.Array]:
        ids, bounds = self.sets(self.plain(pl.Series(rows[self.by])))
        keys = band_keys(signatures(ids, bounds, num_perm=self.num_perm, seed=self.seed), *self.shape())
        empty = np.diff(bounds) == 0
        return [pa.array(np.ascontiguousarray(band), mask=empty) for band in keys.T]

    def links(self, rows: pl.DataFrame) -> Links:
        texts = self.plain(rows[self.by])
        distinct = texts.unique().sort()
        shingled = self.sets(distinct)

        def near(numbers: pl.Series, bounds: np.ndarray) -> Links:
            return similar_sets(*shingled, numbers.to_numpy().astype(np.int64), bounds, self.threshold)

        return links_of_keys(rows["key"], texts.rank("dense") - 1, near, COMPARED)

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        return keepers(rows, self.keep, *self.makes(), against=self.against)
