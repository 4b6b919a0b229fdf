import numpy as np
import pyarrow as pa
import pytest

from curate.alike.batches import Batches
from curate.alike.best_of import BestOf, Histogram
from curate.op import Rows

pytestmark = pytest.mark.slow

UIDS = pa.array([f"{i:032x}" for i in range(5000)])


def test_batches_do_not_depend_on_the_order_and_are_about_equal():
    batches = Batches.equal(3, 2, 5000, 1024)
    drawn, order = batches.of(UIDS), np.random.default_rng(0).permutation(5000)
    assert np.array_equal(batches.of(UIDS.take(pa.array(order))), drawn[:, order])
    sizes = batches.sizes(UIDS)
    assert sizes.shape == (2, 5) and (sizes.sum(axis=1) == 5000).all() and sizes.min() > 900
    first, second = drawn
    assert 0.15 < (first == second).mean() < 0.25  # partitions are independent: one row in five meets by chance
    assert not np.array_equal(Batches.equal(4, 2, 5000, 1024).of(UIDS), drawn)


@pytest.mark.parametrize("rows", [1, 7, 10, 40, 300])
def test_no_batch_is_small_but_a_pool_that_is(rows):
    uids = UIDS[:rows]
    batches = Batches.equal(0, 6, rows, 10)
    batches = batches.without_small(batches.sizes(uids), 5)
    for drawn in batches.of(uids):
        sizes = np.bincount(drawn)
        assert sizes.min() >= min(5, rows) and sizes.sum() == rows
    enough = Batches.equal(0, 1, 5000, 1000)
    assert enough.without_small(enough.sizes(UIDS), 500) is enough


@pytest.mark.parametrize("best", [1, 3, 50, 99, 100])
def test_the_best_of_a_column_exactly(best):
    rng = np.random.default_rng(0)
    scores = np.round(rng.standard_normal(100), 2).astype(np.float32)
    scores[:9] = 0.25
    scores[9:12] = [-0.0, 0.0, 1000]
    column = pa.array([*scores.tolist(), None], pa.float32())
    parts = [Rows({"s": column[:40]}), Rows({"s": column[40:]})]
    high = Histogram.of(parts[0], "s") + Histogram.of(parts[1], "s")
    inside = high.bin_of(best)
    low = Histogram.of(parts[0], "s", inside) + Histogram.of(parts[1], "s", inside)
    held = inside.narrowed(low).holds(column)
    assert held.tolist() == [*(scores >= np.sort(scores)[-best]).tolist(), False] and high.total == 100
    assert not BestOf.none().holds(column).any()
