"""Compiled loops of balance: sums over lists of matched entry ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.arrays.compiled import compiled, read, written


@compiled(read("uint32"), read("int64"), read("boolean"), written("uint64"))
def add_counts(ids: Any, bounds: Any, valid: Any, counts: Any) -> None:
    for row in range(len(valid)):
        if valid[row]:
            for k in range(bounds[row], bounds[row + 1]):
                counts[ids[k]] += np.uint64(1)


@compiled(read("uint32"), read("int64"), read("boolean"), read("float64"), written("float64"))
def probabilities(ids: Any, bounds: Any, valid: Any, probability: Any, result: Any) -> None:
    for row in range(len(valid)):
        if valid[row]:
            missed = 1.0
            for k in range(bounds[row], bounds[row + 1]):
                missed *= 1.0 - probability[ids[k]]
            result[row] = 1.0 - missed


@compiled(read("uint32"), read("int64"), read("float64"), written("float64"))
def add_probabilities(ids: Any, bounds: Any, probabilities: Any, sums: Any) -> None:
    for row in range(len(probabilities)):
        for k in range(bounds[row], bounds[row + 1]):
            sums[ids[k]] += probabilities[row]


@compiled(
    read("uint32"),
    read("int64"),
    read("boolean"),
    read("float64"),
    read("float64"),
    written("float64"),
    written("float64"),
)
def expected(ids: Any, bounds: Any, valid: Any, counts: Any, thresholds: Any, missed: Any, sums: Any) -> None:
    """Adds to `sums`; `missed` is as long, to work in."""
    for row in range(len(valid)):
        if not valid[row] or bounds[row] == bounds[row + 1]:
            continue
        for j in range(len(missed)):
            missed[j] = 1.0
        for k in range(bounds[row], bounds[row + 1]):
            count = counts[ids[k]]
            for j in range(len(thresholds)):
                missed[j] *= 1.0 - thresholds[j] / max(count, thresholds[j])
        for j in range(len(thresholds)):
            sums[j] += 1.0 - missed[j]
