"""The compiled loop of draws: a hash of seed, entry and uid against the probability of the entry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curate.arrays.compiled import compiled, read, written
from curate.arrays.string_hash_kernels import GOLDEN, finish


@compiled(
    read("uint32"), read("int64"), read("boolean"), read("uint64"), read("float64"), read("uint64"), types.uint64,
    written("boolean"),
)  # fmt: skip
def draw(ids: Any, bounds: Any, valid: Any, uids: Any, probability: Any, entries: Any, seed: Any, kept: Any) -> None:
    start = finish(seed + GOLDEN)
    for row in range(len(valid)):
        if not valid[row]:
            continue
        for k in range(bounds[row], bounds[row + 1]):
            bits = finish(finish(start ^ entries[ids[k]]) + uids[row])
            if np.float64(bits >> np.uint64(11)) * 2.0**-53 < probability[ids[k]]:
                kept[row] = True
                break
