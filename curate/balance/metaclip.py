"""MetaCLIP balancing: captions whose entries are all frequent are thinned, rare entries are kept whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from curate.errors import CurateError
from curate.match_balance import entry_counts, keep_probability, tail_share, threshold_for_tail_share
from curate.match_draws import draw, hash_strings
from curate.op import Counted, Rows

#: The threshold of the published 400 M pairs.
PUBLISHED_T = 20_000


class MetaClip(Counted):
    """Columns `metaclip_p`, the exact keep probability 1 - prod(1 - t / max(count, t)), and `metaclip_keep`, one
    seeded draw per (entry, uid): the same rows on any cluster, and raising t only adds rows.

    Reads `entries` (score.entries comes first). A caption without entries has probability 0. Counts are those of the
    rows that are in when it runs: what an earlier filter dropped does not count.

    t: rows that one entry keeps by itself in expectation; published 20,000 for 1.6 B pairs, 170,000 for 10.7 B.
    tail_share: instead of t: the t that leaves this share of all matches to the entries below it; published about 0.06.
    """

    reads: ClassVar[tuple[str, ...]] = ("entries", "uid")
    cite: ClassVar[str] = "Xu et al., Demystifying CLIP Data, 2023"
    t: int | None = Field(None, ge=1)
    tail_share: float | None = Field(None, gt=0, lt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _one_threshold(self) -> MetaClip:
        if self.t is not None and self.tail_share is not None:
            raise ValueError("give either `t` or `tail_share`")
        return self

    def makes(self) -> dict[str, pa.DataType]:
        return {"metaclip_p": pa.float64(), "metaclip_keep": pa.bool_()}

    def count(self, rows: Rows) -> Any:
        return Counts(entry_counts(rows["entries"], _highest(rows["entries"]) + 1))

    def batch(self, rows: Rows, total: Any) -> Mapping[str, Any]:
        counts, t = total.counts, total.t
        return {
            "metaclip_p": keep_probability(rows["entries"], counts, t),
            "metaclip_keep": draw(rows["entries"], rows["uid"], counts, t, entry_hashes=total.hashes, seed=self.seed),
        }

    def settle(self, total: Any) -> Counts:
        """The counts with the threshold that they are balanced by."""
        if not total.counts.any():
            raise CurateError("balance.metaclip: no caption holds an entry of the metadata list, nothing would be kept")
        wanted = self.tail_share
        t = threshold_for_tail_share(total.counts, wanted) if wanted is not None else self.t or PUBLISHED_T
        # The draw is keyed by an entry's place in the list, which names it within one metadata file.
        hashes = hash_strings([str(number) for number in range(len(total.counts))])
        return Counts(total.counts, max(1, int(t)), hashes)

    def report(self, total: Any) -> dict[str, Any]:
        counts = total.counts
        head = np.argsort(-counts.astype(np.int64), kind="stable")[:20]
        return {
            "t": total.t,
            "matches": int(counts.sum()),
            "entries_seen": int((counts > 0).sum()),
            "entries_over_t": int((counts > total.t).sum()),
            "tail_share": float(tail_share(counts, total.t)),
            "head": {int(i): int(counts[i]) for i in head if counts[i]},
        }


class Counts:
    """Texts per entry, growing with the highest entry seen; adds up in any order."""

    def __init__(self, counts: np.ndarray, t: int = 0, hashes: np.ndarray | None = None):
        self.counts, self.t, self.hashes = counts, t, hashes

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.dense(len(other.counts)) + other.dense(len(self.counts)))

    def dense(self, at_least: int) -> np.ndarray:
        return np.pad(self.counts, (0, max(0, at_least - len(self.counts))))


def _highest(entries: pa.Array) -> int:
    ids = entries.flatten()
    return int(ids.to_numpy().max()) if len(ids) else -1
