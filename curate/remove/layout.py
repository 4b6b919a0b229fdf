"""What lies in a store: its tables, its images, its training shards, and what is of no table."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from curate.store.folder import is_torn, shard_name
from curate.store.image_columns import ROBOTS
from curate.store.removal import OPT_OUT, REMOVED
from curate.store.store import WRITTEN, Store

_SHARDS = re.compile(r"shards-[0-9a-f]{12}\Z")
_PART = re.compile(r"[0-9]{5,}\.parquet\Z")
#: Folders whose rows are no rows of the records.
_OTHERS = {"inputs", WRITTEN, REMOVED, OPT_OUT}


@dataclass
class Layout:
    """tables: folders with a row for each of the records', `records` first, each with the names in it: columns of ops,
    kept keys, verdicts, images. All that a store keeps of single rows lies in such a folder, so that a removal
    meets it.
    robots: folders of robots.txt files. shards: folders of training shards. torn: temporary files of writers that
    were killed. work: folders of steps that have not ended.
    """

    tables: dict[str, set[str]] = field(default_factory=dict)
    robots: list[str] = field(default_factory=list)
    shards: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    work: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, store: Store) -> Layout:
        layout = cls()
        for name in sorted(store.names(), key=lambda name: (name != "records", name)):
            if is_torn(name):
                layout.torn.append(name)
            if name.startswith(".") or name.endswith((".json", ".html")) or not store.fs.isdir(store.path(name)):
                continue
            names = store.names(name)
            layout.torn += [f"{name}/{inner}" for inner in sorted(names) if is_torn(inner)]
            if _SHARDS.match(name):
                layout.shards.append(name)
            elif name.startswith(f"{ROBOTS}-"):
                layout.robots.append(name)
            elif name not in _OTHERS and (".work" in names or any(map(_PART.match, names))):
                layout.tables[name] = names
                layout.work += [f"{name}/.work"] if ".work" in names else []
        return layout

    @property
    def images(self) -> list[str]:
        return [name for name in self.tables if name.startswith("images-")]

    def files(self, shard: int) -> list[str]:
        """Files of all tables that hold something of a shard's rows."""
        number = shard_name(shard)
        of_shard = re.compile(rf"{number}(\.parquet|\.remarks\.json|(-[0-9]+)?\.tar)\Z")
        small = [f"{number}.parquet", f"{number}.remarks.json"]
        return [
            f"{table}/{name}"
            for table, names in self.tables.items()
            for name in (sorted(names) if table.startswith("images-") else small)
            if name in names and of_shard.match(name)
        ]
