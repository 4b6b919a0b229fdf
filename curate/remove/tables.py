"""The parts of a shard without the removed rows' values: records, columns of ops, verdicts, images, remarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa

from curate.messages.remarks import Remarks
from curate.refuse.keys import keys_of
from curate.refuse.matching import Named
from curate.remove import images
from curate.remove.manifest_text import without_names
from curate.store.folder import shard_name
from curate.store.part_file import PLACE, ROWS_OF
from curate.store.removal import REMOVED, noted, without_rows, words_of
from curate.store.store import Store
from curate.store.verdict import KEPT, LEDGER, VERDICT, Verdicts, verdict_of

#: What a column of another row says instead of the uid of a removed one.
POINTER = REMOVED


@dataclass(frozen=True)
class Tables:
    """The job: rewrites all parts of a shard. Done a second time it writes the same bytes.

    folders: of tables, `records` first. pointing: of those, tables whose texts may name other rows. gone: uids of all
    removed rows. rows: by shard, numbers of the removed ones; a shard may have none, and point to some.
    """

    store: Store
    folders: Sequence[str]
    pointing: Sequence[str]
    gone: Named
    rows: dict[int, np.ndarray]
    runs: Sequence[range] = ()

    def rewrite_run(self, run: int) -> None:
        for shard in self.runs[run]:
            if shard in self.rows:
                self.rewrite(shard)

    def rewrite(self, shard: int) -> None:
        """Write anew what holds something of the removed rows of a shard."""
        store, rows = self.store, self.rows[shard]
        folders = [folder for folder in self.folders if folder.startswith("images-")]
        cuts = images.cuts_of(store, folders, shard, rows)
        digests = images.write_cuts(store, cuts)
        for folder in self.folders:
            part = store.try_part(folder, shard)
            if part is None:
                continue
            removed = np.zeros(part.num_rows, bool)
            removed[rows] = True
            table, about = self._changed(folder, shard, part, removed, cuts, digests)
            store.write_part(folder, shard, table, {k: v for k, v in about.items() if k not in (PLACE, ROWS_OF)})
            self._remarks(folder, shard, set(rows.tolist()))

    def point(self, folder: str, shard: int, shown: Named) -> None:
        """Write anew a part that names removed rows. shown: uids, urls and hashes of these."""
        part = self.store.read_part(folder, shard)
        about = {k: v for k, v in (part.schema.metadata or {}).items() if k not in (PLACE, ROWS_OF)}
        if VERDICT in part.column_names:
            verdicts = Verdicts.of(part)
            texts = [without_names(text, shown) for text in verdicts.texts]
            self.store.write_part(folder, shard, replace(verdicts, texts=texts).to_arrow(), about)
        else:
            self.store.write_part(folder, shard, self.pointed(part), about)

    def _changed(
        self,
        folder: str,
        shard: int,
        part: pa.Table,
        removed: np.ndarray,
        cuts: dict[str, images.Cut],
        digests: dict[str, str],
    ) -> tuple[pa.Table, dict[bytes, bytes]]:
        about = dict(part.schema.metadata or {})
        if folder == "records":
            words = words_of(part.schema, part.num_rows)
            words[removed] = REMOVED
            return without_rows(part, removed), about | noted(words)
        if folder.startswith("images-"):
            return images.rewritten(part, folder, shard, removed, cuts, digests)
        if folder.startswith("keep_"):
            return _verdicts(part, removed), about
        status = f"{folder.rpartition('-')[0]}_status"
        table = without_rows(part, removed, {status: REMOVED})
        return (self.pointed(table) if folder in self.pointing else table), about

    def pointed(self, table: pa.Table) -> pa.Table:
        """The table with POINTER for every uid of a removed row."""
        for place, field in enumerate(table.schema):
            texts = _texts(table.column(place))
            if texts is not None and (names := removed_names(texts, self.gone)):
                column = texts.replace_strict(names, [POINTER] * len(names), default=texts, return_dtype=pl.String)
                table = table.set_column(place, field.name, column.to_arrow().cast(field.type))
        return table

    def _remarks(self, folder: str, shard: int, rows: set[int]) -> None:
        """Remarks of the shard without the examples that are of removed rows."""
        name = f"{folder}/{shard_name(shard)}.remarks.json"
        if self.store.exists(name):
            remarks = Remarks.from_json(self.store.read_json(name))
            self.store.write_json(name, without_examples(remarks, {(shard, row) for row in rows}).to_json())


def without_examples(remarks: Remarks, places: set[tuple[int, int]]) -> Remarks:
    """The same counts, without examples of rows at these places."""
    examples = {kind: one for kind, one in remarks.examples.items() if one[0][:2] not in places}
    return Remarks(dict(remarks.counts), examples)


def names_removed(part: pa.Table, gone: Named) -> bool:
    """Whether a text of a part is the uid of a removed row."""
    for column in part.columns:
        texts = _texts(column)
        if texts is not None and removed_names(texts, gone):
            return True
    return False


def removed_names(texts: pl.Series, gone: Named) -> list[str]:
    """The texts that are uids of removed rows, each once."""
    known = texts.drop_nulls().unique()
    known = known.filter(known.str.len_bytes() == 32)
    return known.filter(pl.Series(gone.keys.holds(keys_of("uid", known)))).to_list() if len(known) else []


def _texts(column: pa.ChunkedArray) -> pl.Series | None:
    return pl.Series(column) if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) else None


def _verdicts(part: pa.Table, removed: np.ndarray) -> pa.Table:
    if VERDICT not in part.column_names:  # of an earlier version
        kept, step, reason = LEDGER
        table = without_rows(part, removed, {step: REMOVED, reason: REMOVED})
        column = pl.Series(part[kept]).to_numpy() & ~removed
        return table.set_column(table.column_names.index(kept), kept, pa.array(column))
    verdicts = Verdicts.of(part)
    texts = [*verdicts.texts, verdict_of(REMOVED, REMOVED)]
    codes = np.where(removed, len(texts) - 1, verdicts.codes)
    copies = None if verdicts.copies is None else np.where(removed, 0, verdicts.copies)
    return Verdicts(codes, texts if texts[0] == KEPT else [KEPT, *texts], copies).to_arrow()
