"""The rows that an op judges together: those of a store and, with `against`, those of stores that were there first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from curate.alike.against_old import OldStore
from curate.annotate.kept_keys import key_column, with_keys
from curate.annotate.pool import pool_rows, rows_inside
from curate.arrays.arrow_columns import flat
from curate.errors import CurateError
from curate.filter.step import types_of
from curate.library.op_names import op_name
from curate.op import Grouped, Op, OutsideRows
from curate.store.view import View


@dataclass(frozen=True)
class OldShard:
    """store: place of its store in `against`. shard: its number there. rows: their number."""

    store: int
    shard: int
    rows: int


@dataclass(frozen=True)
class AllRows:
    """Shards of old stores have negative numbers, in the order of `against`: they stand before shard 0, as if they had
    been read first.

    view: of the store that is worked on. old_views: of the old stores. old_shards: by their negative numbers.
    outside: rows that an op brings along; its pieces have negative numbers, too (no op has both).
    key: the column of these views that has the op's keys, where a store keeps them.
    """

    view: View
    old_views: tuple[View, ...] = ()
    old_shards: Mapping[int, OldShard] = field(default_factory=dict)
    outside: OutsideRows | None = None
    key: str = ""

    @classmethod
    def of(cls, view: View, op: Op, old: Sequence[OldStore] = ()) -> AllRows:
        """
        Raises:
            CurateError: when a column has another type in an old store.
        """
        for store in old:
            _check(view, op, store)
        shards = [
            OldShard(place, shard, rows)
            for place, store in enumerate(old)
            for shard, rows in store.manifest.shard_rows().items()
        ]
        outside = op.outside() if isinstance(op, Grouped) else None
        ours, *theirs = with_keys(view, op), *(with_keys(store.view, op, store.manifest) for store in old)
        return cls(ours, tuple(theirs), dict(enumerate(shards, -len(shards))), outside, key_column(op))

    @property
    def has_others(self) -> bool:
        """Whether rows take part that are not of the store that is worked on."""
        return bool(self.old_shards) or self.outside is not None

    def sizes(self) -> dict[int, int]:
        """Shard number to row count, in order; for the driver, which has the manifest."""
        others = {shard: old.rows for shard, old in self.old_shards.items()}
        if self.outside:
            pieces = self.outside.sizes
            others = dict(enumerate(pieces, -len(pieces)))
        return {**others, **self.view.store.shard_rows()}

    def read(self, shard: int, columns: Sequence[str]) -> pa.Table:
        """As View.read."""
        return self.pool_rows(shard, columns)[1] if self.outside else self._of_store(shard, columns)

    def _of_store(self, shard: int, columns: Sequence[str]) -> pa.Table:
        view, number = self._place(shard)
        return view.read(number, columns)

    def pool_rows(self, shard: int, columns: Sequence[str]) -> tuple[np.ndarray, pa.Table]:
        """Numbers of the rows of a shard that are in the pool, and their columns; nulls are the op's to judge."""
        if self.outside and shard < 0:
            table = self.outside.read(len(self.outside.sizes) + shard, columns)
            return np.arange(table.num_rows), table
        view, number = self._place(shard)
        others = self.outside.schema if self.outside else {}
        own = [name for name in columns if name not in others]
        if own or not columns:
            rows, _, table = pool_rows(view, number, own, nulls=True)
        else:
            rows, table = np.flatnonzero(rows_inside(view, number)), None
        if not others:
            return rows, table
        return rows, pa.table({n: pa.nulls(len(rows), others[n]) if n in others else table[n] for n in columns})

    def keeps_keys(self, shard: int) -> bool:
        """Whether the store of a shard keeps the op's keys: they are read, not made of what the op reads."""
        of_a_store = self.outside is None or shard >= 0
        return of_a_store and self.key in self._place(shard)[0].columns

    def placed(self, shard: int, rows: np.ndarray, carried: pa.Table) -> dict[str, pa.Array]:
        """Columns that go with a key: the row's place, its old store where there are some, and what the op carries."""
        place = {"shard": pa.array(np.full(len(rows), shard, np.int32)), "row": pa.array(rows, pa.int32())}
        if self.old_views:
            store = [self.old_shards[shard].store if shard < 0 else None]
            place["old_store"] = pa.array(store, pa.uint32()).take(pa.array(np.zeros(len(rows), np.int64)))
        return place | {name: flat(carried[name]) for name in carried.column_names}

    def _place(self, shard: int) -> tuple[View, int]:
        if shard >= 0:
            return self.view, shard
        old = self.old_shards[shard]
        return self.old_views[old.store], old.shard


def _check(view: View, op: Op, old: OldStore) -> None:
    name = op_name(type(op))
    ours, theirs = (types_of(store, op.reads()) for store in (view, old.view))
    for column in op.reads():
        if ours[column] != theirs[column]:
            raise CurateError(
                f"{name}: column '{column}' is {theirs[column]} in {old.name} and {ours[column]} in {view.store.url}: "
                "values of two types are never equal"
            )
