"""View: what a step sees of a store, which columns come from which tables, and which rows are still in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.errors import CurateError, unknown
from curate.store.manifest import Manifest
from curate.store.part_file import Part, rows_of
from curate.store.removal import words_of
from curate.store.store import Store
from curate.store.verdict import KEPT, Verdicts, verdict_of


@dataclass(frozen=True)
class View:
    """A store as it stands between two steps of a run.

    columns: column name to the folder of the table that holds it.
    keep: folder of the keep table that says which rows are still in; None means all of them.
    images: folder of the image tars; None before download.
    written: what the last `write` step of the run wrote.
    """

    store: Store
    columns: dict[str, str] = field(default_factory=dict)
    keep: str | None = None
    images: str | None = None
    written: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, after: str | None = None) -> View:
        """The store as its manifest has it, restricted to the rows that the keep table `after` kept."""
        return cls.at(store, store.manifest(), after)

    @classmethod
    def at(cls, store: Store, manifest: Manifest, after: str | None = None) -> View:
        """As `of`, by a manifest that was read already."""
        if not manifest.inputs:
            raise CurateError(f"'{store.url}' holds no records: start with a pipeline that reads, or check the path")
        keeps = manifest.keeps()
        if after is not None and after not in keeps:
            raise unknown("keep table", after, keeps, store.url)
        return cls(store, manifest.columns(), keeps[after] if after else None, manifest.current.get("images"))

    def with_table(self, folder: str, columns: Iterable[str]) -> View:
        return replace(self, columns=self.columns | dict.fromkeys(columns, folder))

    def pool(self) -> str:
        """Identity of the rows that are in."""
        return self.store.manifest().pool(self.keep)

    def states(self, columns: Iterable[str]) -> dict[str, str]:
        """What the values of columns, in the rows that are in, come from; see Manifest.state."""
        manifest, folders = self.store.manifest(), {name: self.columns[name] for name in columns}
        marked = {folder: manifest.state(folder, self.keep) for folder in set(folders.values())}
        return {name: marked[folder] for name, folder in folders.items()}

    def state(self, folder: str) -> str:
        """What the values of one table come from."""
        return self.store.manifest().state(folder, self.keep)

    # ---- one shard at a time ----

    def read(self, shard: int, columns: Sequence[str]) -> pa.Table:
        """Columns of one shard, from as many tables as they live in, each once; rows in the shard's order."""
        return self.rows(shard, columns)[0]

    def rows(self, shard: int, columns: Sequence[str]) -> tuple[pa.Table, str]:
        """As `read`, and the identity of the records that the rows belong to; "" where no table tells it."""
        by_folder: dict[str, list[str]] = {}
        for name in dict.fromkeys(columns):
            if name not in self.columns:
                raise unknown("column", name, self.columns, self.store.url)
            by_folder.setdefault(self.columns[name], []).append(name)
        arrays: dict[str, pa.ChunkedArray] = {}
        owners: dict[tuple[int, str], str] = {}
        for folder, names in by_folder.items():
            with self._opened(folder, shard) as part:
                for name in names:
                    if name not in part.schema.names:
                        raise unknown("column", name, part.schema.names, f"{self.store.url}/{folder}, shard {shard}")
                table = part.read(names)
                owner = part.digest if folder == "records" else rows_of(part.schema)
            owners.setdefault((table.num_rows, owner), folder)
            arrays |= {name: table[name] for name in names}
        if len(owners) > 1:
            raise CurateError(
                f"{self.store.url}: shard {shard} of {' and '.join(owners.values())} is not of the same records "
                f"({' and '.join(f'{rows} rows' for rows, _ in owners)}): delete the older part, and run again"
            )
        return pa.table({name: arrays[name] for name in columns}), next(iter(owners))[1] if owners else ""

    @contextlib.contextmanager
    def _opened(self, folder: str, shard: int) -> Iterator[Part]:
        """
        Raises:
            CurateError: for a part that the store does not have yet, as its rows were added since.
        """
        with contextlib.ExitStack() as stack:
            try:
                part = stack.enter_context(self.store.opened(self.store.part(folder, shard)))
            except FileNotFoundError:
                self.store.manifest().check_made(folder, shard, self.store.url)
                raise
            yield part

    def frame(self, shard: int, columns: Sequence[str]) -> pl.DataFrame:
        return pl.DataFrame(self.read(shard, columns))

    def kept(self, shard: int) -> np.ndarray | None:
        """Which rows of a shard are in (bool per row); None means all. Removed rows never are."""
        verdicts = self.verdicts(shard)
        return None if verdicts is None else verdicts.kept

    def copies(self, shard: int) -> np.ndarray | None:
        """(rows,) uint16: how often each row of a shard is taken; None: each that is in once, others never."""
        verdicts = self.verdicts(shard) if self.keep else None
        return None if verdicts is None else verdicts.copies

    def verdicts(self, shard: int, owner: str = "") -> Verdicts | None:
        """The verdict of every row of a shard; None before the first filter, unless rows are out before.

        owner: the identity of the records that the verdicts have to belong to; "" for any.
        """
        if self.keep is None:
            return self._first_verdicts(shard)
        with self._opened(self.keep, shard) as opened:
            part = opened.read()
        theirs = rows_of(part.schema)
        if owner and theirs and owner != theirs:
            raise CurateError(
                f"{self.store.url}: shard {shard} of {self.keep} is not of the same records as the columns that are "
                "filtered: delete the older part, and run again"
            )
        return Verdicts.of(part)

    # ---- rows that are out from the beginning ----

    @cached_property
    def _has_out(self) -> bool:
        manifest = self.store.manifest()
        return bool(manifest.removals) or any("opt_out" in (group.choices or {}) for group in manifest.inputs)

    def out(self, shard: int) -> np.ndarray | None:
        """object[n]: for each row that is out from the beginning the word for it, `removed` or `opted_out`; None for
        other rows, and for a shard without such."""
        if not self._has_out:
            return None
        with self.store.opened(self.store.part("records", shard)) as part:
            words = words_of(part.schema, part.rows)
        return words if words.any() else None

    def _first_verdicts(self, shard: int) -> Verdicts | None:
        words = self.out(shard)
        if words is None:
            return None
        texts = sorted({word for word in words.tolist() if word})
        codes = np.zeros(len(words), np.int32)
        for code, word in enumerate(texts, 1):
            codes[words == word] = code
        return Verdicts(codes, [KEPT, *(verdict_of(word, word) for word in texts)])
