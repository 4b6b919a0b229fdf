"""Compiled loops of balance: sums over lists of matched entry ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.arrays.compiled import compiled


@compiled
def add_counts(ids: Any, bounds: Any, valid: Any, counts: Any) -> None:
    for row in range(len(valid)):
        if valid[row]:
            for k in range(bounds[row], bounds[row + 1]):
                counts[ids[k]] += np.uint64(1)


@compiled
def probabilities(ids: Any, bounds: Any, valid: Any, probability: Any) -> Any:
    result = np.zeros(len(valid), np.float64)
    for row in range(len(valid)):
        if valid[row]:
            missed = 1.0
            for k in range(bounds[row], bounds[row + 1]):
                missed *= 1.0 - probability[ids[k]]
            result[row] = 1.0 - missed
    return result


@compiled
def add_probabilities(ids: Any, bounds: Any, probabilities: Any, sums: Any) -> None:
    for row in range(len(probabilities)):
        for k in range(bounds[row], bounds[row + 1]):
            sums[ids[k]] += probabilities[row]


@compiled
def expected(ids: Any, bounds: Any, valid: Any, counts: Any, thresholds: Any) -> Any:
    sums = np.zeros(len(thresholds))
    missed = np.empty(len(thresholds))
    for row in range(len(valid)):
        if not valid[row] or bounds[row] == bounds[row + 1]:
            continue
        missed[:] = 1.0
        for k in range(bounds[row], bounds[row + 1]):
            count = counts[ids[k]]
            for j in range(len(thresholds)):
                missed[j] *= 1.0 - thresholds[j] / max(count, thresholds[j])
        for j in range(len(thresholds)):
            sums[j] += 1.0 - missed[j]
    return sums
