"""Rows of a store as nodes of a graph: their numbers, which partition works on each, and their groups once known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from curate.alike.forest import spanning_forest
from curate.arrays.string_hash import hash_pairs
from curate.store.spill import by_key, read_spilled, spill, spilled
from curate.store.store import Store


def nodes_of(shard: int, rows: np.ndarray) -> np.ndarray:
    """int64[n]: the numbers of rows among all rows of the store, which sort as (shard, row); shards of old stores
    have negative numbers."""
    return (np.int64(shard) << np.int64(32)) | rows.astype(np.int64)  # type: ignore[no-any-return]


def mixed(keys: np.ndarray, band: int) -> np.ndarray:
    """uint64[n]: one to one, other for every band, and its high bits spread rows over partitions."""
    return hash_pairs(np.full(len(keys), band, np.uint64), keys.astype(np.uint64, copy=False), 0)


def high(keys: np.ndarray) -> np.ndarray:
    return keys >> np.uint64(32)  # type: ignore[no-any-return]


def owner(nodes: np.ndarray, partitions: int) -> np.ndarray:
    """int64[n]: the partition that works on each node."""
    return by_key(high(mixed(nodes, 0)), partitions)


def forest(links: pl.DataFrame) -> pl.DataFrame:
    """Those of the links `a`, `b`, `closeness` that stay, see curate.alike.forest.spanning_forest."""
    return links.filter(spanning_forest(*(links[name].to_numpy() for name in ("a", "b", "closeness"))))


# ---- the group of every row that has a link ----


def write_labels(
    store: Store, work: str, number: int, nodes: np.ndarray, labels: np.ndarray, lasts: Sequence[int]
) -> None:
    """`labels/<number>.spill`: nodes and their groups, cut by run. lasts: the last shard of each run."""
    run = np.searchsorted(lasts, nodes >> np.int64(32))
    spill(store, f"{work}/labels", number, pl.DataFrame({"node": nodes, "label": labels}), run, len(lasts))


def read_labels(store: Store, work: str, run: int) -> pl.DataFrame:
    """`node` and `label` of the rows of a run that have a link."""
    return read_spilled(store, f"{work}/labels", len(spilled(store, f"{work}/labels")), run)


def report(nodes: np.ndarray, labels: np.ndarray, components: np.ndarray, cap: int) -> dict[str, Any]:
    """Groups by size (`4` counts those of 4 to 7 rows), and what was cut: of all that is linked with a row of the store
    that is worked on, since old rows among themselves may not have been compared.

    components: a name for each one's group before it was cut.
    """
    if (nodes < 0).any():
        with_new = np.isin(components, components[nodes >= 0])
        labels, components = labels[with_new], components[with_new]
    rows = np.unique(components, return_counts=True)[1]
    sizes = np.unique(labels, return_counts=True)[1]
    powers, counts = np.unique(np.floor(np.log2(sizes)).astype(int), return_counts=True)
    over = rows[rows > cap]
    return {
        "linked_rows": len(labels),
        "groups": len(sizes),
        "groups_by_size": {str(2 ** int(p)): int(n) for p, n in zip(powers, counts, strict=True)},
        "largest": int(rows.max(initial=0)),
        "over_cap": len(over),
        "over_cap_rows": int(over.sum()),
    }


def summed(reports: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The report of all groups, from those of some each."""
    none = np.empty(0, np.int64)
    total = report(none, none, none, 0)
    by_size: dict[str, int] = {}
    for one in reports:
        for size, groups in one["groups_by_size"].items():
            by_size[size] = by_size.get(size, 0) + groups
        total["largest"] = max(total["largest"], one["largest"])
        for name in ("linked_rows", "groups", "over_cap", "over_cap_rows"):
            total[name] += one[name]
    return total | {"groups_by_size": {size: by_size[size] for size in sorted(by_size, key=int)}}
