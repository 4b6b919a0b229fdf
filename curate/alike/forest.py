"""Connected components of links between rows, cut where they grow too large; the same for any order of the links."""

from __future__ import annotations

import numpy as np


def spanning_forest(a: np.ndarray, b: np.ndarray, closeness: np.ndarray) -> np.ndarray:
    """Which links to keep (bool): a maximum spanning forest, at most one link per row.

    It joins the same rows as all links together do, at every threshold of closeness; and forests of parts of the links,
    put together, have the components of the whole.
    """
    from curate.alike import forest_kernels as kernels

    ends, count = _numbered(a, b)
    order = np.argsort(-closeness, kind="stable")
    ordered = np.zeros(len(a), bool)
    kernels.kruskal(ends[0][order], ends[1][order], np.arange(count), ordered)
    kept = np.zeros(len(a), bool)
    kept[order] = ordered
    return kept


def stars(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nodes, the smallest node of each one's component) of links; without those that are the smallest themselves.

    >>> [part.tolist() for part in stars(np.array([5, 9, 2]), np.array([9, 3, 4]))]
    [[4, 5, 9], [2, 3, 3]]
    """
    from curate.alike import forest_kernels as kernels

    ends, count = _numbered(a, b)
    nodes = np.unique(np.concatenate([a, b]))
    places = np.arange(count)
    kernels.roots(ends[0], ends[1], places)
    smallest = nodes[places]
    return nodes[nodes != smallest], smallest[nodes != smallest]


def components(
    a: np.ndarray, b: np.ndarray, closeness: np.ndarray, cap: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(nodes, label of each, each one's component before it was cut, as one of its nodes): a label is the smallest node
    in it.

    A component of more than `cap` rows falls apart at its weakest links: the threshold rises inside it, to where each
    piece has `cap` rows or fewer; links of equal closeness go together, so the pieces do not depend on any order. Rows
    that are the same (closeness 1) are never parted, however many they are.
    """
    from curate.alike import forest_kernels as kernels

    nodes = np.unique(np.concatenate([a, b]))
    order = np.argsort(-closeness, kind="stable")
    left, right = (np.searchsorted(nodes, part[order]) for part in (a, b))
    labels, whole = np.arange(len(nodes)), np.arange(len(nodes))
    kernels.cut(left, right, closeness[order], cap, labels, whole, np.ones(len(nodes), np.int64))
    return nodes, nodes[labels], nodes[whole]


def _numbered(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    nodes, ends = np.unique(np.concatenate([a, b]), return_inverse=True)
    return ends.reshape(2, -1), len(nodes)
