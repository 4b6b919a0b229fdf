import hashlib

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from vector_rows import lists, random_vectors, store_of, uid_of

import curate
from curate.cli import app
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.retrieval import best_rows as module
from curate.retrieval.best_rows import BestRows, best_rows

pytestmark = pytest.mark.slow


def turned(degrees):
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def saved(folder, values, name="q"):
    np.save(folder / f"{name}.npy", np.asarray(values))
    return str(folder / f"{name}.npy")


def rows_of(retrieved):
    return list(zip(*(retrieved.table[name].to_pylist() for name in ("query", "uid", "cos", "rank")), strict=True))


def test_the_example(tmp_path):
    store = store_of(tmp_path / "s", {"v": lists(turned([0, 30, 60, 90]))}, 2).store.url
    near = rows_of(curate.retrieve(store, "v", saved(tmp_path, turned([40])), workers=0))
    assert [(q, uid, rank) for q, uid, _, rank in near] == [
        (0, uid_of(i), rank) for rank, i in enumerate((1, 2, 0, 3), 1)
    ]
    assert [cos for *_, cos, _ in near] == pytest.approx([0.984808, 0.939693, 0.766044, 0.642788], abs=1e-3)


VECTORS, QUERIES = random_vectors(500, 12), random_vectors(40, 12, 1)
VECTORS[100:110] = VECTORS[100]  # copies, and a query that is one
QUERIES[5] = VECTORS[100]


def by_loops(k, rows=range(500)):
    """The book: all pairs in float64, of equal cosines the smaller uid."""
    unit, asked = (a.astype(np.float32) for a in (VECTORS, QUERIES))
    unit, asked = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (unit, asked))
    near = []
    for q, query in enumerate(asked.astype(np.float64)):
        cosines = {i: float(np.einsum("d,d->", query, unit[i].astype(np.float64))) for i in rows}
        best = sorted(rows, key=lambda i: (-cosines[i], uid_of(i)))[:k]
        near += [(q, uid_of(i), np.float32(cosines[i]), rank) for rank, i in enumerate(best, 1)]
    return near


@pytest.mark.parametrize("k", [1, 4, 600])
def test_against_loops_on_500_rows(tmp_path, k, monkeypatch):
    monkeypatch.setattr(module, "TILE", 16)
    monkeypatch.setattr(module, "PAIRS", 7)
    monkeypatch.setattr("curate.models.vector_file.AT_ONCE", 9)
    store = store_of(tmp_path / "s", {"v": lists(VECTORS, null=[3])}, 60).store.url
    near = rows_of(curate.retrieve(store, "v", saved(tmp_path, QUERIES), k=k, workers=0))
    expected = by_loops(k, [i for i in range(500) if i != 3])
    assert [(q, uid, rank) for q, uid, _, rank in near] == [(q, uid, rank) for q, uid, _, rank in expected]
    assert [cos for *_, cos, _ in near] == pytest.approx([cos for *_, cos, _ in expected], abs=1e-6)


def test_the_same_bytes_whatever_the_shards_and_the_order(tmp_path):
    queries, written = saved(tmp_path, QUERIES), []
    order = np.random.default_rng(0).permutation(500).tolist()
    for name, rows, places in (("s", 1000, None), ("t", 7, order)):
        store = store_of(tmp_path / name, {"v": lists(VECTORS)}, rows, places).store.url
        curate.retrieve(store, "v", queries, k=12, to=str(tmp_path / f"{name}.parquet"), workers=0)
        written.append((tmp_path / f"{name}.parquet").read_bytes())
    assert written[0] == written[1]


def test_of_copies_the_smaller_uids(tmp_path):
    store = store_of(tmp_path / "s", {"v": lists(VECTORS)}, 60).store.url
    near = curate.retrieve(store, "v", saved(tmp_path, QUERIES[5:6]), k=4, workers=0).table["uid"].to_pylist()
    assert near == sorted(uid_of(i) for i in range(100, 110))[:4]


def test_it_adds_up_in_any_order():
    uids = pa.array([uid_of(i) for i in range(500)], pa.large_string())
    unit, asked = VECTORS.astype(np.float32), QUERIES.astype(np.float32)
    parts = [best_rows(unit[i : i + 50], uids[i : i + 50], asked, 0, 3) for i in range(0, 500, 50)]
    forward, back = BestRows.none(3), BestRows.none(3)
    for part in parts:
        forward, back = forward + part, part + back
    whole = best_rows(unit, uids, asked, 0, 3)
    for some in (forward, back):
        assert some.uids.equals(whole.uids) and np.array_equal(some.cosines, whole.cosines)


def test_only_rows_that_are_in(tmp_path):
    view = store_of(tmp_path / "s", {"v": lists(VECTORS), "n": pa.array(range(500))}, 60)
    select(view, Filter(name="few", where="n < 50"))
    near = curate.retrieve(view.store.url, "v", saved(tmp_path, QUERIES), k=2, after="few", workers=0)
    expected = by_loops(2, range(50))
    assert near.rows == 50 and near.table["uid"].to_pylist() == [uid for _, uid, *_ in expected]


def test_by_the_command_line(tmp_path):
    store = store_of(tmp_path / "s", {"v": lists(VECTORS)}, 60).store.url
    path = tmp_path / "q.parquet"
    pq.write_table(pa.table({"w": pa.array(QUERIES.tolist(), pa.list_(pa.float32()))}), path)
    words = ["retrieve", store, "--by", "v", "--queries", str(path), "--column", "w", "--k", "2", "--workers", "0"]
    done = CliRunner().invoke(app, [*words, "--to", str(tmp_path / "near.csv")])
    assert done.exit_code == 0 and "80 lines for 40 queries, of 500 rows with a vector" in done.output
    table = pl.read_csv(tmp_path / "near.csv", schema_overrides={"uid": pl.String})
    assert table.columns == ["query", "uid", "cos", "rank"]
    assert table["uid"].to_list() == [uid for _, uid, *_ in by_loops(2)]


def test_what_is_wrong_is_told(tmp_path):
    store = store_of(tmp_path / "s", {"v": lists(VECTORS)}, 60).store.url
    good = saved(tmp_path, QUERIES)

    def refused(match, by="v", queries=good, **options):
        with pytest.raises(CurateError, match=match):
            curate.retrieve(store, by, queries, workers=0, **options)

    refused("no column 'w'", by="w")
    refused(
        "'v' has vectors of 12 numbers, expected 13: another model", queries=saved(tmp_path, np.ones((2, 13)), "wide")
    )
    refused("is empty", queries=saved(tmp_path, np.ones((0, 12)), "none"))
    refused("row 1: a vector of zeros", queries=saved(tmp_path, [np.ones(12), np.zeros(12)], "zeros"))
    refused("no file", queries="nowhere.npy")
    refused("has the sha256", sha256="0" * 64)
    refused("k is 0", k=0)
    refused("over 20,000,000 neighbours", k=1_000_000)
    refused("must say the format: .parquet or .csv", to="near.json")
    digest = hashlib.sha256((tmp_path / "q.npy").read_bytes()).hexdigest()
    assert curate.retrieve(store, "v", good, sha256=digest, workers=0).queries == 40
