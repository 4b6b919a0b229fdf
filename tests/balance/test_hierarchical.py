import numpy as np
import pyarrow as pa
import pytest
from conftest import HERE
from vector_rows import by_row, store_of

from curate.annotate.partitions import Cut
from curate.annotate.step import annotate
from curate.balance.hierarchical import Hierarchical, quotas_of
from curate.catalog import load
from curate.errors import CurateError

pytestmark = pytest.mark.slow

SIZES = np.array([10, 3, 1])


@pytest.mark.parametrize(("target", "quotas"), [(8, [[4, 3, 1]]), (6, [[3, 2, 1], [2, 3, 1]]), (20, [[10, 3, 1]])])
def test_the_example(target, quotas):
    met = {tuple(quotas_of(SIZES, target, np.random.default_rng(seed).permutation(3)).tolist()) for seed in range(40)}
    assert met == {tuple(q) for q in quotas}


def test_the_total_is_the_target_and_no_share_can_be_more_even():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = rng.integers(1, 30, rng.integers(1, 9))
        target = int(rng.integers(0, sizes.sum() + 3))
        quotas = quotas_of(sizes, target, rng.permutation(len(sizes)))
        assert quotas.sum() == min(target, sizes.sum()) and (quotas <= sizes).all()
        short = quotas < sizes
        assert not short.any() or quotas.max() - quotas[short].min() <= 1


def rows_of(seed=1):
    rng = np.random.default_rng(seed)
    coarse = rng.choice(4, 500, p=[0.6, 0.3, 0.08, 0.02])
    # `fine` is not nested: the same number means another cluster below another coarse one.
    fine = rng.choice(5, 500, p=[0.5, 0.3, 0.1, 0.06, 0.04])
    kinds = pa.uint32(), pa.int64()
    return {"a": pa.array(coarse, kinds[0], mask=np.arange(500) == 7), "b": pa.array(fine, kinds[1])}


def made(folder, op, rows_per_shard=1000, order=None, cut=None):
    return by_row(annotate(store_of(folder, rows_of(), rows_per_shard, order), [op], HERE, cut or Cut()), op.table())


@pytest.mark.parametrize("rows", [1, 3, 50, 200, 499, 1000])
def test_exactly_so_many_stay_shared_out_from_the_top(tmp_path, rows):
    columns = rows_of()
    table = made(tmp_path / "s", Hierarchical(by=("a", "b"), rows=rows))
    keep = table["hierarchical_keep"].fill_null(False).to_numpy()
    assert keep.sum() == min(rows, 499) and table["hierarchical_keep"][7] is None
    a, b = (np.array(columns[name].fill_null(9)) for name in "ab")
    top = {c: int((a == c).sum()) for c in range(4)}
    kept = {c: int(keep[a == c].sum()) for c in range(4)}
    short = [kept[c] for c in kept if kept[c] < top[c]]
    assert not short or max(kept.values()) - min(short) <= 1
    for c in range(4):
        sizes = np.array([((a == c) & (b == d)).sum() for d in range(5)])
        inner = np.array([keep[(a == c) & (b == d)].sum() for d in range(5)])
        less = inner[inner < sizes]
        assert not len(less) or inner.max() - less.min() <= 1
        for d in range(5):
            some = table.filter((a == c) & (b == d))
            assert sorted(some["hierarchical_rank"].to_list()) == list(range(1, len(some) + 1))
            assert set(some["hierarchical_quota"].to_list()) <= {int(inner[d])}


def test_the_same_whatever_the_shards_the_order_and_the_partitions(tmp_path):
    op = Hierarchical(by=("a", "b"), rows=100)
    order = np.random.default_rng(0).permutation(500).tolist()
    one, two = (
        made(tmp_path / "s", op),
        made(tmp_path / "t", op, 40, order, Cut(rows_per_partition=60, shards_per_run=3)),
    )
    assert one.equals(two)
    assert not one.equals(made(tmp_path / "u", Hierarchical(by=("a", "b"), rows=100, seed=1)))


def test_three_levels_and_words(tmp_path):
    columns = {**rows_of(), "w": pa.array([["x", "y", "z"][i % 3] for i in range(500)])}
    view = store_of(tmp_path / "s", columns, 200)
    for by in (("w", "a", "b"), ("b", "a", "w"), "w"):
        op = Hierarchical(by=by, rows=60)
        keep = by_row(annotate(view, [op], HERE), "hierarchical")["hierarchical_keep"]
        assert keep.sum() == 60
    words = by_row(annotate(view, [Hierarchical(by="w", rows=60)], HERE), "hierarchical")["hierarchical_keep"]
    assert [int(words.to_numpy()[i::3].sum()) for i in range(3)] == [20, 20, 20]


def test_more_rows_than_there_are_is_said(tmp_path, capsys):
    made(tmp_path / "s", Hierarchical(by="a", rows=1000))
    assert "1,000 rows wanted, all 499 rows with clusters stay" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": [], "rows": 1}, "the coarsest first"),
        ({"by": ["a", "a"], "rows": 1}, "each once"),
        ({"by": "a"}, "rows"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(CurateError, match=message):
        load({"balance.hierarchical": options})
