import functools
import operator
import pickle
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HERE
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.alike.vector_sample import Sample
from curate.annotate.step import annotate
from curate.balance.clusters import Clusters
from curate.catalog import load
from curate.dedupe.semantic import Semantic
from curate.errors import CurateError
from curate.op import Rows
from curate.read.step import ReadOptions, read
from curate.store.store import Store

pytestmark = pytest.mark.slow

ANGLES = {"A": 0, "B": 14, "C": 28}


def frame(degrees, cos, uids=None, clusters=None):
    turned = np.radians(degrees)
    vectors = np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float16)
    uids = uids or [f"u{i}" for i in range(len(cos))]
    columns = {
        "key": [f"{c:016d}".encode() for c in clusters or [0] * len(cos)],
        "shard": pa.array([0] * len(cos), pa.int32()),
        "row": pa.array(range(len(cos)), pa.int32()),
        "uid": uids,
        "v": pa.array(vectors.tolist(), pa.list_(pa.float16())),
        "v_cluster_cos": pa.array(cos, pa.float32()),
    }
    return pl.DataFrame(pa.table(columns))


def verdicts(op, rows):
    found = op.judge(rows).sort("shard", "row")
    return found.select(*op.makes()).rows()


@pytest.mark.parametrize(("order", "removed"), [("ABC", "BC"), ("CAB", "B"), ("BAC", "AC")])
def test_the_published_orders(order, removed):
    # The order is that of the distance from the centroid: farthest first.
    cos = [0.1 * order.index(name) for name in "ABC"]
    found = verdicts(Semantic(by="v"), frame([ANGLES[name] for name in "ABC"], cos, list("ABC")))
    assert "".join(n for n, (of, _) in zip("ABC", found, strict=True) if of) == removed
    assert sorted(round(float(m), 3) for _, m in found) == ([0, 0.883, 0.97] if order == "CAB" else [0, 0.97, 0.97])


def test_which_and_ties():
    rows = frame([0, 5, 10], [0.5, 0.9, 0.5], ["b", "c", "a"])
    assert [of for of, _ in verdicts(Semantic(by="v"), rows)] == ["a", "b", None]
    assert [of for of, _ in verdicts(Semantic(by="v", which="easy"), rows)] == ["c", None, "c"]
    by_seed = {str(verdicts(Semantic(by="v", which="random", seed=seed), rows)) for seed in range(12)}
    assert len(by_seed) > 1


@pytest.mark.parametrize(("which", "stays"), [("hard", "c"), ("easy", "a"), ("middle", "b")])
def test_linked_groups(which, stays):
    # A chain of three, one apart, and the same direction in another cluster.
    rows = frame([0, 14, 28, 90, 0], [0.9, 0.8, 0.7, 0.6, 0.9], list("abcde"), [0, 0, 0, 0, 1])
    found = verdicts(Semantic(by="v", rule="linked", which=which), rows)
    assert found == [*[(None if n == stays else stays, 3) for n in "abc"], (None, 1), (None, 1)]


def test_what_is_true_of_one_is_true_of_its_group():
    rows = frame([0, 14, 28, 90, 0], [0.9, 0.8, 0.7, 0.6, 0.9], list("abcde"), [0, 0, 0, 0, 1])
    rows = rows.with_columns(near_eval=pl.Series([None, True, False, False, False]))
    op = Semantic(by="v", rule="linked", spread="near_eval")
    assert list(op.makes()) == ["semantic_v_of", "semantic_v_size", "semantic_v_near_eval"]
    assert [marked for *_, marked in verdicts(op, rows)] == [True, True, True, False, False]
    assert "near_eval" in op.reads()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2), st.sampled_from([0.1, 0.2])), min_size=1, max_size=14),
    st.sampled_from(["hard", "easy", "random"]),
    st.randoms(use_true_random=False),
)
def test_against_the_rule_as_it_is_written_in_any_order(rows, which, random):
    degrees, clusters, cos = ([row[i] for row in rows] for i in range(3))
    degrees = [d * 9.3 for d in degrees]
    op, uids = Semantic(by="v", which=which), [f"u{i:02}" for i in range(len(rows))]
    table = frame(degrees, cos, uids, clusters)
    found = verdicts(op, table)
    if which != "random":
        sign = -1 if which == "easy" else 1
        for i in range(len(rows)):
            before = [
                j
                for j in range(len(rows))
                if clusters[j] == clusters[i] and (sign * cos[j], uids[j]) < (sign * cos[i], uids[i])
            ]
            most = max((np.cos(np.radians(degrees[i] - degrees[j])) for j in before), default=0)
            assert found[i][1] == pytest.approx(most, abs=2e-3) and (found[i][0] is not None) == (most > 0.95)
    order = random.sample(range(len(rows)), len(rows))
    mixed = op.judge(table[order]).sort("shard", "row").select(*op.makes()).rows()
    assert [of is None for of, _ in mixed] == [of is None for of, _ in found]


def test_a_cluster_over_the_largest_is_halved():
    rng = np.random.default_rng(0)
    rows = frame(rng.uniform(0, 180, 300).tolist(), rng.uniform(0, 1, 300).tolist())
    whole, halved = verdicts(Semantic(by="v"), rows), verdicts(Semantic(by="v", largest=80), rows)
    assert sum(of is not None for of, _ in whole) >= sum(of is not None for of, _ in halved) > 250
    parts = Semantic(by="v", largest=80)._parts(rng.standard_normal((300, 2)), np.arange(300), 0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(300)) and max(map(len, parts)) <= 80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "option 'by' is required"),
        ({"by": "v", "which": "middle"}, "goes with rule: linked"),
        ({"by": "v", "spread": "near_eval"}, "goes with rule: linked"),
        ({"by": "v", "eps": 0}, "eps"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(CurateError, match=message):
        load({"dedupe.semantic": options})


def store_of(folder, vectors, rows_per_shard, order=None):
    order = list(range(len(vectors))) if order is None else order
    table = {
        "uid": [f"{i:032x}" for i in order],
        "url": [f"http://x/{i}" for i in order],
        "text": ["t"] * len(order),
        "v": pa.array([vectors[i] for i in order], pa.list_(pa.float16())),
    }
    folder.mkdir()
    pq.write_table(pa.table(table), folder / "in.parquet")
    options = ReadOptions(input=str(folder / "in.parquet"), rows_per_shard=rows_per_shard)
    return read(Store(str(folder / "store")), options, HERE)


@pytest.mark.parametrize("rule", ["earlier", "linked"])
def test_through_a_store_in_any_order(tmp_path, rule):
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((4, 16))
    vectors = [v.astype(np.float16).tolist() for v in np.repeat(centres, 10, 0) + 0.02 * rng.standard_normal((40, 16))]
    vectors[7] = None
    ops = [Clusters(by="v", k=4), Semantic(by="v", eps=0.02, rule=rule)]
    found = []
    for number, (size, order) in enumerate([(100, None), (7, rng.permutation(40).tolist())]):
        view = annotate(store_of(tmp_path / str(number), vectors, size, order), ops, HERE)
        clusters = view.store["v_cluster"].collect().sort("uid")["v_cluster"]
        assert clusters.n_unique() == 5  # four and null
        table = view.store["semantic_v"].collect().sort("uid")
        found.append(table.select("uid", "semantic_v_of", "semantic_v_status"))
    assert found[0].equals(found[1])
    assert found[0]["semantic_v_status"][7] == "no_value"
    for i in (0, 10, 20, 30):
        stay = found[0]["semantic_v_of"][i : i + 10].is_null().sum()
        # k-means may part what belongs together; otherwise one stays, and the row without a vector.
        assert stay == clusters[i : i + 10].n_unique() if rule == "linked" else 1 <= stay < 10


# ---- clusters ----


def added_up(part, *rows):
    return functools.reduce(operator.add, map(part, rows))


def test_centroids_do_not_depend_on_the_order_or_the_parts():
    rng = np.random.default_rng(0)
    vectors = pa.array(rng.standard_normal((500, 8)).astype(np.float16).tolist(), pa.list_(pa.float16()))
    uids = pa.array([f"{i:032x}" for i in range(500)])
    op, rows = Clusters(by="v", k=5, sample=20), Rows({"v": vectors, "uid": uids})
    order = pa.array(rng.permutation(500))
    mixed = {"v": vectors.take(order), "uid": uids.take(order)}
    parts = [Rows({name: column.slice(start, 90) for name, column in mixed.items()}) for start in range(0, 500, 90)]
    samples: list[np.ndarray] = []

    def sampled(*rows):
        def summed(part):
            total = added_up(part, *rows)
            samples.append(total.most().vectors)
            return total

        return summed

    centroids, again = op.fit(sampled(rows)), op.fit(sampled(*reversed(parts)))
    assert len(samples[0]) == 100 and np.array_equal(*samples)
    assert np.array_equal(centroids, again)
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-5)
    assert len(op.batch(rows, centroids)["v_cluster"].unique()) == 5


def test_a_sample_is_the_lowest_ranks_of_all_however_it_adds_up():
    rng = np.random.default_rng(3)
    ranks = rng.integers(0, 500, 1200).astype(np.uint64)  # many are equal: the first of them stay
    vectors = np.arange(1200, dtype=np.float32)[:, None]
    cuts = np.sort(rng.integers(0, 1200, 40))
    total = Sample(ranks[: cuts[0]], vectors[: cuts[0]], 64, int(cuts[0]))
    for start, stop in pairwise([*cuts.tolist(), 1200]):
        total += pickle.loads(pickle.dumps(Sample(ranks[start:stop], vectors[start:stop], 64, stop - start)))
        assert sum(len(some) for some, _ in total._parts) <= 96
    lowest = np.argsort(ranks, kind="stable")[:64]
    assert total.rows == 1200
    np.testing.assert_array_equal(total.ranks, ranks[lowest])
    np.testing.assert_array_equal(total.vectors, vectors[lowest])


def test_fewer_rows_than_clusters():
    op = Clusters(by="v", k=50)
    rows = Rows({"v": pa.array([[1.0, 0.0], [0.0, 1.0]]), "uid": pa.array(["a", "b"])})
    columns = op.batch(rows, op.fit(lambda part: part(rows)))
    assert sorted(columns["v_cluster"].to_pylist()) == [0, 1] and columns["v_cluster_cos"].to_pylist() == [1, 1]


NAN, INFINITE = float("nan"), float("inf")
BAD = {
    "vector_of_1": [1.0],
    "vector_of_3": [1.0, 0.0, 0.0],
    "empty_vector": [],
    "zero_vector": [0.0, 0.0],
    "not_finite_vector": [1.0, NAN],
}


def fitted(op, *columns):
    uids = [pa.array([str(vector) for vector in column.to_pylist()]) for column in columns]
    rows = [Rows({"v": column, "uid": uid}) for column, uid in zip(columns, uids, strict=True)]
    return op.fit(lambda part: added_up(part, *rows))


def test_vectors_of_two_models_in_equal_number_are_refused():
    with pytest.raises(CurateError, match="as many embeddings of 1 numbers as of 2: two models made them"):
        fitted(Clusters(by="v", k=1), pa.array([[1.0]]), pa.array([[1.0, 2.0]]))


def test_one_bad_vector_costs_no_other_row_its_cluster():
    op, good = Clusters(by="v", k=2), [[1.0, 0.0], [0.0, 1.0]]
    column = pa.array([good[0], *BAD.values(), good[1]])
    for parts in ([column], [column[:1], column[1:4], column[4:]]):
        columns = op.batch(Rows({"v": column, "uid": pa.array(["u"] * 7)}), fitted(op, *parts))
        assert columns["status"].tolist() == ["ok", *BAD, "ok"]
        assert columns["v_cluster_cos"].to_pylist() == [1, *[None] * 5, 1]
    with_bad, without = fitted(op, column), fitted(op, pa.array(good))
    assert sorted(with_bad.tolist()) == sorted(without.tolist()), "nor does it move a centroid"


def test_no_vector_at_all_is_usable():
    op, column = Clusters(by="v", k=2), pa.array([[], [NAN], [0.0], [INFINITE]])
    columns = op.batch(Rows({"v": column, "uid": pa.array(["u"] * 4)}), fitted(op, column))
    assert columns["v_cluster"].to_pylist() == [None] * 4
    assert columns["status"].tolist() == ["empty_vector", "vector_of_1", "vector_of_1", "vector_of_1"]


def test_rows_with_a_bad_vector_have_no_semantic_duplicates(make_store):
    vectors = [[1.0, 0.0], *BAD.values(), [1.0, 0.01]]
    view = make_store([{"v": v} for v in vectors], rows_per_shard=3)
    view = annotate(view, [Clusters(by="v", k=1), Semantic(by="v", which="easy")], HERE)
    table = view.store["semantic_v"].collect()
    assert table["semantic_v_max"].is_null().to_list() == [False, *[True] * 5, False]
    assert table["semantic_v_of"].is_not_null().sum() == 1


def test_vectors_of_two_lengths_in_one_cluster_of_the_input_never_meet(make_store):
    rows = [{"v": v, "v_cluster": 1, "v_cluster_cos": 0.5} for v in ([1.0, 0.0], [1.0, 0.0], [1.0], [1.0], [NAN])]
    view = annotate(make_store(rows), [Semantic(by="v")], HERE)
    of = view.store["semantic_v"].collect()["semantic_v_of"]
    assert of.is_not_null().to_list() in ([a, not a, b, not b, False] for a in (True, False) for b in (True, False))


def test_clusters_of_another_column_are_refused_by_name(make_store):
    view = make_store([{"text": str(i), "v": [1.0, i], "w": [float(i), 1.0]} for i in range(6)])
    view = annotate(view, [load({"balance.clusters": {"by": "v", "k": 2}})], HERE)
    with pytest.raises(CurateError, match=r"'v_cluster' are clusters of 'v', not of 'w'"):
        annotate(view, [Semantic(by="w", cluster="v_cluster")], HERE)
