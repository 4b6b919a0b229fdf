"""Training shards that `write` wrote, without the removed samples: those that hold none keep every byte.

A shard's tar is written first, then its parquet, which says until then which samples go; its statistics and the files
of all shards together follow, and `manifest.json` comes last. Keys stay as they are, so that a gap shows where a sample
was.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.cluster.many_shards import in_threads
from curate.refuse.matching import Named
from curate.remove.tar_cut import cut
from curate.store.folder import Folder, shard_name
from curate.write.claim import REMOVALS
from curate.write.dataset_card import NAME as CARD
from curate.write.dataset_card import is_ours
from curate.write.finished import file_facts, small_files
from curate.write.licences import with_licences

_KEY = re.compile(r"((?:.*/)?[^.]+)\.")
_COUNT = re.compile(rb"^[0-9,]+(?= image-caption pairs in )", re.MULTILINE)


def key_of(member: str) -> str:
    """The key of a file of a tar, as webdataset reads it.

    >>> key_of("000010002.jpg"), key_of("a.b/c.seg.png")
    ('000010002', 'a.b/c')
    """
    match = _KEY.match(member)
    return match[1] if match else member


def shard_numbers(names: set[str]) -> list[int]:
    return sorted(int(name[:-8]) for name in names if name.endswith(".parquet") and name[:-8].isdecimal())


def hit_shards(folder: Folder, gone: Named) -> list[int]:
    """Numbers of the shards that hold a removed sample."""
    numbers = shard_numbers(folder.names())

    def hit(place: int) -> bool:
        return bool(_removed(_read(folder, numbers[place], ["uid"]), gone).any())

    return [numbers[place] for place, is_hit in enumerate(in_threads(hit, len(numbers))) if is_hit]


def hit_files(folder: Folder, numbers: Sequence[int]) -> list[str]:
    """Names of the files that change when these shards do."""
    names = folder.names()
    ends = (".tar", ".parquet", "_stats.json")
    files = [f"{shard_name(number)}{end}" for number in numbers for end in ends]
    small = [name for name in [*files, "sizes.json", CARD, "manifest.json"] if name in names]
    return small + [f"{f}/{name}" for f in map(shard_name, numbers) if f in names for name in sorted(folder.names(f))]


def rewrite(folder: Folder, numbers: Sequence[int], gone: Named, version: int) -> None:
    """Write these shards without the removed samples, then what is said of all shards."""
    for number in numbers:
        _rewrite_one(folder, number, gone)
    about = folder.read_json("manifest.json")
    for number in numbers:
        beside = f"{shard_name(number)}/"
        about["files"] = {name: facts for name, facts in about["files"].items() if not name.startswith(beside)}
        stats = f"{shard_name(number)}_stats.json"
        data = folder.read_bytes(stats)
        about["files"] |= json.loads(data)["files"] | file_facts(stats, data)
    sizes = json.loads(folder.read_bytes("sizes.json"))
    for number in numbers:
        sizes[f"{shard_name(number)}.tar"] = json.loads(folder.read_bytes(f"{shard_name(number)}_stats.json"))["count"]
    folder.write_bytes("sizes.json", json.dumps(sizes, indent=1).encode())
    about["samples"] = sum(sizes.values())
    if is_ours(folder):
        card = _COUNT.sub(f"{about['samples']:,}".encode(), folder.read_bytes(CARD), count=1)
        folder.write_bytes(CARD, with_licences(card.decode(), folder, len(sizes)).encode())
    about["files"] |= small_files(folder)
    folder.write_json("manifest.json", {**about, REMOVALS: version})


def _read(folder: Folder, number: int, columns: list[str] | None = None) -> pa.Table:
    with folder.open(f"{shard_name(number)}.parquet") as file:
        return pq.ParquetFile(file).read(columns=columns)


def _removed(samples: pa.Table, gone: Named) -> np.ndarray:
    by = gone.by({"uid": pl.Series(samples["uid"]).cast(pl.String)})
    removed: np.ndarray = by != None  # noqa: E711 - of each element
    return removed


def _rewrite_one(folder: Folder, number: int, gone: Named) -> None:
    name = shard_name(number)
    samples = _read(folder, number)
    removed = _removed(samples, gone)
    if removed.any():
        keys = set(samples["key"].filter(pa.array(removed)).to_pylist())
        drop_files(folder, name, keys)
        folder.write_bytes(f"{name}.parquet", table_bytes(samples, removed))
    write_stats(folder, name, int((~removed).sum()))


def drop_files(folder: Folder, name: str, keys: set[str]) -> None:
    """Take the files of samples out of a shard's tar, or out of its folder of files."""
    names = folder.names()
    if f"{name}.tar" in names:
        write_tar_without(folder, f"{name}.tar", keys)
    elif name in names:
        for file in sorted(folder.names(name)):
            if key_of(file) in keys:
                folder.remove(f"{name}/{file}")
        if not folder.names(name):
            folder.remove(name)


def write_tar_without(folder: Folder, name: str, keys: set[str]) -> None:
    """A tar without the samples that have these keys."""

    def drop(member: tarfile.TarInfo) -> bool:
        return key_of(member.name) in keys

    with folder.open(name) as source, folder.writing(name) as target:
        cut(source, target, drop, hashlib.sha256())


def table_bytes(samples: pa.Table, removed: np.ndarray) -> bytes:
    """A parquet file of the rows that stay, written as `write` does; a dictionary keeps no value of the others."""
    stay = samples.filter(pa.array(~removed))
    for place, field in enumerate(stay.schema):
        if pa.types.is_dictionary(field.type):
            plain = stay.column(place).cast(field.type.value_type).dictionary_encode().cast(field.type)
            stay = stay.set_column(place, field, plain)
    buffer = pa.BufferOutputStream()
    pq.write_table(stay, buffer, compression="zstd")
    data: bytes = buffer.getvalue().to_pybytes()
    return data


def write_stats(folder: Folder, name: str, count: int) -> None:
    """The statistics of one of our shards, of the files as they lie there."""
    stats: dict[str, Any] = json.loads(folder.read_bytes(f"{name}_stats.json"))
    stats["count"] = stats["successes"] = count
    names = folder.names()
    beside = {f"{name}/{file}" for file in folder.names(name)} if name in names else set()
    stats["files"] = {file: facts for file, facts in stats["files"].items() if file in beside}
    for end in [end for end in (".tar", ".parquet") if f"{name}{end}" in names]:
        digest, size = hashlib.sha256(), 0
        with folder.reading(f"{name}{end}") as file:
            for block in iter(partial(file.read, 1 << 20), b""):
                digest.update(block)
                size += len(block)
        stats["files"][f"{name}{end}"] = {"bytes": size, "sha256": digest.hexdigest()}
    folder.write_bytes(f"{name}_stats.json", json.dumps(stats, indent=1).encode())
