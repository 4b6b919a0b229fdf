"""Which rows of a store the rules name: one pass over urls, uids and the hashes of image files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from curate.cluster.cluster import Cluster
from curate.cluster.many_shards import each_run, shard_runs
from curate.filter.decide import decision
from curate.filter.rule import Filter
from curate.filter.step import check_columns, types_of
from curate.refuse.keys import keys_of
from curate.refuse.matching import Named
from curate.store.view import View

WHERE = "where"


@dataclass(frozen=True)
class Hits:
    """Rows of one shard. rules: for each the rule that named it. keys: by kind, of what they show: `uid` has one for
    each row, the others those of the rows that show something."""

    shard: int
    rows: np.ndarray
    rules: list[str]
    keys: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Search:
    """The job. where: the filter that keeps the rows to be removed. images: folders of images."""

    view: View
    named: Named
    where: Filter | None
    images: Sequence[str]
    runs: Sequence[range]

    def look(self, run: int) -> list[Hits]:
        return [hits for shard in self.runs[run] if (hits := self._shard(shard)) is not None]

    def _shard(self, shard: int) -> Hits | None:
        rows = self._known(shard)
        rules = self.named.by({name: texts for name, texts in rows.items() if name != "uid" or "uid" in self._kinds})
        if not len(rules):
            rules = np.full(len(rows["uid"]), None, object)
        if self.where is not None:
            names = list(dict.fromkeys([*self.where.needs(), "uid"]))
            chosen = decision(self.view.frame(shard, names), self.where).codes == 0
            rules[chosen & (rules == None)] = WHERE  # noqa: E711 - of each element
        rules[rows["uid"].is_null().to_numpy()] = None  # removed before
        places = np.flatnonzero(rules != None)  # noqa: E711
        if not len(places):
            return None
        keys = {}
        for kind, texts in rows.items():
            keys[kind] = keys_of(kind, texts.gather(places).drop_nulls().cast(pl.String))
        return Hits(shard, places, rules[places].tolist(), keys)

    @property
    def _kinds(self) -> frozenset[str]:
        return self.named.kinds

    def _known(self, shard: int) -> dict[str, pl.Series]:
        """uid, url and sha256 of each row."""
        records = self.view.store.read_part("records", shard, ["uid", "url"])
        rows = {name: pl.Series(records[name]) for name in ("uid", "url")}
        hashes = []
        for folder in self.images:
            part = self.view.store.try_part(folder, shard)
            if part is not None and "sha256" in part.column_names:
                hashes.append(pl.Series(part["sha256"]).cast(pl.String))
        if hashes:
            rows["sha256"] = hashes[0]
            for more in hashes[1:]:
                rows["sha256"] = rows["sha256"].zip_with(rows["sha256"].is_not_null(), more)
        return rows


def condition_of(view: View, sql: str) -> Filter | None:
    """The filter that keeps the rows that a condition names.

    Raises:
        CurateError: for what is no condition, or a column that is not there.
    """
    if not sql:
        return None
    from curate.filter.rule import load_filter

    rule = load_filter({"name": "remove", "keep": [{"if": sql, "else": "stays"}]}, "--where")
    check_columns(rule, view.columns)
    check_columns(rule, types_of(view, rule.needs()) or view.columns)
    return rule


def search(
    view: View, named: Named, where: Filter | None, images: Sequence[str], cluster: Cluster | None
) -> list[Hits]:
    """The rows that are named, shard by shard, in order."""
    rows = view.store.shard_rows()
    job = Search(view, named, where, tuple(images), shard_runs(rows))
    several = each_run("remove: search", job.look, job.runs, rows, cluster)
    return sorted((hits for some in several for hits in some), key=lambda hits: hits.shard)
