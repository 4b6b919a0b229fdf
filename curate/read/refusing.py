"""Rows that do not come in: what was removed from the store before, and what opt-out lists name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from curate.arrays.arrow_columns import flat
from curate.read.exact_types import cast
from curate.refuse import opt_out
from curate.refuse.matching import Named
from curate.refuse.opt_out import OPTED_OUT
from curate.refuse.tombstones import read_tombstones
from curate.store.image_columns import IMAGE, is_image_column
from curate.store.removal import REMOVED, without_rows
from curate.store.store import Store

#: What is said of them: in the remarks of the records.
SAID = {
    REMOVED: "row(s) refused: they were removed from this store before",
    OPTED_OUT: "row(s) refused: opt-out lists name them",
}


@dataclass(frozen=True)
class Refusals:
    """By the word that a refused row gets, what is named; see curate.refuse."""

    named: dict[str, Named]

    @classmethod
    def of(cls, store: Store, lists: str) -> Refusals:
        """lists: the file of keys of opt-out lists in the store, or empty."""
        named = {REMOVED: read_tombstones(store)} if store.manifest().removals else {}
        if lists:
            named[OPTED_OUT] = opt_out.opened(store, lists)
        return cls({word: some for word, some in named.items() if some})

    def applied(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        """The rows, and for each the word by which it is refused (object[n], None for others).

        A removed row loses all values. One whose owner opted out keeps those of its records, and gets no image.
        """
        words: np.ndarray = np.full(table.num_rows, None, object)
        if not self.named or not table.num_rows:
            return table, words
        known = {"url": _texts(table, "url"), "uid": _texts(table, "uid")}
        if f"{IMAGE}sha256" in table.column_names:
            known["sha256"] = _texts(table, f"{IMAGE}sha256")
        for word, named in self.named.items():
            words[(named.by(known) != None) & (words == None)] = word  # noqa: E711 - of each element
        table = without_rows(table, words == REMOVED, {f"{IMAGE}status": REMOVED})
        pictures = [name for name in table.column_names if is_image_column(name)]
        bare = without_rows(table.select(pictures), words == OPTED_OUT, {f"{IMAGE}status": OPTED_OUT})
        for name in pictures:
            table = table.set_column(table.column_names.index(name), name, bare[name])
        return table, words


def _texts(table: pa.Table, name: str) -> pl.Series:
    texts: pl.Series = pl.Series(cast(flat(table[name]), pa.large_string()))
    return texts
