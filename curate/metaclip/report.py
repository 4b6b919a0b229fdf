"""What balancing does to the entries, for the manifest: matches before and expected after, and what is to be said."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.messages.remarks import Remarks
from curate.metaclip.balance import tail_share
from curate.metaclip.entry_lists import EntryLists
from curate.metaclip.groups import ALL, Counts, Expected

HEAD = 20


def balance_report(counts: Counts, expected: Expected, lists: EntryLists | None) -> dict[str, Any]:
    """Sums, and tables as lists of rows: `frequencies` (entries by their number of captions), `head` (the most frequent
    entries), and `groups` with the threshold of each, where there are several.

    lists: of the matched entries. Without them, entries are numbers, and entries that never matched are unknown.
    """
    groups = counts.groups
    before = np.concatenate([group.counts for group in groups.values()]).astype(np.int64)
    after = np.concatenate([expected.matches[name] for name in groups])
    ids = np.concatenate([np.arange(group.low, group.end) for group in groups.values()])
    is_tail = np.concatenate([group.counts < group.t for group in groups.values()])
    seen = before > 0
    alone = list(groups) == [ALL]

    def line(label: str, mask: np.ndarray) -> dict[str, Any]:
        sums = {"before": int(before[mask].sum()), "after": round(float(after[mask].sum()), 1)}
        return {"captions": label, "entries": int(mask.sum()), **sums}

    powers = 10 ** np.arange(len(str(before.max())))
    bands = [line(f"{low:,} to {10 * low - 1:,}", (before >= low) & (before < 10 * low)) for low in powers.tolist()]
    never = [line("0", ~seen) | {"entries": lists.size() - len(np.unique(ids[seen]))}] if lists else []
    head = np.lexsort((ids, -before))[: min(HEAD, int(seen.sum()))]
    strings = lists.strings(ids[head].tolist()) if lists else {}
    return {
        **({"t": groups[ALL].t} if alone else {}),
        "captions": counts.captions,
        "matching": counts.matching,
        "expected_rows": round(expected.rows, 1),
        "matches": int(before.sum()),
        "expected_matches": round(float(after.sum()), 1),
        "entries_seen": int(seen.sum()),
        "entries_over_t": int(sum((group.counts > group.t).sum() for group in groups.values())),
        "tail_share": float(before[is_tail].sum() / before.sum()),
        "frequencies": [*never, *bands, line("below t", is_tail & seen), line("t and above", ~is_tail)],
        "head": [
            {
                "entry": strings.get(int(ids[i]), int(ids[i])),
                "before": int(before[i]),
                "after": round(float(after[i]), 1),
            }
            for i in head
        ],
        **({} if alone else {"groups": [_group(name, counts, expected) for name in _by_size(counts)]}),
    }


def balance_remarks(counts: Counts, lists: EntryLists | None) -> Remarks:
    """Says so when no entry has more captions than t: then balancing only leaves out captions without an entry."""
    remarks = Remarks()
    if any((group.counts > group.t).any() for group in counts.groups.values()):
        return remarks
    most = max(counts.groups.values(), key=lambda group: int(group.counts.max()))
    number = most.low + int(most.counts.argmax())
    entry = lists.strings([number])[number] if lists else f"number {number}"
    remarks.add(
        f"captions with an entry, and none is thinned: no entry has more than t = {most.t:,}",
        rows=counts.matching,
        example=f"the most frequent, {entry!r}, has {int(most.counts.max()):,}; a smaller t or tail_share thins",
    )
    return remarks


def _by_size(counts: Counts) -> list[str]:
    return sorted(counts.groups, key=lambda name: (-int(counts.groups[name].counts.sum()), name))


def _group(name: str, counts: Counts, expected: Expected) -> dict[str, Any]:
    group = counts.groups[name]
    matches = {"before": int(group.counts.sum()), "after": round(float(expected.matches[name].sum()), 1)}
    share = round(tail_share(group.counts, group.t), 4)
    return {"group": name, "t": group.t, "entries": int((group.counts > 0).sum()), **matches, "tail_share": share}
