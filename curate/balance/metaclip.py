"""MetaCLIP balancing: captions whose entries are all frequent are thinned, rare entries are kept whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, PrivateAttr, model_validator

from curate.errors import CurateError, unknown
from curate.messages.counted import counted
from curate.messages.progress import console
from curate.metaclip.balance import tail_share, threshold_for_tail_share, thresholds_for_tail_shares
from curate.metaclip.entry_lists import lists_of
from curate.metaclip.groups import ALL, Counts, Expected, Group, expected_sizes, hashes_of_ids, split
from curate.metaclip.report import balance_remarks, balance_report
from curate.metaclip.size import SizeSearch
from curate.op import Fitted, Rows, Summed

#: The threshold of the published 400 M pairs.
PUBLISHED_T = 20_000

#: A size that is further from the one wanted, as a share of it, is told to the user.
FAR = 0.01

#: Expected sizes are added up as whole numbers, so that no t depends on which worker is done first.
PARTS_OF_A_ROW = 2**20


class MetaClip(Fitted):
    """Columns `metaclip_p`, the exact keep probability 1 - prod(1 - t / max(count, t)), and `metaclip_keep`, one
    seeded draw per (entry, uid): the same rows on any cluster, and raising t only adds rows. A draw knows the entry by
    its string, so a longer list leaves the draws of the old entries as they were.

    Reads `entries` (score.entries comes first, and its list must still be there; in a column that something else made,
    an entry is known by its number). A caption without entries has probability 0. Counts are those of the
    rows that are in when it runs: what an earlier filter dropped does not count.

    One of these three says how much is kept; without any, t is 20,000:
    t: rows that one entry keeps by itself in expectation; published 20,000 for 1.6 B pairs, 170,000 for 10.7 B.
    tail_share: the t that leaves this share of all matches to the entries below it; published about 0.06.
    rows: the t whose expected number of kept captions is nearest to this.

    by: a column of groups that have counts and thresholds of their own, `entries_lang` of score.entries: MetaCLIP 2.
        `t` is then that of the `reference` language, and every other gets the t with the same share of tail matches;
        `rows` are those of all together. Rows without a group get no value.

    Balancing in the loader instead (section 3.4 of the paper): filter by `metaclip_p > 0`; `metaclip_p` is in the json
    of every sample of the written shards, and each epoch keeps a sample when a new uniform number is below it:
    `dataset.select(lambda sample: random.random() < json.loads(sample["json"])["metaclip_p"])` in webdataset.
    """

    version: ClassVar[int] = 2
    cite: ClassVar[str] = "Xu et al., Demystifying CLIP Data, 2023; MetaCLIP 2, 2025"
    t: int | None = Field(None, ge=1)
    tail_share: float | None = Field(None, gt=0, lt=1)
    rows: int | None = Field(None, ge=1)
    by: str = ""
    reference: str = "en"
    seed: int = 0

    #: What made `entries`.
    _entries: Any = PrivateAttr(None)

    @model_validator(mode="after")
    def _one_threshold(self) -> MetaClip:
        if sum(option is not None for option in (self.t, self.tail_share, self.rows)) > 1:
            raise ValueError("give one of `t`, `tail_share` and `rows`")
        return self

    def reads(self) -> tuple[str, ...]:
        return ("entries", "uid", *([self.by] if self.by else []))

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def makes(self) -> dict[str, pa.DataType]:
        return {"metaclip_p": pa.float64(), "metaclip_keep": pa.bool_()}

    def decision(self) -> dict[str, Any]:
        return {"name": "balance", "keep": [{"if": "metaclip_keep", "else": "thinned by balancing"}]}

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        """Remembers what made `entries`; the list itself is read when draws are made, not for a finished table."""
        self._entries = made_by["entries"]

    def fit(self, summed: Summed) -> Balance:
        """The counts of entries with the thresholds that they are balanced by, and what that leaves of each entry."""
        counts = summed(self._counts)
        self._check_groups(counts.groups)
        lists = lists_of(self._entries)
        settled = counts.settled(self._thresholds(counts.groups, summed), lists.hashes if lists else hashes_of_ids)
        return Balance(settled, summed(partial(self._expected, settled.groups)))

    def batch(self, rows: Rows, fitted: Any) -> Mapping[str, Any]:
        uids, order, judged = rows["uid"], [], []
        for name, places, matched in split(rows["entries"], self._names(rows)):
            group = fitted.counts.groups.get(name, NOTHING)
            order.append(places)
            judged.append(group.judged(matched, uids.take(pa.array(places)), self.seed))
        back = pa.array(np.argsort(np.concatenate(order)))
        return {
            column: pa.concat_arrays(parts).take(back) for column, *parts in zip(self.makes(), *judged, strict=True)
        }

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        lists = lists_of(made_by["entries"])
        remarks = balance_remarks(fitted.counts, lists)
        return balance_report(fitted.counts, fitted.expected, lists) | {"remarks": remarks.to_json()}

    # ---- parts of a sum over all rows ----

    def _counts(self, rows: Rows) -> Counts:
        return Counts.of(rows["entries"], self._names(rows))

    def _sizes(self, groups: dict[str, Group], tried: dict[str, list[int]], rows: Rows) -> np.ndarray:
        """int64[k]: captions kept in expectation under each of the thresholds that are tried, in PARTS_OF_A_ROW."""
        sizes = expected_sizes(rows["entries"], self._names(rows), groups, tried)
        return np.rint(sizes * PARTS_OF_A_ROW).astype(np.int64)  # type: ignore[no-any-return]

    def _expected(self, groups: dict[str, Group], rows: Rows) -> Expected:
        return Expected.of(rows["entries"], self._names(rows), groups)

    def _names(self, rows: Rows) -> pa.Array | None:
        return rows[self.by] if self.by else None

    # ---- thresholds ----

    def _check_groups(self, groups: Mapping[str, Group]) -> None:
        if not groups:
            raise CurateError("balance.metaclip: no caption holds an entry of the metadata list, nothing would be kept")
        if self.by and self.tail_share is None and self.reference not in groups:
            raise unknown("reference", self.reference, groups, f"balance.metaclip: groups of '{self.by}' with matches")

    def _thresholds(self, groups: dict[str, Group], summed: Summed) -> dict[str, int]:
        """The threshold of every group."""
        if self.tail_share is not None:
            return {name: threshold_for_tail_share(group.counts, self.tail_share) for name, group in groups.items()}
        t = self.t or PUBLISHED_T
        if self.rows is not None:
            t = self._t_for_rows(self.rows, groups, summed)
        return {name: ts[0] for name, ts in self._of_all_groups(groups, [t]).items()}

    def _t_for_rows(self, rows: int, groups: dict[str, Group], summed: Summed) -> int:
        search = SizeSearch(rows, int(groups[self._reference()].counts.max()) + 1)
        while search.points:
            tried = self._of_all_groups(groups, search.points)
            search.narrow(summed(partial(self._sizes, groups, tried)) / PARTS_OF_A_ROW)
        if abs(search.size - rows) > FAR * rows:  # counts are small, and whole t are far apart
            nearest = f"the nearest t, {search.t:,}, keeps {search.size:,.0f}"
            console.print(f"balance.metaclip: {counted(rows, 'row')} wanted, {nearest} in expectation")
        return search.t

    def _of_all_groups(self, groups: Mapping[str, Group], ts: list[int]) -> dict[str, list[int]]:
        """For every group the thresholds that go with those of the reference: the same shares of tail matches."""
        reference = groups[self._reference()]
        shares = [tail_share(reference.counts, t) for t in ts]
        others = {n: thresholds_for_tail_shares(g.counts, shares) for n, g in groups.items() if g is not reference}
        return {self._reference(): ts, **others}

    def _reference(self) -> str:
        return self.reference if self.by else ALL


@dataclass(frozen=True)
class Balance:
    """What is learned of a pool: counts with their thresholds, and what is expected of each entry under those."""

    counts: Counts
    expected: Expected


#: A group in which no caption matches.
NOTHING = Group(0, np.zeros(0, np.uint64), t=1)
