"""What a removal will do, noted before it begins: a stopped one goes on by it, and ends with the same bytes.

.removing/rows.parquet     shard, row: the rows
.removing/keys.parquet     kind, key, rule: of what they show, and of what the rules name; no content
.removing/before.parquet   name, bytes, sha256 of each file that will change or go
.removing/plan.json        the rest; written last
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from curate.refuse.key_set import KeySet
from curate.refuse.keys import KEY_BYTES
from curate.refuse.matching import Named
from curate.refuse.tombstones import Tombstone
from curate.store.folder import Folder
from curate.store.removal import UNDER_WAY
from curate.store.store import Store

#: The rule under which keys are noted that only this removal looks for.
SHOWN = ""

_PLAN, _ROWS, _KEYS, _BEFORE = (
    f"{UNDER_WAY}/{name}" for name in ("plan.json", "rows.parquet", "keys.parquet", "before.parquet")
)


class Plan(BaseModel):
    """version: of the removal. when: it began. rules: rows by rule. asked: keys that each rule named.

    tables: folders of the store. pointing: of those, tables whose texts may name other rows; points: parts of these
    that do, beside the rows' own shards. shards: by the URL of a folder, numbers of training shards that change.
    counts: by keep table, what goes of its counts, by verdict. delete: what is deleted. anew: whether results over all
    rows are to be made anew. notes: what is said in the end.
    """

    model_config = ConfigDict(extra="forbid")

    version: int
    when: str
    command: str
    rules: dict[str, int]
    asked: dict[str, int]
    tables: list[str]
    pointing: list[str]
    points: list[tuple[str, int]]
    robots: list[str]
    shards: dict[str, list[int]]
    counts: dict[str, dict[str, int]]
    without_image: dict[str, dict[str, int]]
    delete: list[str]
    anew: bool
    notes: list[str]

    def save(self, store: Store) -> None:
        store.write_json(_PLAN, self.model_dump(mode="json"))

    @classmethod
    def under_way(cls, store: Store) -> Plan | None:
        """That of a removal that was stopped."""
        if not store.exists(_PLAN):
            return None
        return cls.model_validate(store.read_json(_PLAN))


def save_rows(store: Store, rows: Mapping[int, np.ndarray]) -> None:
    shards = np.concatenate([np.empty(0, np.int64), *(np.full(len(some), shard) for shard, some in rows.items())])
    numbers = np.concatenate([np.empty(0, np.int64), *rows.values()])
    frame = pl.DataFrame({"shard": shards.astype(np.int32), "row": numbers.astype(np.int32)})
    store.write_file(_ROWS, frame.to_arrow())


def read_rows(store: Store) -> dict[int, np.ndarray]:
    """Numbers of the removed rows by shard."""
    frame = pl.DataFrame(store.read_file(_ROWS))
    by_shard = frame.partition_by("shard", as_dict=True, maintain_order=True) if len(frame) else {}
    return {int(str(shard)): rows["row"].to_numpy().astype(np.int64) for (shard,), rows in by_shard.items()}


def save_keys(store: Store, stones: Sequence[Tombstone]) -> None:
    keys = np.array([stone.key for stone in stones], "<u8").reshape(-1, 2)
    binary = pa.Array.from_buffers(pa.binary(KEY_BYTES), len(keys), [None, pa.py_buffer(keys.tobytes())])
    kind, rule = (
        pl.Series([getattr(stone, name) for stone in stones], dtype=pl.String).to_arrow().cast(pa.string())
        for name in ("kind", "rule")
    )
    store.write_file(_KEYS, pa.table({"kind": kind, "key": binary, "rule": rule}))


def read_keys(store: Store) -> list[Tombstone]:
    part = store.read_file(_KEYS)
    keys = np.frombuffer(b"".join(part["key"].to_pylist()), "<u8").reshape(-1, 2).astype(np.uint64)
    return [
        Tombstone(kind, rule, key)
        for kind, rule, key in zip(part["kind"].to_pylist(), part["rule"].to_pylist(), keys, strict=True)
    ]


def named_by(stones: Sequence[Tombstone], *kinds: str) -> Named:
    """The keys of some kinds."""
    keys = [stone.key for stone in stones if stone.kind in kinds]
    return Named(KeySet.of(np.array(keys, np.uint64).reshape(-1, 2)), frozenset(kinds))


def save_before(store: Store, files: Mapping[str, Folder]) -> None:
    """Note sizes and hashes of files. files: URL to the folder that it lies in."""
    facts = facts_of(files)
    frame = pl.DataFrame(
        {
            "name": list(facts),
            "bytes": [one[0] if one else None for one in facts.values()],
            "sha256": [one[1] if one else None for one in facts.values()],
        },
        schema={"name": pl.String, "bytes": pl.Int64, "sha256": pl.String},
    )
    store.write_file(_BEFORE, frame.to_arrow())


def read_before(store: Store) -> dict[str, tuple[int, str]]:
    frame = pl.DataFrame(store.read_file(_BEFORE))
    return {name: (size, sha256) for name, size, sha256 in frame.iter_rows()}


def facts_of(files: Mapping[str, Folder]) -> dict[str, tuple[int, str] | None]:
    """Bytes and sha256 of files; None for one that is not there."""

    def one(name: str) -> tuple[int, str] | None:
        digest, size = hashlib.sha256(), 0
        try:
            for block in _blocks(files[name], name):
                digest.update(block)
                size += len(block)
        except FileNotFoundError:
            return None
        return size, digest.hexdigest()

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(files, pool.map(one, files), strict=True))


def _blocks(folder: Folder, name: str) -> Iterator[bytes]:
    with folder.reading(name.removeprefix(f"{folder.url}/")) as file:
        yield from iter(lambda: file.read(1 << 20), b"")
