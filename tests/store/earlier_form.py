"""Keep tables as earlier versions wrote them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from curate.store.store import Store
from curate.store.verdict import ledger_columns

WORD = pa.dictionary(pa.int32(), pa.string())
LEDGER = pa.schema({"kept": pa.bool_(), "dropped_by": WORD, "reason": WORD})


def keep_tables_to_ledgers(root: Path) -> int:
    """`kept`, `dropped_by` and `reason` in place of `verdict` in every keep table; returns the number of parts."""
    store, parts = Store(str(root)), 0
    manifest = store.manifest()
    for folder in manifest.keeps().values():
        for shard in store.parts(folder):
            part = store.read_part(folder, shard)
            rows = pl.DataFrame(part).select(ledger_columns(part.column_names))
            words = {name: rows[name].cast(pl.String).to_arrow().cast(pa.string()) for name in LEDGER.names[1:]}
            columns = {name: text.dictionary_encode().cast(WORD) for name, text in words.items()}
            store.write_part(folder, shard, pa.table({"kept": rows["kept"].to_arrow(), **columns}, LEDGER))
            parts += 1
        manifest.keep(folder).columns = LEDGER.names
    store.save(manifest)
    return parts
