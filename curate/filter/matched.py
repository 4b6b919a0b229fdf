"""What is said of a subset file: uids that the store does not have, and what of the file is unusual."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from curate.filter.job import Judged
from curate.messages.remarks import Remarks
from curate.store.subset_file import Subset, subset_at

UNKNOWN = "uid(s) of the subset that the store does not have"
REPEATED = "uid(s) of the subset that are there more than once: copies of their rows"
SHARED = "row(s) more than uids of the subset that they have: uids are shared, and each of their rows is taken as often"
UNSORTED = "subset file whose uids are not sorted: other readers of it search as if they were"


@dataclass
class Matched:
    """Which uids of a subset file rows have. is_there: (rows of the file,) by the first place of a uid."""

    subset: Subset | None = None
    name: str = ""
    rows: int = 0
    is_there: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    @classmethod
    def of(cls, path: str) -> Matched:
        """path: of the file; empty: there is nothing to be said."""
        if not path:
            return cls()
        subset = subset_at(path)
        return cls(subset, PurePosixPath(path).name, is_there=np.zeros(len(subset.rows), bool))

    def add(self, judged: Judged) -> None:
        """What a run of shards has of them."""
        self.rows += judged.matching
        self.is_there[judged.places] = True

    def remarks(self) -> Remarks:
        remarks = Remarks()
        if self.subset is None:
            return remarks
        distinct = int(self.is_there.sum())
        remarks.add(UNKNOWN, self.subset.distinct - distinct, self.name if distinct < self.subset.distinct else "")
        remarks.add(REPEATED, self.subset.repeated)
        remarks.add(SHARED, self.rows - distinct)
        remarks.add(UNSORTED, 0 if self.subset.sorted_before else 1, "" if self.subset.sorted_before else self.name)
        return remarks
