import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import HERE
from vector_rows import by_row, store_of, uid_of

from curate.alike.uid_order import uid_ranks
from curate.annotate.partitions import Cut
from curate.annotate.step import annotate
from curate.balance.cluster_cap import ClusterCap, cap_for_rows
from curate.catalog import load
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.store.view import View

pytestmark = pytest.mark.slow

#: The example: clusters of 5, 50 and 500 rows, and three rows without one.
CLUSTERS = [*np.repeat([0, 1, 2], [5, 50, 500]).tolist(), None, None, None]


def columns(rng=None):
    best = np.random.default_rng(3).integers(0, 40, len(CLUSTERS)).astype(np.float32)
    return {"c": pa.array(CLUSTERS, pa.uint32()), "b": pa.array(best, mask=best == 0)}


def made(folder, op, rows_per_shard=1000, order=None, cut=None):
    view = annotate(store_of(folder, columns(), rows_per_shard, order), [op], HERE, cut or Cut())
    return by_row(view, op.table()), view


def by_the_book(best=None, seed=0):
    """Rank of each row among those of its cluster, in a loop over all pairs."""
    uids = [uid_of(i) for i in range(len(CLUSTERS))]
    hashes = uid_ranks(pa.array(uids), seed).tolist()
    first = [(0, -b) if b is not None else (1, 0) for b in best] if best else [(0, h) for h in hashes]
    order = [(*f, uid) for f, uid in zip(first, uids, strict=True)]
    return [
        None if c is None else 1 + sum(o < order[i] for o, d in zip(order, CLUSTERS, strict=True) if d == c)
        for i, c in enumerate(CLUSTERS)
    ]


@pytest.mark.parametrize(("cap", "kept"), [(20, 45), (35, 75), (1000, 555)])
def test_the_example(tmp_path, cap, kept):
    op = ClusterCap(by="c", cap=cap)
    table, view = made(tmp_path / "s", op)
    assert table["cluster_cap_keep"].sum() == kept
    assert table["cluster_cap_size"].to_list() == [None if c is None else (5, 50, 500)[c] for c in CLUSTERS]
    assert table["cluster_cap_rank"].to_list() == by_the_book()
    report = view.store.manifest().tables[view.columns["cluster_cap_keep"]].report
    assert report["clusters"] == 3 and report["largest"] == 500 and report["kept"] == kept and report["cap"] == cap
    _, counts = select(view, Filter(**op.decision()))
    assert counts["kept"] == kept


def test_any_other_cap_is_a_filter_and_they_nest(tmp_path):
    table, _ = made(tmp_path / "s", ClusterCap(by="c", cap=20))
    other, _ = made(tmp_path / "t", ClusterCap(by="c", cap=35))
    assert ((table["cluster_cap_rank"] <= 35) == other["cluster_cap_keep"]).drop_nulls().all()
    assert (~table["cluster_cap_keep"] | other["cluster_cap_keep"]).drop_nulls().all()
    seeded, _ = made(tmp_path / "u", ClusterCap(by="c", cap=20, seed=1))
    assert not seeded["cluster_cap_rank"].equals(table["cluster_cap_rank"])


def test_the_best_stay_with_rows_without_a_value_last(tmp_path):
    table, _ = made(tmp_path / "s", ClusterCap(by="c", cap=20, best="b"))
    assert table["cluster_cap_rank"].to_list() == by_the_book(columns()["b"].to_pylist())


def test_the_same_whatever_the_shards_the_order_and_the_partitions(tmp_path):
    op = ClusterCap(by="c", rows=45)
    one, _ = made(tmp_path / "s", op)
    order = np.random.default_rng(0).permutation(len(CLUSTERS)).tolist()
    two, _ = made(tmp_path / "t", op, 40, order, Cut(rows_per_partition=60, shards_per_run=3))
    assert one.equals(two) and one["cluster_cap_keep"].sum() == 45


@pytest.mark.parametrize(("rows", "cap"), [(45, 20), (75, 35), (46, 20), (1, 1), (554, 499), (555, 500), (9999, 500)])
def test_the_cap_for_a_number_of_rows(rows, cap):
    sizes = np.array([5, 50, 500])
    assert cap_for_rows(sizes, rows) == cap
    distance = [abs(int(np.minimum(sizes, c).sum()) - rows) for c in range(1, 501)]
    assert distance[cap - 1] == min(distance) and cap_for_rows(np.zeros(0, np.int64), 5) == 1


def test_what_cannot_be_had_is_said(tmp_path, capsys):
    made(tmp_path / "s", ClusterCap(by="c", rows=9999))
    made(tmp_path / "t", ClusterCap(by="c", rows=46))
    said = " ".join(capsys.readouterr().err.split())
    assert "9,999 rows wanted, all 555 rows with a 'c' stay" in said
    assert "46 rows wanted, a cap of 20 keeps 45" in said


def test_clusters_may_be_words(tmp_path):
    columns = {"c": pa.array(["a", "b", "a", "", None, "a"])}
    view = annotate(store_of(tmp_path / "s", columns, 2), [ClusterCap(by="c", cap=1)], HERE)
    table = by_row(view, "cluster_cap")
    assert table["cluster_cap_size"].to_list() == [3, 1, 3, None, None, 3] and table["cluster_cap_keep"].sum() == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "c"}, "either `cap` or `rows`"),
        ({"by": "c", "cap": 1, "rows": 2}, "either `cap` or `rows`"),
        ({"by": "", "cap": 1}, "name the column of clusters"),
        ({"by": "c", "cap": 0}, "cap"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(CurateError, match=message):
        load({"balance.cluster_cap": options})


def test_a_stopped_step_goes_on_with_the_same_cap(tmp_path, monkeypatch):
    op = ClusterCap(by="c", rows=45)
    one, _ = made(tmp_path / "s", op)
    view = store_of(tmp_path / "t", columns(), 100)
    with monkeypatch.context() as patch:
        patch.setattr(ClusterCap, "judge", lambda self, rows: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            annotate(view, [op], HERE)
    again = annotate(View.of(view.store), [ClusterCap(by="c", rows=45)], HERE)
    assert by_row(again, "cluster_cap").equals(one)
    assert isinstance(one, pl.DataFrame)
