"""From rules to a plan: which rows go, which files hold something of them, and what these files were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import in_threads
from curate.messages.counted import counted
from curate.refuse.keys import hosts_of
from curate.refuse.matching import Named
from curate.refuse.tombstones import Tombstone, read_tombstones
from curate.remove import plan as noting
from curate.remove.layout import Layout
from curate.remove.manifest_text import without_names
from curate.remove.plan import SHOWN, Plan, named_by
from curate.remove.rules import COPIES, Rules, named
from curate.remove.search import Hits, condition_of, search
from curate.remove.tables import names_removed
from curate.remove.training_shards import hit_files, hit_shards
from curate.store.folder import Folder
from curate.store.manifest import Keep, Manifest
from curate.store.store import WRITTEN, Store
from curate.store.verdict import COPIES as TAKEN
from curate.store.verdict import VERDICT, Verdicts
from curate.store.view import View

#: Said of a store in a bucket.
VERSIONS = "old versions of objects, where the bucket keeps some, are not deleted: that is the bucket's owner's to do"


def planned(store: Store, rules: Rules, when: str, anew: bool, cluster: Cluster | None) -> Plan | None:
    """Note a plan; None where nothing is to be done: no row is named, and all that the rules name is known to be gone.

    Raises:
        CurateError: for a condition that cannot be read.
    """
    view, layout = View.of(store), Layout.of(store)
    where = condition_of(view, rules.where)
    hits = search(view, rules.named(), where, layout.images, cluster)
    alike = _copies(view, hits, layout, cluster)
    notes: list[str] = []
    if rules.copies:
        hits = _joined(hits, alike)
    elif others := sum(len(more.rows) for more in alike):
        notes.append(
            f"{counted(others, 'other row')} of the same url or image file stay in: --copies removes them, too"
        )
    stones = _stones(rules, hits)
    if not hits and _all_known(store, stones):
        return None
    rows = {some.shard: some.rows for some in hits}
    gone = named_by(stones, "uid", "url", "sha256")
    plan = _plan(store, layout, rules, rows, gone, named_by(stones, "host"), notes, when, anew, hits)
    noting.save_rows(store, rows)
    noting.save_keys(store, stones)
    noting.save_before(store, files_of(store, layout, plan, rows))
    plan.save(store)
    return plan


def _copies(view: View, hits: Sequence[Hits], layout: Layout, cluster: Cluster | None) -> list[Hits]:
    """Rows that show the same url or image file as those that were named, and were not named themselves."""
    keys = {
        kind: np.concatenate([some.keys[kind] for some in hits if kind in some.keys] or [np.empty((0, 2), np.uint64)])
        for kind in ("url", "sha256")
    }
    if not any(map(len, keys.values())):
        return []
    known = {some.shard: some.rows for some in hits}
    alike = []
    for some in search(view, named(keys), None, layout.images, cluster):
        new = ~np.isin(some.rows, known.get(some.shard, []))
        if new.any():
            own = {**some.keys, "uid": some.keys["uid"][new]}
            alike.append(Hits(some.shard, some.rows[new], [COPIES] * int(new.sum()), own))
    return alike


def _joined(hits: Sequence[Hits], more: Sequence[Hits]) -> list[Hits]:
    joined: dict[int, Hits] = {some.shard: some for some in hits}
    for some in more:
        if some.shard in joined:
            first = joined[some.shard]
            rows = np.concatenate([first.rows, some.rows])
            order = np.argsort(rows)
            rules = np.array([*first.rules, *some.rules], object)[order].tolist()
            keys = {kind: np.concatenate([first.keys[kind], some.keys[kind]]) for kind in first.keys}
            keys["uid"] = keys["uid"][order]
            joined[some.shard] = Hits(some.shard, rows[order], rules, keys)
        else:
            joined[some.shard] = some
    return [joined[shard] for shard in sorted(joined)]


def _stones(rules: Rules, hits: Sequence[Hits]) -> list[Tombstone]:
    """Keys of all that the rules name and of the rows' uids; and, for this removal alone, of what the rows show."""
    stones: dict[tuple[str, bytes], Tombstone] = {}

    def add(kind: str, rule: str, keys: np.ndarray) -> None:
        for key in keys:
            stones.setdefault((kind, key.tobytes()), Tombstone(kind, rule, key))

    for kind, keys in rules.keys.items():
        add(kind, kind, keys)
    for some in hits:
        for rule, key in zip(some.rules, some.keys["uid"], strict=True):
            add("uid", rule, key[None])
        for kind in ("url", "sha256"):
            add(kind, COPIES if rules.copies else SHOWN, some.keys.get(kind, np.empty((0, 2), np.uint64)))
    return [stones[key] for key in sorted(stones)]


def _all_known(store: Store, stones: Sequence[Tombstone]) -> bool:
    known = read_tombstones(store)
    keys = np.array([stone.key for stone in stones], np.uint64).reshape(-1, 2)
    return bool(known.keys.holds(keys).all())


def _plan(
    store: Store,
    layout: Layout,
    rules: Rules,
    rows: Mapping[int, np.ndarray],
    gone: Named,
    hosts: Named,
    notes: list[str],
    when: str,
    anew: bool,
    hits: Sequence[Hits],
) -> Plan:
    manifest = store.manifest()
    pointing = [f for f in layout.tables if (t := manifest.op_table(f)) is not None and t.pool is not None]
    naming = [f for f, e in manifest.tables.items() if isinstance(e, Keep) and _names(e, gone)]
    shards, lost, unfinished = _training_shards(store, layout, manifest, gone)
    notes += [f"{place}: its training shards are not there any more, and were not looked at" for place in lost]
    notes += [] if store.local else [VERSIONS]
    delete = list(layout.torn)
    if rows:
        stopped = [w if w.partition("/")[0] in manifest.tables else w.partition("/")[0] for w in layout.work]
        notes += [f"{name} was not finished and is deleted: its step begins anew" for name in (*stopped, *unfinished)]
        delete += [*stopped, *unfinished]
        if store.exists("report.html"):
            delete.append("report.html")
            notes.append("report.html is deleted: `curate report` makes it anew")
    counts = _counts(store, manifest, rows)
    return Plan(
        version=max((removal.version for removal in manifest.removals), default=0) + 1,
        when=when,
        command=rules.command(store.url),
        rules=rules.counts(rule for some in hits for rule in some.rules),
        asked={kind: len(keys) for kind, keys in rules.keys.items()},
        tables=list(layout.tables),
        pointing=pointing,
        points=_points(store, layout, pointing, naming, rows, gone) if rows else [],
        robots=_robots(store, layout, hosts) if "host" in rules.keys else [],
        shards=shards,
        counts=counts,
        without_image=_without_image(store, manifest, rows),
        delete=delete,
        anew=anew,
        notes=[*notes, *_kept_results(manifest, rows, anew)],
    )


def _kept_results(manifest: Manifest, rows: Mapping[int, Any], anew: bool) -> list[str]:
    """One line on what is not computed again."""
    whole = [name for name, folder in manifest.current.items() if (t := manifest.op_table(folder)) and t.pool]
    if not whole or not rows:
        return []
    if anew:
        return [f"made anew by the next run, over the rows that stay: {', '.join(whole)}, and all that hangs on them"]
    return [f"not made anew: {', '.join(whole)} (they were computed over all rows; --anew makes the next run do it)"]


def _names(entry: Keep, gone: Named) -> bool:
    texts = [*entry.filter.get("where", {}), *entry.counts.dropped]
    return any(without_names(text, gone) != text for text in texts)


def _points(
    store: Store,
    layout: Layout,
    pointing: Sequence[str],
    naming: Sequence[str],
    rows: Mapping[int, Any],
    gone: Named,
) -> list[tuple[str, int]]:
    """Parts of other shards that name removed rows."""
    parts = [(f, s) for f in (*pointing, *naming) for s in sorted(store.parts(f)) if s not in rows]

    def names(place: int) -> bool:
        folder, shard = parts[place]
        part = store.read_part(folder, shard)
        if VERDICT in part.column_names:
            return any(without_names(text, gone) != text for text in Verdicts.of(part).texts)
        return names_removed(part, gone)

    return [parts[place] for place, hit in enumerate(in_threads(names, len(parts))) if hit]


def _robots(store: Store, layout: Layout, hosts: Named) -> list[str]:
    """Files that hold the robots.txt of a removed host."""
    names = [f"{f}/{name}" for f in layout.robots for name in sorted(store.names(f)) if name.endswith(".parquet")]
    return [name for name in names if hosts.hosts(hosts_of(origins(store, name))).any()]


def origins(store: Store, name: str) -> pl.Series:
    """The origins of a file of robots.txt, as urls."""
    urls: pl.Series = pl.Series(store.read_file(name, ["origin"])["origin"]).cast(pl.String) + "/"
    return urls


def _training_shards(
    store: Store, layout: Layout, manifest: Manifest, gone: Named
) -> tuple[dict[str, list[int]], list[str], list[str]]:
    """By the URL of their folder, numbers of the shards that change; folders that are gone; those not finished."""
    places = {f"{store.url}/{name}" for name in layout.shards}
    places |= {note["done"]["to"] for note in store.read_jsons([f"{WRITTEN}/{n}" for n in notes_of(store)])}
    places |= {run.written["to"] for run in manifest.runs.values() if "to" in run.written}
    shards, lost, unfinished = {}, [], []
    for place in sorted(places):
        folder = Folder(place)
        names = folder.names()
        if "manifest.json" in names:
            if numbers := hit_shards(folder, gone):
                shards[place] = numbers
        elif place.removeprefix(f"{store.url}/") in layout.shards:
            unfinished.append(place.removeprefix(f"{store.url}/"))
        else:
            lost.append(place)
    return shards, lost, unfinished


def notes_of(store: Store) -> list[str]:
    """Names of the notes of write steps."""
    return sorted(name for name in store.names(WRITTEN) if name.endswith(".json") and not name.startswith("."))


def _counts(store: Store, manifest: Manifest, rows: Mapping[int, np.ndarray]) -> dict[str, dict[str, int]]:
    """By keep table: removed rows that entered its step, by their verdict; and their copies."""
    counts: dict[str, dict[str, int]] = {}
    for folder, entry in manifest.tables.items():
        if not isinstance(entry, Keep):
            continue
        total: Counter[str] = Counter()
        for shard, numbers in rows.items():
            if (part := store.try_part(folder, shard)) is None:
                continue
            verdicts = Verdicts.of(part)
            entered = numbers
            if entry.after and (before := store.try_part(entry.after, shard)) is not None:
                entered = numbers[Verdicts.of(before).kept[numbers]]
            total.update(verdicts.texts[code] for code in verdicts.codes[entered].tolist())
            total.update({} if verdicts.copies is None else {TAKEN: int(verdicts.copies[entered].sum())})
        counts[folder] = dict(total)
    return counts


def _without_image(store: Store, manifest: Manifest, rows: Mapping[int, np.ndarray]) -> dict[str, dict[str, int]]:
    """By the folder that a run wrote: kept rows without an image, by status, once the removed ones are gone."""
    images, counts = manifest.current.get("images"), {}
    for run in manifest.runs.values():
        if not run.written.get("without_image") or not images:
            continue
        lacking = Counter(run.written["without_image"])
        for shard, numbers in rows.items():
            kept = View(store, keep=run.keep).kept(shard)
            inside = numbers if kept is None else numbers[kept[numbers]]
            status = store.read_part(images, shard, ["status"])["status"].to_pylist()
            lacking.subtract(status[row] for row in inside.tolist() if status[row] != "success")
        counts[run.written["to"]] = {word: n for word, n in lacking.items() if n > 0}
    return counts


def files_of(store: Store, layout: Layout, plan: Plan, rows: Mapping[int, Any]) -> dict[str, Folder]:
    """Every file that the plan may change or delete, by its name, with the folder that it lies in."""
    names = [name for shard in rows for name in layout.files(shard)]
    names += [store.part(folder, shard) for folder, shard in plan.points] + plan.robots
    for name in plan.delete:
        names += _below(store, name)
    files: dict[str, Folder] = dict.fromkeys(names, store)
    if plan.shards:
        files |= dict.fromkeys([f"{WRITTEN}/{name}" for name in notes_of(store)], store)
    for place, numbers in plan.shards.items():
        inside = place.startswith(f"{store.url}/")
        prefix, folder = place.removeprefix(f"{store.url}/"), Folder(place)
        files |= {f"{prefix}/{name}": store if inside else folder for name in hit_files(folder, numbers)}
    return files


def _below(store: Store, name: str) -> list[str]:
    """A file, or all files in a folder."""
    root = store.path("")
    return sorted(path.removeprefix(f"{root}/") for path in store.fs.find(store.path(name)))
