"""The member of each group that is nearest to the mean of the group."""

from __future__ import annotations

import numpy as np

#: Cosines that differ by less are equal: those of two vectors with their mean differ by rounding alone.
EQUAL = 1e-6


def nearest_mean(unit: np.ndarray, group: np.ndarray, members: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """int64[n]: for each row the place of the row of its group with the greatest cosine to the mean of the group's
    vectors; of equals the first.

    unit: float32[n, d] of length 1. group: int64[n], for each row the first place of its group. members: int64[n],
    the places sorted by group, each group's in their order. eligible: int64[n], how many first ones of the row's group
    may be chosen.

    >>> unit = np.array([[1, 0], [0, 1], [0.6, 0.8], [0.8, 0.6]], np.float32)
    >>> group = np.array([0, 1, 0, 0])
    >>> nearest_mean(unit, group, np.argsort(group, kind="stable"), np.array([3, 1, 3, 3])).tolist()
    [3, 1, 3, 3]
    """
    chosen = np.array(group)
    starts = np.flatnonzero(np.diff(group[members], prepend=-1))
    stops = np.append(starts[1:], len(members))
    several = stops - starts > 1
    for start, stop in zip(starts[several].tolist(), stops[several].tolist(), strict=True):
        places = members[start:stop]
        rows = unit[places]
        mean = rows.sum(axis=0, dtype=np.float64)
        cosines = rows[: eligible[places[0]]] @ (mean / max(float(np.linalg.norm(mean)), 1e-30))
        chosen[places] = places[np.argmax(cosines >= cosines.max() - EQUAL)]
    return chosen
