"""Compiled loops of forest: union-find over links in falling closeness."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.arrays.compiled import compiled, inlined

#: Closeness of two rows that are the same to the rule that linked them.
SAME = 1.0


@inlined
def _root(parent: Any, node: Any) -> Any:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@inlined
def union(parent: Any, a: Any, b: Any) -> Any:
    """True where the two were apart; the smaller root stays."""
    a, b = _root(parent, a), _root(parent, b)
    if a < b:
        parent[b] = a
    else:
        parent[a] = b
    return a != b


@compiled
def kruskal(left: Any, right: Any, count: Any) -> Any:
    parent = np.arange(count)
    kept = np.zeros(len(left), np.bool_)
    for i in range(len(left)):
        kept[i] = union(parent, left[i], right[i])
    return kept


@compiled
def roots(left: Any, right: Any, count: Any) -> Any:
    """The smallest place that each is linked with, itself where that is the smallest."""
    parent = np.arange(count)
    for i in range(len(left)):
        union(parent, left[i], right[i])
    for node in range(count):
        parent[node] = _root(parent, node)
    return parent


@compiled
def cut(left: Any, right: Any, closeness: Any, count: Any, cap: Any) -> Any:
    """(root of each node's piece, root of its whole component), from links in falling closeness."""
    whole, piece = np.arange(count), np.arange(count)
    size = np.ones(count, np.int64)
    start = 0
    while start < len(left):
        stop = start
        while stop < len(left) and closeness[stop] == closeness[start]:
            a, b = _root(whole, left[stop]), _root(whole, right[stop])
            if union(whole, a, b):
                size[min(a, b)] = size[a] + size[b]
            stop += 1
        # A group that is over the cap at this level stays in the pieces that it had above it.
        for i in range(start, stop):
            if closeness[i] >= SAME or size[_root(whole, left[i])] <= cap:
                union(piece, left[i], right[i])
        start = stop
    for node in range(count):
        whole[node], piece[node] = _root(whole, node), _root(piece, node)
    return piece, whole
