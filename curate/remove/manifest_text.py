"""The manifest after a removal: counts without the removed rows, and no text that quotes one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from curate.messages.remarks import Remarks
from curate.refuse.keys import keys_of
from curate.refuse.matching import Named
from curate.store.manifest import Keep, Manifest, Table
from curate.store.removal import REMOVED
from curate.store.verdict import COPIES, KEPT

#: What may be a uid, the hash of a file or a url, wherever it stands in a text.
_NAMES = re.compile(r"https?://[^\s'\"<>]+|[0-9a-f]{64}|[0-9a-f]{32}")
#: What stands for it then.
_INSTEAD = "(removed)"


def cleaned(manifest: Manifest, gone: Named, places: set[tuple[int, int]]) -> Manifest:
    """The manifest without texts that name removed rows.

    gone: uids, urls and hashes of the removed rows. places: (shard, row) of each.
    """
    for group in manifest.inputs:
        # Of what reading saw in the files nobody knows the rows.
        group.scanned = _without_examples(group.scanned)
        group.remarks = None if group.remarks is None else _without_examples(group.remarks)
    for entry in manifest.tables.values():
        if isinstance(entry, Table):
            entry.remarks = _without_places(entry.remarks, places)
            if "remarks" in entry.report:
                entry.report["remarks"] = _without_places(entry.report["remarks"], places)
    tree = _without_names(manifest.model_dump(mode="json"), gone)
    return Manifest.model_validate(tree)


def _without_examples(remarks: Mapping[str, Any]) -> dict[str, Any]:
    return Remarks(Remarks.from_json(remarks).counts).to_json()


def _without_places(remarks: Mapping[str, Any], places: set[tuple[int, int]]) -> dict[str, Any]:
    whole = Remarks.from_json(remarks)
    examples = {kind: one for kind, one in whole.examples.items() if one[0][:2] not in places}
    return Remarks(whole.counts, examples).to_json()


def _without_names(tree: Any, gone: Named) -> Any:
    """The same tree of JSON with `_INSTEAD` for each name of a removed row, in values and keys."""
    if isinstance(tree, str):
        return without_names(tree, gone)
    if isinstance(tree, list):
        return [_without_names(value, gone) for value in tree]
    if isinstance(tree, dict):
        return {without_names(key, gone): _without_names(value, gone) for key, value in tree.items()}
    return tree


def without_names(text: str, gone: Named) -> str:
    """A text with `_INSTEAD` for each uid, hash and url of a removed row."""

    def one(match: re.Match[str]) -> str:
        name = match[0]
        kind = "url" if name.startswith("http") else {64: "sha256", 32: "uid"}[len(name)]
        is_gone = kind in gone.kinds and gone.keys.holds(keys_of(kind, pl.Series([name])))[0]
        return _INSTEAD if is_gone else name

    return _NAMES.sub(one, text)


def lessened(manifest: Manifest, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Take removed rows out of the counts of keep tables; counts: by folder, rows by their verdict, and copies."""
    for folder, verdicts in counts.items():
        entry = manifest.tables.get(folder)
        if not isinstance(entry, Keep):
            continue
        dropped = dict(entry.counts.dropped)
        for verdict, rows in verdicts.items():
            if verdict == COPIES:
                entry.counts.copies = (entry.counts.copies or 0) - rows
                continue
            entry.counts.entered -= rows
            if verdict == KEPT:
                entry.counts.kept -= rows
                continue
            reason = verdict.partition(": ")[2]
            dropped[reason] = dropped.get(reason, 0) - rows
        ordered = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
        entry.counts.dropped = {reason: rows for reason, rows in ordered if rows > 0}


def add_removed(manifest: Manifest, by_shard: Mapping[int, int]) -> None:
    """Add removed rows to the inputs that they came with."""
    for group in manifest.inputs:
        rows = sum(rows for shard, rows in by_shard.items() if shard in group.shard_numbers)
        if rows:
            group.out = {**group.out, REMOVED: group.out.get(REMOVED, 0) + rows}
