"""Semantic duplicates: rows of a cluster whose embeddings are close, by the rule of SemDeDup or as linked groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, model_validator

from curate.alike.forest import components
from curate.alike.row_key import row_keys
from curate.alike.vector_pairs import close_pairs, earlier_max
from curate.arrays.string_hash import hash_strings
from curate.arrays.vectors import lengths, read_vectors, unit_rows
from curate.errors import CurateError
from curate.library.names import in_sql
from curate.models.made_by import refuse_older
from curate.op import Grouped, Rows


class Semantic(Grouped):
    """SemDeDup: the rows of a cluster stand in an order, and a row goes if it is closer than 1 - eps to any row before
    it, to one that goes itself too. `<table>_max` is its greatest cosine with a row before it (0 for the first), so
    other values of eps are a filter away; `<table>_of` the uid of that row if it is over 1 - eps, else null.
    Table: `semantic_<by>`. balance.clusters with the same `by` comes first.

    by: a column of embeddings; similarities of another model mean other things, so eps goes with the column.
    eps: larger removes more. Published, for CLIP: .03 keeps 72 % of LAION-440M, .07 63 %, .124 50 %.
    which: who comes first in the order, and stays: `hard` the row farthest from the centroid, as published; `easy` the
        nearest; `random` by a seeded hash of uid. Equals go by uid. With `linked` also `middle`.
    rule: `earlier` is SemDeDup; `linked` joins all pairs over 1 - eps into groups, of which one row stays, and makes
        `<table>_of` and `<table>_size`. A group chains: its ends may be far apart.
    spread: a column of booleans, with `linked`: `<table>_<spread>` is true for all rows of a group where it is true for
        one. With `near_eval` of dedupe.decontaminate, whole groups are dropped, as DINOv2 does of cosines over .45.
    largest: a cluster of more rows is halved, by the side of a random direction, until its parts are as small; close
        rows fall on different sides now and then. Time grows with the square of this.

    Images of one colour are near each other whatever their captions say: a filter `phash IS NOT NULL` before takes them
    out. Nearly flat pictures are not: of 45 real ones (deviation of grey levels 2 to 16) no two of different pixels had
    a cosine over .95 by the embedded encoder.
    """

    cite: ClassVar[str] = "Abbas et al., SemDeDup: Data-efficient learning through semantic deduplication, 2023"
    batch_size: int = 10_000
    by: str
    eps: float = Field(0.05, gt=0, lt=2)
    which: Literal["hard", "easy", "random", "middle"] = "hard"
    rule: Literal["earlier", "linked"] = "earlier"
    spread: str = ""
    seed: int = Field(1234, ge=0)
    largest: int = Field(100_000, ge=2)
    cluster: str = ""

    @model_validator(mode="after")
    def _known(self) -> Semantic:
        if self.which == "middle" and self.rule != "linked":
            raise ValueError("which: middle goes with rule: linked only")
        if self.spread and self.rule != "linked":
            raise ValueError("spread goes with rule: linked only")
        return self

    def table(self) -> str:
        return self.name or f"semantic_{self.by}"

    def packages(self) -> tuple[str, ...]:
        return ("numba",)

    def makes(self) -> dict[str, pa.DataType]:
        more: dict[str, pa.DataType] = {"max": pa.float32()} if self.rule == "earlier" else {"size": pa.uint32()}
        if self.spread:
            more[self.spread] = pa.bool_()
        return {f"{self.table()}_of": pa.string()} | {f"{self.table()}_{name}": kind for name, kind in more.items()}

    def _cluster(self) -> str:
        return self.cluster or f"{self.by}_cluster"

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self._cluster(), *self.carries())))

    def carries(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("uid", self.by, f"{self._cluster()}_cos", *([self.spread] if self.spread else []))))

    def decision(self) -> dict[str, Any]:
        of, _, *spread = self.makes()
        keep = [{"if": f"{in_sql(marked)} IS NOT TRUE", "else": f"in a group with {self.spread}"} for marked in spread]
        keep.append({"if": f"{in_sql(of)} IS NULL", "else": f"means nearly the same as another row ({self.by})"})
        return {"name": "semantic_duplicates", "keep": keep}

    def replaces(self) -> tuple[str, ...]:
        return (self.spread,) if self.spread else ()

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)
        clusters = made_by[self._cluster()]
        of = clusters.get("options", {}).get("by", self.by)
        if of != self.by:
            raise CurateError(
                f"dedupe.semantic: '{self._cluster()}' are clusters of '{of}', not of '{self.by}': rows that one model "
                f"puts close lie in several; run balance.clusters: {{by: {self.by}}} first"
            )

    def keys(self, rows: Rows) -> pa.Array:
        cluster, column = pl.Series(rows[self._cluster()]).cast(pl.String), rows[self.by]
        widths, good = lengths(column, self.by), np.zeros(len(rows), bool)
        for length in np.unique(widths[widths > 0]).tolist():
            places = np.flatnonzero(widths == length)
            good[places] = read_vectors(column.take(pa.array(places)), self.by, length).good
        # Vectors of two lengths lie in one cluster where the clusters are the input's: they never meet.
        names = cluster + pl.Series([f"/{length}" for length in widths.tolist()], dtype=pl.String)
        return row_keys([names.zip_with(pl.Series(good), pl.Series([None], dtype=pl.String))])

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        parts = rows.partition_by("key") if len(rows) else [rows]
        return pl.concat([self._judged(part) for part in parts])

    def _judged(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One cluster."""
        rows = rows[self._order(rows)]
        unit = unit_rows(rows[self.by].to_arrow(), self.by) if len(rows) else np.empty((0, 1), np.float32)
        target = np.full(len(rows), -1, np.int64)
        value = np.zeros(len(rows), np.float32 if self.rule == "earlier" else np.uint32)
        for part in self._parts(unit, np.arange(len(rows)), 0):
            if self.rule == "earlier":
                value[part], place = earlier_max(unit[part])
                near = value[part] > 1 - self.eps
            else:
                value[part], place = self._linked(unit[part])
                near = place != np.arange(len(part))
            target[part[near]] = part[place[near]]
        of = rows["uid"].gather(pl.Series(target, dtype=pl.Int64).set(pl.Series(target < 0), None))
        first, second, *spread = self.makes()
        table = rows.select("shard", "row", of.alias(first), pl.Series(second, value))
        if not spread:
            return table
        group = pl.Series(np.where(target < 0, np.arange(len(rows)), target))
        marked = rows.select(pl.col(self.spread).fill_null(False).any().over(group))
        return table.with_columns(marked.to_series().alias(spread[0]))

    def _order(self, rows: pl.DataFrame) -> np.ndarray:
        uids = rows["uid"].to_list()
        if self.which == "random":
            return np.lexsort((np.array(uids), hash_strings([f"{self.seed}:{uid}" for uid in uids])))
        cos = rows[f"{self._cluster()}_cos"].to_numpy()
        return np.lexsort((np.array(uids), -cos if self.which == "easy" else cos))

    def _parts(self, unit: np.ndarray, part: np.ndarray, depth: int) -> list[np.ndarray]:
        """Places of a cluster in runs of `largest` or fewer, each in the cluster's order."""
        if len(part) <= self.largest:
            return [part]
        direction = np.random.default_rng([self.seed, depth]).standard_normal(unit.shape[1:]).astype(np.float32)
        ranks = np.argsort(unit[part] @ direction, kind="stable")
        halves = np.sort(ranks[: len(part) // 2]), np.sort(ranks[len(part) // 2 :])
        return [small for half in halves for small in self._parts(unit, part[half], depth + 1)]

    def _linked(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(size of each row's group, place of the row of it that stays)."""
        a, b = close_pairs(unit, 1 - self.eps)
        nodes, labels, _ = components(a, b, np.ones(len(a)), 1)
        group = np.arange(len(unit))
        group[nodes] = labels
        size = np.bincount(group, minlength=len(unit))[group]
        # A label is the first place of its group, and places stand in the order of `which`.
        if self.which != "middle":
            return size, group
        members = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[members], group)
        return size, members[starts + size // 2]
