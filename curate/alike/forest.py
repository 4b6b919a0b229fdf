"""Connected components of links between rows, cut where they grow too large; the same for any order of the links."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.arrays.compiled import compiled, inlined

#: Closeness of two rows that are the same to the rule that linked them.
SAME = 1.0


def spanning_forest(a: np.ndarray, b: np.ndarray, closeness: np.ndarray) -> np.ndarray:
    """Which links to keep (bool): a maximum spanning forest, at most one link per row.

    It joins the same rows as all links together do, at every threshold of closeness; and forests of parts of the links,
    put together, have the components of the whole.
    """
    ends, count = _numbered(a, b)
    order = np.argsort(-closeness, kind="stable")
    kept = np.zeros(len(a), bool)
    kept[order] = _kruskal(ends[0][order], ends[1][order], count)
    return kept


def components(
    a: np.ndarray, b: np.ndarray, closeness: np.ndarray, cap: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(nodes, label of each, size of each one's component before it was cut): a label is the smallest node in it.

    A component of more than `cap` rows falls apart at its weakest links: the threshold rises inside it, to where each
    piece has `cap` rows or fewer; links of equal closeness go together, so the pieces do not depend on any order. Rows
    that are the same (closeness 1) are never parted, however many they are.
    """
    nodes = np.unique(np.concatenate([a, b]))
    order = np.argsort(-closeness, kind="stable")
    left, right = (np.searchsorted(nodes, part[order]) for part in (a, b))
    labels, whole = _cut(left, right, closeness[order], len(nodes), cap)
    return nodes, nodes[labels], np.bincount(whole, minlength=len(nodes))[whole]


def _numbered(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    nodes, ends = np.unique(np.concatenate([a, b]), return_inverse=True)
    return ends.reshape(2, -1), len(nodes)


@inlined
def _find(parent: Any, node: Any) -> Any:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@inlined
def union(parent: Any, a: Any, b: Any) -> Any:
    """True where the two were apart; the smaller root stays."""
    a, b = _find(parent, a), _find(parent, b)
    if a < b:
        parent[b] = a
    else:
        parent[a] = b
    return a != b


@compiled
def _kruskal(left: Any, right: Any, count: Any) -> Any:
    parent = np.arange(count)
    kept = np.zeros(len(left), np.bool_)
    for i in range(len(left)):
        kept[i] = union(parent, left[i], right[i])
    return kept


@compiled
def _cut(left: Any, right: Any, closeness: Any, count: Any, cap: Any) -> Any:
    """(root of each node's piece, root of its whole component), from links in falling closeness."""
    whole, piece = np.arange(count), np.arange(count)
    size = np.ones(count, np.int64)
    start = 0
    while start < len(left):
        stop = start
        while stop < len(left) and closeness[stop] == closeness[start]:
            a, b = _find(whole, left[stop]), _find(whole, right[stop])
            if union(whole, a, b):
                size[min(a, b)] = size[a] + size[b]
            stop += 1
        # A group that is over the cap at this level stays in the pieces that it had above it.
        for i in range(start, stop):
            if closeness[i] >= SAME or size[_find(whole, left[i])] <= cap:
                union(piece, left[i], right[i])
        start = stop
    for node in range(count):
        whole[node], piece[node] = _find(whole, node), _find(piece, node)
    return piece, whole
