"""What a download may not store: urls, hosts and files that were removed before, or whose owners opted out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.refuse import opt_out
from curate.refuse.matching import Named
from curate.refuse.opt_out import OPTED_OUT
from curate.refuse.tombstones import read_tombstones
from curate.store.image_columns import IMAGE_FIELDS
from curate.store.removal import REMOVED
from curate.store.view import View

#: Where a part's metadata names the opt-out lists by which its rows were last looked at.
LISTS = b"curate.opt_out"


def lists_of(schema: pa.Schema) -> str:
    """The identity of the lists by which a part was last looked at; "" for none."""
    return str((schema.metadata or {}).get(LISTS, b"").decode())


@dataclass(frozen=True)
class Refusals:
    """By the status of a row that is refused, what is named; see curate.refuse."""

    named: dict[str, Named]

    @classmethod
    def of(cls, view: View, lists: str) -> Refusals:
        """lists: the file of keys of opt-out lists in the store, or empty."""
        named = {}
        if view.store.manifest().removals:
            named[REMOVED] = read_tombstones(view.store)
        if lists:
            named[OPTED_OUT] = opt_out.opened(view.store, lists)
        return cls({status: some for status, some in named.items() if some})

    def of_urls(self, urls: Sequence[str | None]) -> np.ndarray:
        """object[n]: the status of each row that is refused for its url, None for others."""
        return self._of({"url": pl.Series(urls, dtype=pl.String)}, len(urls))

    def of_file(self, url: str | None, final_url: str | None, sha256: str | None, body: bytes) -> str | None:
        """The status of a row whose file came, where the file or the url that it came from is refused."""
        digests: dict[str, list[str | None]] = {"sha256": [sha256]}
        if any("md5" in named.kinds for named in self.named.values()):
            digests["md5"] = [hashlib.md5(body, usedforsecurity=False).hexdigest()]
        if final_url and final_url != url:
            digests["url"] = [final_url]
        statuses = self._of({name: pl.Series(values, dtype=pl.String) for name, values in digests.items()}, 1)
        return None if statuses[0] is None else str(statuses[0])

    def _of(self, rows: dict[str, pl.Series], size: int) -> np.ndarray:
        statuses: np.ndarray = np.full(size, None, object)
        for status, named in self.named.items():
            refused = (named.by(rows) != None) & (statuses == None)  # noqa: E711 - of each element
            statuses[refused] = status
        return statuses

    def looked_at(self, columns: dict[str, list[Any]], urls: Sequence[str | None], inside: np.ndarray) -> np.ndarray:
        """Give refused rows that are in their status and nothing else; returns bool[n]: which are refused."""
        statuses = self.of_urls(urls)
        if any("sha256" in named.kinds for named in self.named.values()):
            by_file = self._of({"sha256": pl.Series(columns["sha256"], dtype=pl.String)}, len(urls))
            statuses = np.where(statuses == None, by_file, statuses)  # noqa: E711
        refused: np.ndarray = inside & (statuses != None)  # noqa: E711
        for row in np.flatnonzero(refused).tolist():
            refuse(columns, row, str(statuses[row]))
        return refused


def refuse(columns: dict[str, list[Any]], row: int, status: str) -> None:
    """Give a row a status, and nothing else."""
    for name in IMAGE_FIELDS:
        columns[name][row] = status if name == "status" else None
