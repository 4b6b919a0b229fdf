"""Image tars of a shard without the removed images: each is written anew beside the old one, which goes at the end.

Where the bytes lay before is noted first (`.removing/tars/<shard>.json`), so that a stopped rewrite ends with the same
files: the status rows of one table may name the new tar already while those of another name the old one.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from curate.remove.tar_cut import cut
from curate.store.folder import shard_name
from curate.store.images import TARS
from curate.store.removal import REMOVED, UNDER_WAY, without_rows
from curate.store.store import Store
from curate.store.tar import BLOCK


@dataclass(frozen=True)
class Cut:
    """A tar that loses members. to: the name of the new one beside it. blocks: (start, bytes) of what goes, in order;
    a member's header belongs to it."""

    to: str
    blocks: list[tuple[int, int]]

    def moved(self, offset: int) -> int:
        """Where bytes of the old tar lie in the new one."""
        starts = [start for start, _ in self.blocks]
        before = [0, *accumulate(size for _, size in self.blocks)]
        return offset - before[bisect_right(starts, offset)]


def cuts_of(store: Store, folders: list[str], shard: int, rows: np.ndarray) -> dict[str, Cut]:
    """By its place below the store, each tar of a shard that loses members: noted when it is first asked for."""
    note = f"{UNDER_WAY}/tars/{shard_name(shard)}.json"
    if store.exists(note):
        return {tar: Cut(c["to"], [tuple(b) for b in c["blocks"]]) for tar, c in store.read_json(note)["tars"].items()}
    removed = set(rows.tolist())
    gone: dict[str, dict[int, int]] = {}
    stay: dict[str, set[int]] = {}
    names: dict[str, set[str]] = {}
    for folder in folders:
        part = store.try_part(folder, shard)
        if part is None:
            continue
        names[folder] = store.names(folder)
        for row, tar, offset, size in _places(part, folder, shard):
            if row in removed:
                gone.setdefault(tar, {})[offset] = size
            else:
                stay.setdefault(tar, set()).add(offset)
    cuts = {}
    for tar, spans in sorted(gone.items()):
        # Several rows may show one image: it stays while one of them does.
        blocks = [
            (offset - BLOCK, BLOCK + -(-size // BLOCK) * BLOCK)
            for offset, size in sorted(spans.items())
            if offset not in stay.get(tar, ())
        ]
        if blocks:
            taken = names[tar.partition("/")[0]]
            cuts[tar] = Cut(_free_name(tar, taken, shard), blocks)
            taken.add(cuts[tar].to.partition("/")[2])
    noted = {tar: {"to": one.to, "blocks": [list(block) for block in one.blocks]} for tar, one in cuts.items()}
    store.write_json(note, {"tars": noted})
    return cuts


def _places(part: pa.Table, folder: str, shard: int) -> Iterator[tuple[int, str, int, int]]:
    """(row, tar below the store, offset, size) of each stored file: images, and what goes along with them."""
    columns = [part[name].to_pylist() for name in ("tar", "offset", "size")]
    members = part["members"].to_pylist() if "members" in part.column_names else [None] * part.num_rows
    for row, (tar, offset, size) in enumerate(zip(*columns, strict=True)):
        for name, start, length in [
            (tar, offset, size),
            *((m["tar"], m["offset"], m["size"]) for m in members[row] or ()),
        ]:
            if start is not None and (place := own_tar(folder, shard, name)):
                yield row, place, start, length


def own_tar(folder: str, shard: int, tar: str | None) -> str | None:
    """The place below the store of a tar as status rows name it; None for one that lies elsewhere."""
    if tar and tar.startswith("../"):
        return tar.removeprefix("../")
    return None if tar and "/" in tar else f"{folder}/{tar or f'{shard_name(shard)}.tar'}"


def _free_name(tar: str, taken: set[str], shard: int) -> str:
    folder = tar.rpartition("/")[0]
    own = re.compile(rf"{shard_name(shard)}(?:-([0-9]+))?\.tar")
    numbers = [int(match[1] or 0) for name in taken if (match := own.fullmatch(name))]
    return f"{folder}/{shard_name(shard)}-{max([0, *numbers]) + 1}.tar"


def write_cuts(store: Store, cuts: Mapping[str, Cut]) -> dict[str, str]:
    """Write the new tars; returns the digest of each."""
    digests = {}
    for tar, about in cuts.items():
        starts = {start for start, _ in about.blocks}
        digest = xxhash.xxh3_128()
        if not store.exists(tar):  # deleted before this removal was stopped: the new one is whole
            with store.reading(about.to) as whole:
                for block in iter(partial(whole.read, 1 << 20), b""):
                    digest.update(block)
            digests[about.to] = digest.hexdigest()
            continue
        with store.open(tar) as source, store.writing(about.to) as target:
            cut(source, target, lambda member, starts=starts: member.offset in starts, digest)  # type: ignore[misc]
        digests[about.to] = digest.hexdigest()
    return digests


def rewritten(
    part: pa.Table, folder: str, shard: int, removed: np.ndarray, cuts: Mapping[str, Cut], digests: Mapping[str, str]
) -> tuple[pa.Table, dict[bytes, bytes]]:
    """The status rows of a shard with the new places, and the part's metadata."""
    table = without_rows(part, removed, {"status": REMOVED})
    columns = {name: table[name].to_pylist() for name in ("tar", "offset")}
    for row, offset in enumerate(columns["offset"]):
        if offset is not None:
            columns["tar"][row], columns["offset"][row] = _new_place(folder, shard, columns["tar"][row], offset, cuts)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values, table.schema.field(name).type))
    if "members" in table.column_names:
        table = _members_moved(table, folder, shard, cuts)
    about = dict(part.schema.metadata or {})
    tars: dict[str, str] = json.loads(about.get(TARS, b"{}"))
    for tar, change in cuts.items():
        if tar.partition("/")[0] == folder:
            tars.pop(tar.partition("/")[2], None)
            tars[change.to.partition("/")[2]] = digests[change.to]
    about[TARS] = json.dumps(tars).encode()
    return table, about


def _members_moved(table: pa.Table, folder: str, shard: int, cuts: Mapping[str, Cut]) -> pa.Table:
    members: list[list[dict[str, Any]] | None] = table["members"].to_pylist()
    for several in members:
        for member in several or ():
            member["tar"], member["offset"] = _new_place(folder, shard, member["tar"], member["offset"], cuts)
    column = pa.array(members, table.schema.field("members").type)
    return table.set_column(table.column_names.index("members"), "members", column)


def _new_place(
    folder: str, shard: int, tar: str | None, offset: int, cuts: Mapping[str, Cut]
) -> tuple[str | None, int]:
    change = cuts.get(own_tar(folder, shard, tar) or "")
    if change is None:
        return tar, offset
    other = tar is not None and tar.startswith("../")
    return (f"../{change.to}" if other else change.to.partition("/")[2]), change.moved(offset)
