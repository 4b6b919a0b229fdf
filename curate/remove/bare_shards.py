"""Training shards without a store: of curate, or of img2dataset in its layouts webdataset, parquet and files.

    00000.tar + 00000.parquet       samples as members of a tar, facts in the parquet, also of rows that failed
    00000.parquet                   samples as rows, the image in a column
    00000/ + 00000.parquet          samples as files in a folder
    00000_stats.json                counts

A tar, or a folder, is dealt with first, then the parquet, which says until then which samples go. Tombstones and the
certificate lie in `removed/`, as in a store.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import CurateError
from curate.filter.decide import decision
from curate.filter.rule import Filter, load_filter
from curate.filter.step import check_columns
from curate.refuse.keys import keys_of
from curate.refuse.matching import Named
from curate.refuse.tombstones import Tombstone, read_tombstones, write_tombstones
from curate.remove.certificate import write_certificate
from curate.remove.plan import SHOWN, Plan, facts_of, named_by, read_before, read_keys, save_before, save_keys
from curate.remove.rules import Rules
from curate.remove.search import WHERE
from curate.remove.step import NOTHING, Removed, now
from curate.remove.training_shards import drop_files, hit_files, rewrite, shard_numbers, table_bytes
from curate.store.folder import Folder, shard_name
from curate.store.lease import NAME as LEASE
from curate.store.lease import leased
from curate.store.removal import REMOVED, UNDER_WAY
from curate.store.store import Store

#: The rule under which uids of removed rows are kept.
ROWS = "rows"

#: Names of a parquet's columns, by what they hold.
_COLUMNS = {"uid": ("uid",), "url": ("url", "URL"), "sha256": ("sha256",), "md5": ("md5",)}


def remove_from_shards(folder: Store, rules: Rules) -> Removed:
    """Remove samples from a folder of shards; ends a removal that was stopped first.

    Raises:
        CurateError: when there are no shards, nothing is named, or a rule asks for what their parquet does not hold.
    """
    if not shard_numbers(folder.names()):
        raise CurateError(f"'{folder.url}' has no manifest.json and no shards (00000.parquet): nothing can be removed")
    with leased(folder, rules.command(folder.url)):
        stopped = Plan.under_way(folder)
        done = _done(folder, stopped) if stopped else None
        plan = _planned(folder, rules, now()) if rules else None
        if plan is None:
            folder.remove(UNDER_WAY)
        removed = _done(folder, plan) if plan else done
    folder.remove(LEASE)  # here it is a file that nobody expects
    if removed is None and not rules:
        raise CurateError("name what is to be removed: --urls, --host, --sha256, --uids or --where")
    return removed or NOTHING


def _planned(folder: Store, rules: Rules, when: str) -> Plan | None:
    numbers = shard_numbers(folder.names())
    named, where = rules.named(), _condition(folder, numbers[0], rules.where)
    hit, counts, rows = [], dict.fromkeys([*rules.keys, *([WHERE] if rules.where else [])], 0), 0
    stones = [Tombstone(kind, kind, key) for kind, keys in sorted(rules.keys.items()) for key in keys]
    for number in numbers:
        table = _read(folder, number)
        by = _named_rows(table, named, where, folder.url)
        if not by.any():
            continue
        hit.append(number)
        rows += int((by != None).sum())  # noqa: E711 - of each element
        for rule in by[by != None]:  # noqa: E711
            counts[rule] += 1
        # By these the rows are known again when a stopped removal goes on; only uids are kept as tombstones.
        rule = ROWS if "uid" in table.column_names else SHOWN
        chosen = _names(table, folder.url).filter(pl.Series(by != None))  # noqa: E711
        stones += [Tombstone("uid", rule, key) for key in keys_of("uid", chosen)]
    known = read_tombstones(folder)
    if not hit and all(known.keys.holds(stone.key[None])[0] for stone in stones):
        return None
    plan = Plan(
        version=max(folder.parts(REMOVED), default=0) + 1, when=when, command=rules.command(folder.url), rules=counts,
        asked={kind: len(keys) for kind, keys in rules.keys.items()}, tables=[], pointing=[], points=[], robots=[],
        shards={folder.url: hit}, counts={}, without_image={}, delete=[], anew=False, notes=[],
    )  # fmt: skip
    save_keys(folder, stones)
    save_before(folder, dict.fromkeys(hit_files(folder, hit), folder))
    plan.save(folder)
    return plan


def _condition(folder: Folder, number: int, sql: str) -> Filter | None:
    if not sql:
        return None
    rule = load_filter({"name": "remove", "where": {"removed": sql}}, "remove")
    check_columns(rule, dict(pl.DataFrame(pl.from_arrow(_read(folder, number).slice(0, 0))).schema))
    return rule


def _read(folder: Folder, number: int) -> pa.Table:
    with folder.open(f"{shard_name(number)}.parquet") as file:
        return pq.ParquetFile(file).read()


def _known(table: pa.Table) -> dict[str, pl.Series]:
    columns = {}
    for kind, names in _COLUMNS.items():
        name = next((name for name in names if name in table.column_names), None)
        if name:
            columns[kind] = pl.Series(table[name]).cast(pl.String)
    return columns


def _names(table: pa.Table, place: str) -> pl.Series:
    """What tells a row from the others: its uid, else its key."""
    name = next((name for name in ("uid", "key") if name in table.column_names), None)
    if name is None:
        raise CurateError(f"'{place}': its parquet has neither uid nor key: it has {', '.join(table.column_names)}")
    names: pl.Series = pl.Series(table[name]).cast(pl.String).fill_null("")
    return names


def _named_rows(table: pa.Table, named: Named, where: Filter | None, place: str) -> np.ndarray:
    """object[n]: for each row the rule that names it, None for others."""
    known = _known(table)
    for kind in sorted(named.kinds):
        if kind not in known and not (kind == "host" and "url" in known):
            raise CurateError(f"'{place}': its parquet has no column {kind}: it has {', '.join(table.column_names)}")
    by: np.ndarray = named.by({kind: texts for kind, texts in known.items() if kind in named.kinds or kind == "url"})
    if where is not None:
        chosen = decision(pl.DataFrame(pl.from_arrow(table.select(list(where.needs())))), where).codes == 0
        by[chosen & (by == None)] = WHERE  # noqa: E711
    return by


def _done(folder: Store, plan: Plan) -> Removed:
    stones = read_keys(folder)
    own = "manifest.json" in folder.names()
    gone = named_by([stone for stone in stones if stone.rule in (ROWS, SHOWN)], "uid")
    (numbers,) = plan.shards.values()
    if own:
        rewrite(folder, numbers, gone, plan.version)
    else:
        for number in numbers:
            _rewrite_one(folder, number, gone)
    write_tombstones(folder, plan.version, plan.when, [stone for stone in stones if stone.rule != SHOWN])
    before = read_before(folder)
    after = facts_of(dict.fromkeys(before, folder))
    text = write_certificate(folder, plan, before, after)
    folder.remove(UNDER_WAY)
    certificate = f"{folder.url}/{REMOVED}/{shard_name(plan.version)}.json"
    return Removed(sum(plan.rules.values()), plan.version, certificate, text)


def _rewrite_one(folder: Folder, number: int, gone: Named) -> None:
    name = shard_name(number)
    table = _read(folder, number)
    removed = gone.by({"uid": _names(table, folder.url)}) != None  # noqa: E711 - of each element
    if removed.any():
        keys = set(table["key"].filter(pa.array(removed)).to_pylist()) if "key" in table.column_names else set()
        drop_files(folder, name, keys)
        _count(folder, name, table, removed)
        folder.write_bytes(f"{name}.parquet", table_bytes(table, removed))


def _count(folder: Folder, name: str, table: pa.Table, removed: np.ndarray) -> None:
    """The statistics of a shard of the rows that stay, as its parquet tells them."""
    if not folder.exists(f"{name}_stats.json"):
        return
    stats: dict[str, Any] = json.loads(folder.read_bytes(f"{name}_stats.json"))
    stats["count"] = int((~removed).sum())
    if "status" in table.column_names:
        status = pl.Series(table["status"]).cast(pl.String).filter(pl.Series(~removed))
        count: Callable[[str], int] = lambda word: int((status == word).sum())  # noqa: E731
        stats |= {"successes": count("success"), "failed_to_download": count("failed_to_download")}
        stats["failed_to_resize"] = count("failed_to_resize")
        if "status_dict" in stats:
            errors = pl.Series(table["error_message"]).cast(pl.String).filter(pl.Series(~removed))
            words = status.to_frame("s").with_columns(e=errors).select(pl.coalesce("e", "s").alias("w"))
            stats["status_dict"] = dict(words["w"].value_counts().sort("w").iter_rows())
    folder.write_bytes(f"{name}_stats.json", json.dumps(stats, indent=4).encode())
