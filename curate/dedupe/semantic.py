"""Semantic duplicates: rows of a cluster whose embeddings are close, by the rule of SemDeDup or as linked groups."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, model_validator

from curate.alike.against_old import AgainstOld, OldStore, old_stores
from curate.alike.borders import Sample, parted, places_of
from curate.alike.forest import components
from curate.alike.nearest_mean import nearest_mean
from curate.alike.row_key import row_keys
from curate.alike.vector_pairs import close_pairs, earlier_max
from curate.arrays.string_hash import hash_pairs, hash_strings
from curate.arrays.vectors import lengths, read_vectors, unit_rows
from curate.errors import CurateError
from curate.library.names import in_sql
from curate.models.made_by import refuse_older
from curate.op import Grouped, Rows, Summed


class Semantic(AgainstOld, Grouped):
    """SemDeDup: the rows of a cluster stand in an order, and a row goes if it is closer than 1 - eps to any row before
    it, to one that goes itself too. `<table>_max` is its greatest cosine with a row before it (0 for the first), so
    other values of eps are a filter away; `<table>_of` the uid of that row if it is over 1 - eps, else null.
    Table: `semantic_<by>`. balance.clusters with the same `by` comes first.

    by: a column of embeddings; similarities of another model mean other things, so eps goes with the column.
    eps: larger removes more. Published, for CLIP: .03 keeps 72 % of LAION-440M, .07 63 %, .124 50 %.
    which: who comes first in the order, and stays: `hard` the row farthest from the centroid, as published; `easy` the
        nearest; `random` by a seeded hash of uid. Equals go by uid. With `linked` also `middle`, and `mean`: the row
        nearest the mean of its group's vectors, as CLIP-CID and DanQing (eps .1) keep; cosines within 1e-6 are equal.
    rule: `earlier` is SemDeDup; `linked` joins all pairs over 1 - eps into groups, of which one row stays, and makes
        `<table>_of` and `<table>_size`. A group chains: its ends may be far apart.
    spread: a column of booleans, with `linked`: `<table>_<spread>` is true for all rows of a group where it is true for
        one. With `near_eval` of dedupe.decontaminate, whole groups are dropped, as DINOv2 does of cosines over .45.
    nearest: rows are compared within so many clusters, those of their nearest centroids: 2 finds close rows on two
        sides of a border. balance.clusters needs `nearest` of as many. With `earlier` only; 1 is as published.
    against: stores whose rows were there first, as in dedupe.exact: they come before every new row, only new ones are
        judged, and `<table>_store` names the store of an old row that `<table>_of` names. Their embeddings are to be of
        the same model, and their clusters of the same centroids: balance.clusters with `centroids: OLD` makes those.
    sampled: rows whose close rows are looked for among all, for the report (`curate show`): `parted` is the share of
        pairs over 1 - eps that lie in different clusters, so are not found; with `nearest: 2`, `parted_nearest_2` is
        the share that still is not. 0: no report.
    largest: a cluster of more rows is halved, by the side of a random direction, until its parts are as small; close
        rows fall on different sides now and then. Time grows with the square of this.

    Images of one colour are near each other whatever their captions say: a filter `phash IS NOT NULL` before takes them
    out. Nearly flat pictures are not: of 45 real ones (deviation of grey levels 2 to 16) no two of different pixels had
    a cosine over .95 by the embedded encoder.
    """

    cite: ClassVar[str] = "Abbas et al., SemDeDup: Data-efficient learning through semantic deduplication, 2023"
    how: ClassVar[frozenset[str]] = Grouped.how | {"sampled"}
    batch_size: int = 10_000
    by: str
    eps: float = Field(0.05, gt=0, lt=2)
    which: Literal["hard", "easy", "random", "middle", "mean"] = "hard"
    rule: Literal["earlier", "linked"] = "earlier"
    spread: str = ""
    seed: int = Field(1234, ge=0)
    largest: int = Field(100_000, ge=2)
    cluster: str = ""
    nearest: int = Field(1, ge=1, le=8)
    sampled: int = Field(256, ge=0, le=10_000)

    @model_validator(mode="after")
    def _known(self) -> Semantic:
        if self.which in ("middle", "mean") and self.rule != "linked":
            raise ValueError(f"which: {self.which} goes with rule: linked only")
        if self.spread and self.rule != "linked":
            raise ValueError("spread goes with rule: linked only")
        if self.nearest > 1 and self.rule != "earlier":
            raise ValueError("nearest goes with rule: earlier only")
        return self

    def spec(self) -> dict[str, Any]:
        spec = super().spec()
        if self.nearest == 1:
            # Tables keep the identity that they had before there was the option.
            del spec["options"]["nearest"]
        return spec

    def table(self) -> str:
        return self.name or f"semantic_{self.by}"

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def makes(self) -> dict[str, pa.DataType]:
        more: dict[str, pa.DataType] = {"max": pa.float32()} if self.rule == "earlier" else {"size": pa.uint32()}
        if self.spread:
            more[self.spread] = pa.bool_()
        own = {f"{self.table()}_{name}": kind for name, kind in more.items()}
        return {f"{self.table()}_of": pa.string(), **own, **self.store_column()}

    def _cluster(self) -> str:
        return self.cluster or f"{self.by}_cluster"

    def _clusters(self) -> tuple[str, ...]:
        """The columns of clusters, that of the nearest centroid first."""
        return (self._cluster(), *(f"{self._cluster()}_{number}" for number in range(2, self.nearest + 1)))

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._clusters(), *self.carries())))

    def carries(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("uid", self.by, f"{self._cluster()}_cos", *([self.spread] if self.spread else []))))

    def decision(self) -> dict[str, Any]:
        reason = f"means nearly the same as another row ({self.by})"
        marked = f"{self.table()}_{self.spread}"
        spread = {"if": f"{in_sql(marked)} IS NOT TRUE", "else": f"in a group with {self.spread}"}
        keep = [*([spread] if self.spread else []), *self.not_in_old(reason)]
        keep.append({"if": f"{in_sql(f'{self.table()}_of')} IS NULL", "else": reason})
        return {"name": "semantic_duplicates", "keep": keep}

    def replaces(self) -> tuple[str, ...]:
        return (self.spread,) if self.spread else ()

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)
        # Another model first: its clusters are others in any case.
        for old in old_stores(self):
            if fault := old.fault(self.by, made_by.get(self.by, {})):
                raise CurateError(f"dedupe.semantic: {fault}")
        super().check_reads(made_by)
        clusters = made_by[self._cluster()]
        of = clusters.get("options", {}).get("by", self.by)
        if of != self.by:
            raise CurateError(
                f"dedupe.semantic: '{self._cluster()}' are clusters of '{of}', not of '{self.by}': rows that one model "
                f"puts close lie in several; run balance.clusters: {{by: {self.by}}} first"
            )

    def fault_of(self, old: OldStore, column: str, ours: Mapping[str, Any]) -> str:
        folder = old.view.columns.get(column)
        if column not in (*self._clusters(), f"{self._cluster()}_cos") or folder is None:
            return old.fault(column, ours)
        theirs = old.learned(folder)
        if (ours.get("op") or old.manifest.op_of(folder)) and (not theirs or theirs != ours.get("weights")):
            return (
                f"'{column}' of {old.name} are clusters of other centroids than here: run balance.clusters: "
                f"{{by: {self.by}, centroids: {old.name}}} first, in this store and in other old ones"
            )
        return old.unready(column)

    def bands(self) -> int:
        return self.nearest

    def keys(self, rows: Rows) -> pa.Array | list[pa.Array]:
        column = rows[self.by]
        widths, good = lengths(column, self.by), np.zeros(len(rows), bool)
        for length in np.unique(widths[widths > 0]).tolist():
            places = np.flatnonzero(widths == length)
            good[places] = read_vectors(column.take(pa.array(places)), self.by, length).good
        # Vectors of two lengths lie in one cluster where the clusters are the input's: they never meet.
        ends = pl.Series([f"/{length}" for length in widths.tolist()], dtype=pl.String)
        names = [pl.Series(rows[cluster]).cast(pl.String) + ends for cluster in self._clusters()]
        keys = [row_keys([name.zip_with(pl.Series(good), pl.Series([None], dtype=pl.String))]) for name in names]
        return keys if self.nearest > 1 else keys[0]

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        parts = rows.partition_by("key") if len(rows) else [rows]
        return pl.concat([self._judged(part) for part in parts])

    def _judged(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One cluster."""
        rows = rows[self._order(rows)]
        unit = unit_rows(rows[self.by].to_arrow(), self.by) if len(rows) else np.empty((0, 1), np.float32)
        old = rows["old_store"].is_not_null().to_numpy() if "old_store" in rows.columns else np.zeros(len(rows), bool)
        target, alone = np.full(len(rows), -1, np.int64), np.zeros(len(rows), bool)
        value = np.zeros(len(rows), np.float32 if self.rule == "earlier" else np.uint32)
        for part in self._parts(unit, np.arange(len(rows)), 0):
            # Old rows come first.
            if self.rule == "earlier":
                value[part], place = earlier_max(unit[part], first=int(old[part].sum()))
                near, alone[part] = value[part] > 1 - self.eps, place < 0
            else:
                value[part], place = self._linked(unit[part], int(old[part].sum()))
                near = place != np.arange(len(part))
            target[part[near]] = part[place[near]]
        of, size, *_ = self.makes()
        values = pl.Series(size, value)
        if self.nearest > 1:
            # A row may be the first in one of its clusters and not in another: see `merge`.
            values = values.set(pl.Series(alone), None)
        places = pl.Series(target, dtype=pl.Int64).set(pl.Series(target < 0), None)
        columns = [rows["uid"].gather(places).alias(of), values]
        if self.spread:
            group = pl.Series(np.where(target < 0, np.arange(len(rows)), target))
            marked = rows.select(pl.col(self.spread).fill_null(False).any().over(group)).to_series()
            columns.append(marked.alias(f"{self.table()}_{self.spread}"))
        for store in self.store_column():
            names = pl.Series(self.against, dtype=pl.String)
            columns.append(names.gather(rows["old_store"].gather(places)).alias(store))
        return rows.select("shard", "row", *columns)

    def merge(self, verdicts: pl.DataFrame) -> pl.DataFrame:
        of, most, *_ = self.makes()
        best = verdicts.sort("shard", "row", most, of, descending=[False, False, True, False], nulls_last=True)
        return best.unique(["shard", "row"], keep="first", maintain_order=True).with_columns(pl.col(most).fill_null(0))

    def report(self, summed: Summed) -> dict[str, Any]:
        if not self.sampled:
            return {}
        sample: Sample | None = summed(self._sample)
        if sample is None or not len(sample.ranks):
            return {}
        pairs, *parted = summed(partial(self._parted, sample)).tolist()
        shares = {f"parted_nearest_{i}" if i > 1 else "parted": n / pairs for i, n in enumerate(parted, 1) if pairs}
        return {"sampled_rows": len(sample.ranks), "close_pairs": pairs, **shares}

    def _rows_clusters(self, rows: Rows) -> np.ndarray:
        """int64[n, nearest]; -1 where there is none."""
        columns = [pl.Series(rows[name]).cast(pl.Int64).fill_null(-1).to_numpy() for name in self._clusters()]
        return np.stack(columns, axis=1)

    def _sample(self, rows: Rows) -> Sample:
        new = rows["shard"].to_numpy() >= 0
        hashes = hash_strings(rows["uid"])
        ranks = hash_pairs(hashes, hashes, self.seed)
        return Sample.of(ranks, new, places_of(rows), rows[self.by], self.by, self._rows_clusters(rows), self.sampled)

    def _parted(self, sample: Sample, rows: Rows) -> np.ndarray:
        clusters = self._rows_clusters(rows)
        return parted(sample, places_of(rows), rows[self.by], self.by, clusters, 1 - self.eps)

    def _order(self, rows: pl.DataFrame) -> np.ndarray:
        """Places in the order of `which`, old rows first."""
        uids = rows["uid"].to_list()
        old_first = [rows["old_store"].is_null().to_numpy()] if "old_store" in rows.columns else []
        if self.which == "random":
            return np.lexsort((np.array(uids), hash_strings([f"{self.seed}:{uid}" for uid in uids]), *old_first))
        if self.which == "mean":
            return np.lexsort((np.array(uids), *old_first))
        cos = rows[f"{self._cluster()}_cos"].to_numpy()
        return np.lexsort((np.array(uids), -cos if self.which == "easy" else cos, *old_first))

    def _parts(self, unit: np.ndarray, part: np.ndarray, depth: int) -> list[np.ndarray]:
        """Places of a cluster in runs of `largest` or fewer, each in the cluster's order."""
        if len(part) <= self.largest:
            return [part]
        direction = np.random.default_rng([self.seed, depth]).standard_normal(unit.shape[1:]).astype(np.float32)
        ranks = np.argsort(unit[part] @ direction, kind="stable")
        halves = np.sort(ranks[: len(part) // 2]), np.sort(ranks[len(part) // 2 :])
        return [small for half in halves for small in self._parts(unit, part[half], depth + 1)]

    def _linked(self, unit: np.ndarray, old: int) -> tuple[np.ndarray, np.ndarray]:
        """(size of each row's group, place of the row of it that stays). old: so many first rows are old ones."""
        a, b = close_pairs(unit, 1 - self.eps)
        nodes, labels, _ = components(a, b, np.ones(len(a)), 1)
        group = np.arange(len(unit))
        group[nodes] = labels
        size = np.bincount(group, minlength=len(unit))[group]
        # A label is the first place of its group, and places stand in the order of `which`.
        if self.which not in ("middle", "mean"):
            return size, group
        members = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[members], group)
        # Of a group with old rows one of these stays.
        stays_of = np.bincount(group[:old], minlength=len(unit))[group]
        if self.which == "mean":
            return size, nearest_mean(unit, group, members, np.where(stays_of > 0, stays_of, size))
        return size, members[starts + np.where(stays_of > 0, stays_of, size) // 2]
