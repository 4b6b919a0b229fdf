import math

import numpy as np
import pyarrow as pa
import pytest
from conftest import HERE
from vector_rows import by_row, lists, random_vectors, store_of, uid_of

from curate.annotate.partitions import Cut
from curate.annotate.step import annotate
from curate.arrays.string_hash import hash_pairs, hash_strings
from curate.catalog import load
from curate.errors import CurateError
from curate.score.backdoor import Backdoor, loneliness

pytestmark = pytest.mark.slow

LINE = np.array([[0.0], [1], [2.5], [4.5], [20]])
EXPECTED = {
    "kdist": [2.5, 1.5, 2, 3.5, 17.5],
    "slof": [1.458333, 0.675, 0.952381, 2.041667, 6.875],
    "dao": [2.03551, -1.55749, -0.29049, 4.03495, 10.41573],
    "lid": [2.18271, 4.93261, 6.95212, 3.57388, 16.47978],
}


def test_the_example():
    for name, values in zip(EXPECTED, loneliness(LINE, 2, 5), strict=True):
        assert values == pytest.approx(EXPECTED[name], abs=1e-5), name


def finite(value):
    return 1000.0 if math.isnan(value) or value == math.inf else 0.0 if value == -math.inf else value


def divided(a, b):
    return a / b if b else (math.nan if a == 0 else math.inf)


def log(value):
    return -math.inf if value == 0 else value if math.isnan(value) or value == math.inf else math.log(value)


def by_loops(points, k, number):
    """As it is written, one point at a time, distances of numbers in float64."""
    n = len(points)
    a = [
        [math.sqrt(sum((x - y) ** 2 for x, y in zip(points[i], points[j], strict=True))) for j in range(n)]
        for i in range(n)
    ]
    near = [sorted((j for j in range(n) if j != i), key=lambda j, i=i: (a[i][j], j))[:k] for i in range(n)]
    far = [a[i][near[i][-1]] for i in range(n)]
    lid = []
    for i in range(n):
        mean = sum(log(divided(a[i][j], far[i])) for j in near[i]) / k
        lid.append(math.inf if mean == 0 else -1 / mean)
    slof = [sum(divided(far[i], far[j]) for j in near[i]) / k for i in range(number)]
    dao = [sum(lid[j] * log(divided(far[i], far[j])) for j in near[i]) / k for i in range(number)]
    return [[finite(v) for v in values] for values in (far[:number], slof, dao, lid[:number])]


@pytest.mark.parametrize("copies", [0, 6])
def test_against_loops_with_copies_and_ties(copies):
    points = random_vectors(60, 5).astype(np.float64)
    points[20 : 20 + copies] = points[20]
    points[50:55] = np.eye(5)  # as far from each other
    for k in (1, 3, 5):
        for values, expected in zip(loneliness(points, k, 40), by_loops(points.tolist(), k, 40), strict=True):
            assert values == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_copies_are_a_thousand_and_not_infinite():
    kdist, slof, dao, lid = loneliness(np.array([[0.0]] * 4 + [[1.0], [2.0]]), 2, 6)
    assert kdist.tolist() == [0, 0, 0, 0, 1, 2] and slof.tolist() == [1000] * 6
    assert lid[:4].tolist() == [1000] * 4 and np.isfinite(dao).all()


VECTORS = random_vectors(500, 12)
VECTORS[100:103] = VECTORS[100]
TEXTS = random_vectors(500, 12, 1)
SOURCES = ["good"] * 490 + ["bad"] * 8 + [None, ""]
COLUMNS = {"v": lists(VECTORS, null=[3]), "t": lists(TEXTS), "from": pa.array(SOURCES)}


def by_the_book(size, k, rounds, points_of):
    rows = [i for i in range(500) if i != 3]
    hashes = hash_strings([uid_of(i) for i in rows])
    total = np.zeros((4, 500))
    for partition in range(rounds):
        draws = hash_pairs(hashes, np.full(len(rows), partition, np.uint64), 0)
        batch = (draws % np.uint64(-(-len(rows) // size))).astype(int)
        assert np.bincount(batch).min() >= size / 2
        for number in range(batch.max() + 1):
            some = sorted((row for row, b in zip(rows, batch, strict=True) if b == number), key=uid_of)
            total[:, some] += by_loops(points_of(some).astype(np.float64).tolist(), k, len(some))
    return total / rounds


def made(folder, op, rows_per_shard=1000, order=None, cut=None):
    view = annotate(store_of(folder, COLUMNS, rows_per_shard, order), [op], HERE, cut or Cut())
    return by_row(view, op.table()), view


def test_against_loops_on_500_rows(tmp_path):
    table, _ = made(tmp_path / "s", Backdoor(by="v", k=4, batch=80))
    expected = by_the_book(80, 4, 2, lambda some: VECTORS[some])
    for name, values in zip(EXPECTED, expected, strict=True):
        assert table[name].drop_nulls().to_list() == pytest.approx(np.delete(values, 3), rel=1e-5, abs=1e-5), name
    assert table["backdoor_status"][3] == "no_value"


def test_with_captions_as_neighbours(tmp_path):
    table, _ = made(tmp_path / "s", Backdoor(by="v", texts="t", k=4, batch=500, rounds=1, name="both"))
    expected = by_the_book(500, 4, 1, lambda some: np.concatenate([VECTORS[some], TEXTS[some]]))
    assert table["both_slof"].drop_nulls().to_list() == pytest.approx(np.delete(expected[1], 3), rel=1e-5)
    assert table["both_slof"][3] is None


def test_the_same_bytes_whatever_the_shards_the_order_and_the_partitions(tmp_path):
    op = Backdoor(by="v", k=4, batch=80)
    order = np.random.default_rng(0).permutation(500).tolist()
    (one, _), (two, _) = (
        made(tmp_path / "s", op),
        made(tmp_path / "t", op, 40, order, Cut(rows_per_partition=60, shards_per_run=3)),
    )
    assert one.equals(two)


def test_the_report_by_source(tmp_path):
    rng = np.random.default_rng(0)
    planted = VECTORS.astype(np.float32)
    planted[490:498] = 3 * rng.standard_normal((8, 12))
    columns = {**COLUMNS, "v": lists(planted)}
    view = annotate(store_of(tmp_path / "s", columns, 100), [Backdoor(by="v", k=4, source="from")], HERE)
    report = view.store.manifest().tables[view.columns["slof"]].report["by_source"]
    assert [(row["source"], row["rows"]) for row in report] == [("good", 490), ("bad", 8), ("", 1), ("null", 1)]
    assert [row["top_1_percent_slof"] for row in report] == [0, 1, 0, 0] and report[1]["top_1_percent_kdist"] == 1
    same = Backdoor(by="v", k=4).spec()
    assert Backdoor(by="v", k=4, source="from").spec() == same != Backdoor(by="v", k=4, name="other").spec()


def test_vectors_are_taken_as_they_are_unless_made_unit(tmp_path):
    twice = {**COLUMNS, "v": lists(2 * VECTORS)}
    view = store_of(tmp_path / "s", twice, 100)
    raw, unit = (by_row(annotate(view, [Backdoor(by="v", unit=unit)], HERE), "backdoor") for unit in (False, True))
    ratio = (raw["kdist"] / unit["kdist"]).drop_nulls().drop_nans()
    assert ratio.min() > 1.99 and ratio.max() < 2.01


def test_too_few_rows_have_no_score(tmp_path):
    columns = {"v": lists(VECTORS[:16])}
    table = by_row(annotate(store_of(tmp_path / "s", columns, 100), [Backdoor(by="v")], HERE), "backdoor")
    assert table["slof"].null_count() == 16
    seventeen = {"v": lists(VECTORS[:17])}
    table = by_row(annotate(store_of(tmp_path / "t", seventeen, 100), [Backdoor(by="v")], HERE), "backdoor")
    assert table["slof"].null_count() == 0


def test_wrong_options():
    for options in ({"k": 0}, {"batch": 1}, {"rounds": 0}):
        with pytest.raises(CurateError, match=next(iter(options))):
            load({"score.backdoor": options})
