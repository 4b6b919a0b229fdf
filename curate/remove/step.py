"""Removing: rows leave a store, and every file that holds something of them is written anew or deleted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa

from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import each_run, shard_runs
from curate.errors import CurateError
from curate.messages.progress import console
from curate.refuse.keys import hosts_of
from curate.refuse.tombstones import Tombstone, write_tombstones
from curate.remove import manifest_text
from curate.remove.certificate import write_certificate
from curate.remove.layout import Layout
from curate.remove.plan import SHOWN, Plan, facts_of, named_by, read_before, read_keys, read_rows
from curate.remove.planning import files_of, notes_of, origins, planned
from curate.remove.rules import Rules
from curate.remove.tables import Tables
from curate.remove.training_shards import rewrite
from curate.store.folder import Folder, shard_name
from curate.store.images import TARS
from curate.store.manifest import Manifest
from curate.store.removal import REMOVED, UNDER_WAY, Removal
from curate.store.store import REMOVING, WRITTEN, Store


@dataclass(frozen=True)
class Removed:
    """A removal. version: its number, 0 where nothing was to be done. certificate: its file. text: what it says."""

    rows: int
    version: int
    certificate: str
    text: str


NOTHING = Removed(0, 0, "", "nothing to remove: no row is named, and later runs refuse what is named already\n")


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def remove(store: Store, rules: Rules, cluster: Cluster | None = None, anew: bool = False) -> Removed:
    """Remove the rows that the rules name; first ends a removal that was stopped. The caller holds the store's lease.

    anew: whether what was computed over all rows is made anew by the next run.

    Raises:
        CurateError: when nothing is named and no removal was stopped; for rules that cannot be read.
    """
    REMOVING.add(store.url)
    try:
        stopped = _ended(store, cluster)
        if not rules and stopped is None:
            raise CurateError("name what is to be removed: --urls, --host, --sha256, --uids or --where")
        if not rules:
            assert stopped is not None
            return stopped
        plan = planned(store, rules, now(), anew, cluster)
        if plan is None:
            store.remove(UNDER_WAY)
            return stopped or NOTHING
        return _done(store, plan, cluster)
    finally:
        REMOVING.discard(store.url)


def _ended(store: Store, cluster: Cluster | None) -> Removed | None:
    """End a removal that was stopped; None where there was none."""
    plan = Plan.under_way(store)
    if plan is None or plan.version in {removal.version for removal in store.manifest().removals}:
        store.remove(UNDER_WAY)
        return None
    console.say(f"{store.url}: the removal of {plan.when} was stopped, and goes on")
    return _done(store, plan, cluster)


def _done(store: Store, plan: Plan, cluster: Cluster | None) -> Removed:
    manifest = store.manifest()
    manifest.removing = plan.version
    store.save(manifest)
    rows, stones = read_rows(store), read_keys(store)
    gone = named_by(stones, "uid")
    job = Tables(store, plan.tables, plan.pointing, gone, rows)
    _rewrite_tables(job, plan, cluster)
    for name in plan.robots:
        _without_hosts(store, name, stones)
    for place, numbers in plan.shards.items():
        rewrite(Folder(place), numbers, gone, plan.version)
    written = _written(plan)
    _notes(store, written)
    # And what this removal left when it was stopped.
    for name in dict.fromkeys([*plan.delete, *Layout.of(store).torn]):
        store.remove(name)
    _delete_old_tars(store, plan, rows)
    write_tombstones(store, plan.version, plan.when, [stone for stone in stones if stone.rule != SHOWN])
    text = _certified(store, plan, rows)
    places = {(shard, row) for shard, numbers in rows.items() for row in numbers.tolist()}
    store.save(_after(store.manifest(), plan, stones, places, written))
    store.remove(UNDER_WAY)
    return Removed(
        sum(plan.rules.values()), plan.version, f"{store.url}/{REMOVED}/{shard_name(plan.version)}.json", text
    )


def _rewrite_tables(job: Tables, plan: Plan, cluster: Cluster | None) -> None:
    sizes = {shard: rows for shard, rows in job.store.shard_rows().items() if shard in job.rows}
    runs = shard_runs(sizes)
    job = Tables(job.store, job.folders, job.pointing, job.gone, job.rows, runs)
    for _ in each_run("remove", job.rewrite_run, runs, sizes, cluster):
        pass
    shown = named_by(read_keys(job.store), "uid", "url", "sha256")
    for folder, shard in plan.points:
        job.point(folder, shard, shown)


def _without_hosts(store: Store, name: str, stones: list[Tombstone]) -> None:
    """A file of robots.txt without those of removed hosts."""
    table = store.read_file(name)
    named = named_by(stones, "host").hosts(hosts_of(origins(store, name)))
    store.write_file(name, table.filter(pa.array(~named)))


def _written(plan: Plan) -> dict[str, dict[str, object]]:
    """By their folder, what a write step says of training shards that changed."""
    facts: dict[str, dict[str, object]] = {}
    for place in plan.shards:
        about = Folder(place).read_json("manifest.json")
        weight = sum(file["bytes"] for file in about["files"].values())
        facts[place] = {"samples": about["samples"], "bytes": weight}
    for place, without in plan.without_image.items():
        facts.setdefault(place, {})["without_image"] = without
    return facts


def _notes(store: Store, written: Mapping[str, dict[str, object]]) -> None:
    for name in notes_of(store):
        note = store.read_json(f"{WRITTEN}/{name}")
        if facts := written.get(note["done"]["to"]):
            store.write_json(f"{WRITTEN}/{name}", {**note, "done": note["done"] | facts})


def _delete_old_tars(store: Store, plan: Plan, rows: Mapping[int, np.ndarray]) -> None:
    """Tars of these shards that no status row names any more."""
    for folder in plan.tables:
        if not folder.startswith("images-"):
            continue
        names = store.names(folder)
        for shard in rows:
            if f"{shard_name(shard)}.parquet" not in names:
                continue
            with store.opened(store.part(folder, shard)) as part:
                known = json.loads((part.schema.metadata or {}).get(TARS, b"{}"))
            for name in sorted(names):
                if re.fullmatch(rf"{shard_name(shard)}(-[0-9]+)?\.tar", name) and name not in known:
                    store.remove(f"{folder}/{name}")


def _certified(store: Store, plan: Plan, rows: Mapping[int, np.ndarray]) -> str:
    before: dict[str, tuple[int, str] | None] = dict(read_before(store))
    now = files_of(store, Layout.of(store), plan, rows)
    files: dict[str, Folder] = {name: now.get(name, store) for name in {*before, *now}}
    after = facts_of(files)
    return write_certificate(store, plan, {name: before.get(name) for name in files}, after)


def _after(
    manifest: Manifest,
    plan: Plan,
    stones: list[Tombstone],
    places: set[tuple[int, int]],
    written: Mapping[str, dict[str, object]],
) -> Manifest:
    """The manifest of the store without the rows."""
    manifest_text.lessened(manifest, plan.counts)
    by_shard: dict[int, int] = {}
    for shard, _ in places:
        by_shard[shard] = by_shard.get(shard, 0) + 1
    manifest_text.add_removed(manifest, by_shard)
    for run in manifest.runs.values():
        if facts := written.get(run.written.get("to", "")):
            run.written |= facts
    for name in plan.delete:
        manifest.unfinished.pop(name, None)
    entry = Removal(version=plan.version, when=plan.when, rows=len(places), rules=plan.rules)
    manifest.removals.append(entry)
    manifest.removing = 0
    if plan.anew:
        manifest.anew = plan.version
    return manifest_text.cleaned(manifest, named_by(stones, "uid", "url", "sha256"), places)
