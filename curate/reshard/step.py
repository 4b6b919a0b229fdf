"""Resharding: of finished WebDataset shards the samples whose uids a subset file has, each as often as it has them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from curate import __version__
from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import in_threads
from curate.errors import CurateError
from curate.messages.remarks import Remarks, say
from curate.reshard.one_shard import WriteSubset
from curate.reshard.samples import WORK, ListSamples, list_of, unlisted
from curate.store.file_hash import file_sha256
from curate.store.folder import Folder, identity, is_torn, shard_name
from curate.store.store import Store
from curate.store.subset_file import subset_at
from curate.write.claim import claim
from curate.write.finished import file_facts, small_files
from curate.write.plan import plan

UNKNOWN = "uid(s) of the subset that no sample has"

#: Files of one shard; the last one written says that it is complete.
_ENDS = (".tar", ".parquet", "_stats.json")


@dataclass(frozen=True)
class Resharded:
    """What became of the samples. read: of all tars. rows: of these, those that the subset has; samples: written of
    them, a sample for each copy. dropped: the others, by reason. unknown: uids of the subset that no sample has."""

    to: str
    read: int
    rows: int
    samples: int
    shards: int
    bytes: int
    dropped: dict[str, int]
    unknown: int


def reshard(shards: str, subset: str, to: str, samples_per_shard: int, cluster: Cluster) -> Resharded:
    """Write the shards of a subset, samples in the order of the tars; the same call after a kill goes on.

    Raises:
        CurateError: when there are no shards, the subset cannot be read, no sample is in it, or `to` holds others.
    """
    folder, out = Folder(shards), Store(to)
    tars = sorted(name for name in folder.names() if name.endswith(".tar") and not name.startswith("."))
    _check(folder, out, tars, samples_per_shard)
    subset_at(subset)
    sizes = {name: int(folder.fs.size(folder.path(name))) for name in tars}
    selection = identity(tars=sizes, subset=file_sha256(subset), samples_per_shard=samples_per_shard, version=1)
    if done := _finished(out, selection):
        say("reshard", _remarks(done))
        return done
    claim(out, selection, 0)
    todo = unlisted(out, len(tars))
    job = ListSamples(shards, tars, subset, to)
    cluster.do("reshard: samples", job, todo, dict.fromkeys(todo, 1), file_bytes=sum(sizes[tars[n]] for n in todo))
    counts = _counted(out, len(tars), subset)
    if not counts["copies"]:
        lacking = ", ".join(f"{number:,} {why}" for why, number in counts["dropped"].items())
        raise CurateError(f"reshard: none of the {counts['samples']:,} samples of '{shards}' goes out ({lacking})")
    cut = plan(_sizes(counts["each"]), samples_per_shard, None)
    names = out.names()
    missing = [n for n in range(len(cut)) if not {shard_name(n) + end for end in _ENDS} <= names]
    samples = dict(enumerate(cut.samples().tolist()))
    cluster.do("reshard: shards", WriteSubset(shards, tars, to, cut), missing, samples)
    done = _finish(out, selection, counts, samples)
    say("reshard", _remarks(done))
    return done


def _check(folder: Folder, out: Folder, tars: list[str], samples_per_shard: int) -> None:
    if not tars:
        raise CurateError(f"reshard: '{folder.url}' holds no .tar: name a folder of WebDataset shards")
    if samples_per_shard < 1:
        raise CurateError(f"reshard: samples_per_shard is 1 or more, got {samples_per_shard}")
    if os.path.normpath(out.path("")) == os.path.normpath(folder.path("")):
        raise CurateError(f"reshard: the new shards cannot lie in '{folder.url}' itself: name another folder with --to")


def _sizes(each: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    for number, samples in enumerate(each):
        yield number, np.zeros(samples, np.int64)


def _counted(out: Store, tars: int, subset: str) -> dict[str, Any]:
    """The counts of all lists. each: samples that go out of each tar."""
    total: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    each = []
    for counts in out.read_jsons([f"{WORK}/{shard_name(number)}.json" for number in range(tars)]):
        total.update({name: counts[name] for name in ("samples", "rows", "copies")})
        dropped.update(counts["dropped"])
        each.append(counts["copies"])
    uids = subset_at(subset)
    is_there = np.zeros(len(uids.rows), bool)
    for places in in_threads(lambda number: out.read_file(list_of(number), ["place"])["place"].to_numpy(), tars):
        is_there[places] = True
    reasons = dict(sorted(dropped.items(), key=lambda item: (-item[1], item[0])))
    unknown = uids.distinct - int(is_there.sum())
    return {**{name: total[name] for name in ("samples", "rows", "copies")}, "dropped": reasons, "each": each,
            "unknown": unknown}  # fmt: skip


def _facts_of(out: Folder, number: int) -> dict[str, Any]:
    """Of each file of a shard."""
    name = f"{shard_name(number)}_stats.json"
    data = out.read_bytes(name)
    files: dict[str, Any] = json.loads(data)["files"]
    return files | file_facts(name, data)


def _finish(out: Store, selection: str, counts: Mapping[str, Any], samples: dict[int, int]) -> Resharded:
    """`sizes.json`, and `manifest.json` with the sha256 of every file, which says that all is there."""
    sizes = {f"{shard_name(number)}.tar": count for number, count in samples.items()}
    out.write_bytes("sizes.json", json.dumps(sizes, indent=1).encode())
    files: dict[str, Any] = {}
    for facts in in_threads(partial(_facts_of, out), len(samples)):
        files |= facts
    files |= small_files(out)
    for name in out.names():
        if is_torn(name):
            out.remove(name)
    kept = {name: counts[name] for name in ("rows", "dropped", "unknown")}
    about = {
        "curate": __version__,
        "selection": selection,
        "samples": sum(samples.values()),
        "shards": len(samples),
        "read": counts["samples"],
        **kept,
        "columns": {},
        "files": files,
    }
    out.write_json("manifest.json", about)
    out.remove(WORK)
    return _result(out, about)


def _finished(out: Folder, selection: str) -> Resharded | None:
    """What was done, where all of it is there."""
    try:
        about = out.read_json("manifest.json")
    except FileNotFoundError:
        return None
    if about.get("selection") != selection or "read" not in about or not about["files"].keys() <= out.names():
        return None
    out.remove(WORK)
    return _result(out, about)


def _result(out: Folder, about: Mapping[str, Any]) -> Resharded:
    weight = sum(file["bytes"] for file in about["files"].values())
    facts = {name: about[name] for name in ("read", "rows", "samples", "shards", "dropped", "unknown")}
    return Resharded(to=out.url, bytes=weight, **facts)


def _remarks(done: Resharded) -> Remarks:
    remarks = Remarks()
    remarks.add(UNKNOWN, done.unknown)
    return remarks
