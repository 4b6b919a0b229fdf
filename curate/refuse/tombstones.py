"""Tombstones of a store: keys of all that was removed from it, so that it does not come back. They hold no content.

    removed/00001.parquet   a row for each key of the first removal: kind, key, rule, when

Of each removed row there is the key of its uid, and of each rule what it names: a url, a host, a file's sha256.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from curate.refuse.key_set import KeySet
from curate.refuse.keys import KEY_BYTES
from curate.refuse.matching import Named
from curate.store.removal import REMOVED, tombstones_name
from curate.store.store import Store

_SCHEMA = pa.schema(
    [("kind", pa.string()), ("key", pa.binary(KEY_BYTES)), ("rule", pa.string()), ("when", pa.string())]
)


class Tombstone(NamedTuple):
    """kind: of `curate.refuse.keys`. rule: the option that named it. key: uint64[2]."""

    kind: str
    rule: str
    key: np.ndarray


def write_tombstones(store: Store, version: int, when: str, stones: Sequence[Tombstone]) -> None:
    """Keep the keys of a removal."""
    keys = np.array([stone.key for stone in stones], "<u8").reshape(-1, 2)
    binary = pa.Array.from_buffers(pa.binary(KEY_BYTES), len(keys), [None, pa.py_buffer(keys.tobytes())])
    columns = [pl.Series([getattr(s, name) for s in stones], dtype=pl.String) for name in ("kind", "rule")]
    kind, rule = (column.to_arrow().cast(pa.string()) for column in columns)
    days = pl.Series([when] * len(keys), dtype=pl.String).to_arrow().cast(pa.string())
    store.write_file(tombstones_name(version), pa.table([kind, binary, rule, days], _SCHEMA))


def read_tombstones(store: Store) -> Named:
    """All that was removed from a store, in all removals."""
    kinds: set[str] = set()
    keys = [np.empty((0, 2), np.uint64)]
    for version in sorted(store.parts(REMOVED)):
        part = store.read_file(tombstones_name(version), ["kind", "key"])
        kinds.update(pl.Series(part["kind"]).unique().to_list())
        keys += [np.frombuffer(b"".join(part["key"].to_pylist()), "<u8").reshape(-1, 2)]
    return Named(KeySet.of(np.concatenate(keys).astype(np.uint64)), frozenset(kinds))
