"""What of a tar goes out: each sample's uid, how often the subset has it, and where its files lie.

    <to>/.work/00042.parquet    of the 42nd tar, a row for each sample that goes out
    <to>/.work/00042.json       its counts; written last

A sample's uid is that of the row with its key in the parquet beside the tar, or else of its json: img2dataset's and
DataComp's shards have both.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.read.tar_groups import Sample, groups
from curate.read.tar_members import data
from curate.record import as_uid, find
from curate.store.folder import Folder, shard_name
from curate.store.store import Store
from curate.store.subset_file import subset_at

#: Where the lists lie while the shards are written.
WORK = ".work"

#: Why a sample does not go out.
NOT_IN, NO_UID, DAMAGED = "not in the subset", "without a uid", "damaged"

_SCHEMA = pa.schema(
    [
        *(("uid", pa.string()), ("key", pa.string()), ("copies", pa.int64()), ("place", pa.int64())),
        ("extensions", pa.list_(pa.string())),
        ("offsets", pa.list_(pa.int64())),
        ("sizes", pa.list_(pa.int64())),
    ]
)


@dataclass(frozen=True)
class ListSamples:
    """The job: lists what of each tar goes out. tars: their names in `shards`. to: the folder of the new shards."""

    shards: str
    tars: Sequence[str]
    subset: str
    to: str

    def __call__(self, number: int) -> None:
        folder, out = Folder(self.shards), Store(self.to)
        dropped: Counter[str] = Counter()
        with folder.open(self.tars[number]) as handle:
            samples = groups(handle)
            beside = _uids_beside(folder, self.tars[number])
            uids = [None if sample.damage else _uid(sample, handle, beside) for sample in samples]
        places, times = subset_at(self.subset).look_up(pl.Series(uids, dtype=pl.String))
        rows = []
        for sample, uid, place, copies in zip(samples, uids, places.tolist(), times.tolist(), strict=True):
            if copies:
                members = sample.members
                where = [[m.offset for m in members.values()], [m.size for m in members.values()]]
                rows.append([uid, sample.key, copies, place, list(members), *where])
            else:
                dropped[DAMAGED if sample.damage else NO_UID if uid is None else NOT_IN] += 1
        columns = zip(*rows, strict=True) if rows else [[] for _ in _SCHEMA]
        arrays = [pa.array(list(values), kind) for values, kind in zip(columns, _SCHEMA.types, strict=True)]
        out.write_file(list_of(number), pa.table(arrays, schema=_SCHEMA))
        counts = {"samples": len(samples), "rows": len(rows), "copies": int(times.sum()), "dropped": dict(dropped)}
        out.write_json(f"{WORK}/{shard_name(number)}.json", counts)


def list_of(number: int) -> str:
    """The file that lists what of a tar goes out."""
    return f"{WORK}/{shard_name(number)}.parquet"


def unlisted(out: Folder, tars: int) -> list[int]:
    """Numbers of the tars that are not listed yet."""
    names = out.names(WORK)
    return [number for number in range(tars) if f"{shard_name(number)}.json" not in names]


def _uids_beside(folder: Folder, tar: str) -> Mapping[str, str | None]:
    """Keys to uids, of the parquet beside a tar; empty where it does not tell."""
    name = tar.removesuffix(".tar") + ".parquet"
    with contextlib.suppress(FileNotFoundError), folder.open(name) as file:
        parquet = pq.ParquetFile(file)
        uid = find("uid", parquet.schema_arrow.names, ("uid", "UID"))
        if uid and "key" in parquet.schema_arrow.names:
            table = parquet.read(columns=["key", uid])
            return dict(zip(table["key"].to_pylist(), map(as_uid, table[uid].to_pylist()), strict=True))
    return {}


def _uid(sample: Sample, handle: BinaryIO, beside: Mapping[str, str | None]) -> str | None:
    key = (sample.key or "").rpartition("/")[2]
    if (uid := beside.get(key)) is not None:
        return uid
    if (member := sample.members.get("json")) is None:
        return None
    try:
        about: Any = json.loads(data(handle, member))
    except ValueError:
        return None
    return as_uid(about.get("uid")) if isinstance(about, dict) else None


def copies_listed(table: pa.Table, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the samples `start` to `stop` that a list stands for: the row of each, and its number among the copies."""
    times = table["copies"].to_numpy()
    rows = np.repeat(np.arange(len(times)), times)
    copy = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
    return rows[start:stop], copy[start:stop]
