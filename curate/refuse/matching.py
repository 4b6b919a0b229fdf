"""Which rows a set of keys names, by their urls, hosts, files or uids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.refuse.key_set import KeySet
from curate.refuse.keys import host_keys, hosts_of, keys_of


@dataclass(frozen=True)
class Named:
    """keys: of what is named. kinds: the kinds among them; what is not among them is not looked at."""

    keys: KeySet
    kinds: frozenset[str]

    def __bool__(self) -> bool:
        return len(self.keys) > 0

    def by(self, rows: Mapping[str, pl.Series]) -> np.ndarray:
        """object[n]: for each row the kind by which it is named, None where it is not.

        rows: what is known of n rows: `url`, `uid`, `sha256`, `md5`, each with null where it is not known.
        """
        size = max(map(len, rows.values()), default=0)
        kinds: np.ndarray = np.full(size, None, object)
        for kind, texts in rows.items():
            if kind in self.kinds:
                kinds[self._of_texts(kind, texts) & (kinds == None)] = kind  # noqa: E711 - of each element
        if "host" in self.kinds and "url" in rows:
            kinds[self._of_hosts(rows["url"]) & (kinds == None)] = "host"  # noqa: E711
        return kinds

    def hosts(self, hosts: pl.Series) -> np.ndarray:
        """bool[n]: the hosts that are named, or of which a host above is; null is not."""
        distinct = hosts.drop_nulls().unique()
        named = [host for host in distinct.to_list() if self.keys.holds(host_keys(host)).any()]
        inside: np.ndarray = hosts.is_in(named).fill_null(False).to_numpy()
        return inside

    def _of_texts(self, kind: str, texts: pl.Series) -> np.ndarray:
        inside = np.zeros(len(texts), bool)
        known = texts.is_not_null().to_numpy()
        inside[known] = self.keys.holds(keys_of(kind, texts.drop_nulls().cast(pl.String)))
        return inside

    def _of_hosts(self, urls: pl.Series) -> np.ndarray:
        return self.hosts(hosts_of(urls.cast(pl.String)))
