"""MetaCLIP balancing: captions whose entries are all frequent are thinned, rare entries are kept whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.match_balance import entry_counts, keep_probability, tail_share
from curate.match_draws import draw, hash_strings
from curate.op import Counted, Rows


class MetaClip(Counted):
    """Columns `metaclip_p`, the exact keep probability 1 - prod(1 - t / max(count, t)), and `metaclip_keep`, one
    seeded draw per (entry, uid): the same rows on any cluster, and raising t only adds rows.

    Reads `entries` (score.entries comes first). A caption without entries has probability 0. Counts are those of the
    rows that are in when it runs: what an earlier filter dropped does not count.

    t: rows that one entry keeps by itself in expectation; published 20,000 for 1.6 B pairs, 170,000 for 10.7 B.
    """

    reads: ClassVar[tuple[str, ...]] = ("entries", "uid")
    cite: ClassVar[str] = "Xu et al., Demystifying CLIP Data, 2023"
    t: int = Field(20_000, ge=1)
    seed: int = 0

    def makes(self) -> dict[str, pa.DataType]:
        return {"metaclip_p": pa.float64(), "metaclip_keep": pa.bool_()}

    def count(self, rows: Rows) -> Any:
        return Counts(entry_counts(rows["entries"], _highest(rows["entries"]) + 1))

    def batch(self, rows: Rows, total: Any) -> Mapping[str, Any]:
        counts = total.dense(0)
        # The draw is keyed by an entry's place in the list, which names it within one metadata file.
        entries = hash_strings([str(number) for number in range(len(counts))])
        return {
            "metaclip_p": keep_probability(rows["entries"], counts, self.t),
            "metaclip_keep": draw(rows["entries"], rows["uid"], counts, self.t, entry_hashes=entries, seed=self.seed),
        }

    def report(self, total: Any) -> dict[str, Any]:
        counts = total.dense(0)
        head = np.argsort(-counts.astype(np.int64), kind="stable")[:20]
        return {
            "matches": int(counts.sum()),
            "entries_seen": int((counts > 0).sum()),
            "entries_over_t": int((counts > self.t).sum()),
            "tail_share": float(tail_share(counts, self.t)),
            "head": {int(i): int(counts[i]) for i in head if counts[i]},
        }


class Counts:
    """Texts per entry, growing with the highest entry seen; adds up in any order."""

    def __init__(self, counts: np.ndarray):
        self.counts = counts

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.dense(len(other.counts)) + other.dense(len(self.counts)))

    def dense(self, at_least: int) -> np.ndarray:
        return np.pad(self.counts, (0, max(0, at_least - len(self.counts))))


def _highest(entries: pa.Array) -> int:
    ids = entries.flatten()
    return int(ids.to_numpy().max()) if len(ids) else -1
