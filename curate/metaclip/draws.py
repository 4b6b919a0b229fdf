"""The seeded draw of MetaCLIP balancing: which captions stay, the same on every machine and in every order.

The draw of an entry for a caption is a hash of (seed, the entry's string, the caption's uid), not the next number of a
generator. So it does not depend on row order, partitions or retries; it is nested in t (a higher t only adds captions);
and a longer entry list leaves the draws of the old entries as they were.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curate.arrays.string_hash import hash_strings
from curate.errors import CurateError
from curate.metaclip.balance import entry_probability, id_lists


def draw(
    matched: pa.ListArray | pa.ChunkedArray,
    uids: pa.Array | pa.ChunkedArray,
    counts: np.ndarray,
    t: float,
    *,
    entry_hashes: np.ndarray,
    seed: int,
) -> pa.BooleanArray:
    """True where a matched entry e has u(seed, e, uid) < t / max(count[e], t); null where `matched` is null.

    u is uniform on [0, 1) with 53 bits, so p = 1 always keeps. `entry_hashes` is `hash_strings(pa.array(entries))`.
    The share of True is `keep_probability` in expectation. Raises CurateError for a null uid or unequal lengths.
    """
    from curate.metaclip import draws_kernels as kernels

    ids, bounds, valid = id_lists(matched, len(counts))
    if len(entry_hashes) != len(counts):
        raise CurateError(f"{len(entry_hashes):,} entry hashes for {len(counts):,} entry counts: expected one each")
    if len(uids) != len(valid) or uids.null_count:
        sizes = f"{len(uids):,} uids, {uids.null_count:,} null, for {len(valid):,} rows"
        raise CurateError(f"{sizes}: every row needs a uid")
    start = np.uint64(seed & 0xFFFFFFFFFFFFFFFF)
    kept = np.zeros(len(valid), np.bool_)
    kernels.draw(ids, bounds, valid, hash_strings(uids), entry_probability(counts, t), entry_hashes, start, kept)
    return pa.array(kept, pa.bool_(), mask=~valid)
