"""Compiled loops of forest: union-find over links in falling closeness."""

from __future__ import annotations

from typing import Any

from numba import types

from curate.arrays.compiled import compiled, inlined, read, written

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


@compiled(read("int64"), read("int64"), written("int64"), written("boolean"))
def kruskal(left: Any, right: Any, parent: Any, kept: Any) -> None:
    """`parent`: each node's own place at first."""
    for i in range(len(left)):
        kept[i] = union(parent, left[i], right[i])


@compiled(read("int64"), read("int64"), written("int64"))
def roots(left: Any, right: Any, parent: Any) -> None:
    """`parent`, each node's own place at first, becomes the smallest place that each is linked with, or its own."""
    for i in range(len(left)):
        union(parent, left[i], right[i])
    for node in range(len(parent)):
        parent[node] = _root(parent, node)


@compiled(
    read("int64"), read("int64"), read("float64"), types.int64, written("int64"), written("int64"), written("int64")
)
def cut(left: Any, right: Any, closeness: Any, cap: Any, piece: Any, whole: Any, size: Any) -> None:
    """The root of each node's piece, and of its whole component, from links in falling closeness.

    `piece` and `whole` are each node's own place at first, `size` is 1.
    """
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
    for node in range(len(whole)):
        whole[node], piece[node] = _root(whole, node), _root(piece, node)
