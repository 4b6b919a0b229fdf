"""A tenth of the rows is new: what does it cost to judge them against the old ones, beside one run over all?

    python benchmarks/growth.py --against [--sizes 100000] [--only minhash]

Rows are those of benchmarks/growth.py; the old store has the first nine tenths. Seconds are of the processor, each step
in a process of its own without Ray, its kernels compiled before. `keep: first` in all: a new row's verdict has to be
that of the run over all, and it fails where one differs. With kept keys: once more, the old store having them.
dedupe.semantic compares a row with those before it, and a run over all has another order (old rows and new ones mixed,
by their cosine with the centroid): how many verdicts are the same is told, and those of some rows are compared with all
their cosines with old rows.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from growth import build, in_a_process, vocabulary

from curate.alike.kept_keys import KeptKeys
from curate.catalog import load
from curate.dedupe.semantic import Semantic
from curate.store.store import Store
from curate.store.view import View

FIRST = {"keep": "first"}
OPS: dict[str, dict[str, Any]] = {
    "dedupe.exact": {"by": "url_text", **FIRST},
    "dedupe.shared": {"by": "text", "distinct": "url"},
    "dedupe.minhash": FIRST,
    "dedupe.perceptual": {"by": "phash", "colours": None, **FIRST},
    "dedupe.semantic": {"by": "v", "nearest": 2},
}
#: The column of each with the row that stays, or the count.
OF = {
    "dedupe.exact": "dup_url_text_of",
    "dedupe.shared": "text_urls",
    "dedupe.minhash": "near_text_of",
    "dedupe.perceptual": "near_phash_of",
    "dedupe.semantic": "semantic_v_of",
}
#: New rows whose semantic verdicts are compared with all their cosines, and how near to the bound float16 may err.
SAMPLE, NEAR = 500, 2e-3
#: Rows with which kernels are compiled.
FEW = 2_000


def against_old(sizes: Sequence[int], words: int, only: Sequence[str]) -> Iterator[str]:
    """A line for each op and size.

    Raises:
        SystemExit: where a new row's verdict is another than in the run over all, and may not be.
    """
    ops = [name for name in OPS if any(part in name for part in only)]
    known = vocabulary(words)
    for size in (FEW, *sizes):
        with tempfile.TemporaryDirectory(prefix="curate-against-") as folder:
            for line in _of_size(Path(folder), size, known, ops):
                if size != FEW:
                    yield line


def _of_size(folder: Path, size: int, words: Any, ops: Sequence[str]) -> Iterator[str]:
    build(folder / "all.parquet", size, words)
    table, old = pq.read_table(folder / "all.parquet"), size - size // 10
    pq.write_table(table.slice(0, old), folder / "old.parquet")
    pq.write_table(table.slice(old), folder / "new.parquet")
    for name in ("all", "old", "new"):
        _spent(folder, name, {})
    for op in ops:
        if op == "dedupe.semantic":
            _cluster(folder, max(10, size // 1000))
        over_all = _spent(folder, "all", {op: OPS[op]})
        against = {op: {**OPS[op], "against": [str(folder / "old")]}}
        of_new, kept = _spent(folder, "new", against), ""
        if isinstance(load({op: OPS[op]}), KeptKeys):
            _spent(folder, "old", {op: {**OPS[op], "keep_keys": True}})
            _forget(folder, OF[op])
            with_keys = _spent(folder, "new", against)
            kept = f"; with kept keys {with_keys:.2f} s, {with_keys / over_all:.2f} of it"
        same = _same(folder, op, old)
        wrong = _unlike(folder) if op == "dedupe.semantic" else size - old - same
        if wrong:
            raise SystemExit(f"{op}: {wrong:,} of {size - old:,} new rows are judged otherwise")
        yield (
            f"{op:<18} {size:>10,} rows {over_all:7.2f} s; {size - old:,} of them against the others {of_new:7.2f} s, "
            f"{of_new / over_all:.2f} of it{kept}; {same / (size - old):.1%} of the verdicts are the same"
        )


def _cluster(folder: Path, k: int) -> None:
    """All stores get the clusters of the old one."""
    about = {"by": "v", "nearest": 2}
    _spent(folder, "old", {"balance.clusters": {**about, "k": k}})
    for name in ("new", "all"):
        _spent(folder, name, {"balance.clusters": {**about, "centroids": str(folder / "old")}})


def _spent(folder: Path, store: str, op: dict[str, Any]) -> float:
    """Seconds of the processor of an op on a store; without one, the store is read."""
    what = json.dumps({"ops": [op]} if op else {})
    return float(in_a_process(what, str(folder / store), str(folder / f"{store}.parquet"))["seconds"])


def _forget(folder: Path, column: str) -> None:
    """The new store as it was before the op."""
    store = Store(str(folder / "new"))
    manifest = store.manifest()
    table = manifest.columns()[column]
    del manifest.current[manifest.tables.pop(table).name]
    store.save(manifest)
    store.remove(table)


def _columns(folder: Path, store: str, *names: str) -> pl.DataFrame:
    """Columns of all rows of a store."""
    view = View.of(Store(str(folder / store)))
    return pl.concat([view.frame(shard, names) for shard in view.store.shard_rows()])


def _same(folder: Path, op: str, old: int) -> int:
    """New rows whose verdict is the same in the store of all."""
    over_all, of_new = (_columns(folder, store, OF[op]).to_series() for store in ("all", "new"))
    over_all = over_all[old:]
    if op == "dedupe.semantic":
        over_all, of_new = over_all.is_null(), of_new.is_null()
    return int(over_all.eq_missing(of_new).sum())


def _unlike(folder: Path) -> int:
    """Of some new rows, those that dedupe.semantic judges otherwise than all their cosines with old rows, within the
    clusters that they share, ask for: one that is close to an old row is out, and only such a one names the old store.
    """
    clusters = ("v", "v_cluster", "v_cluster_2")
    old = _columns(folder, "old", *clusters)
    new = _columns(folder, "new", *clusters, OF["dedupe.semantic"], "semantic_v_store").head(SAMPLE)
    vectors = [np.array(rows["v"].to_list(), np.float32) for rows in (new, old)]
    ours, theirs = (some / np.linalg.norm(some, axis=1, keepdims=True) for some in vectors)
    shared = np.zeros((len(new), len(old)), bool)
    for one in clusters[1:]:
        for other in clusters[1:]:
            shared |= new[one].to_numpy()[:, None] == old[other].to_numpy()[None]
    closest = np.where(shared, ours @ theirs.T, -1).max(axis=1)
    bound = 1 - Semantic(by="v").eps
    out, by_old = (new[name].is_not_null().to_numpy() for name in (OF["dedupe.semantic"], "semantic_v_store"))
    return int(((closest > bound + NEAR) & ~out | (closest < bound - NEAR) & by_old).sum())
