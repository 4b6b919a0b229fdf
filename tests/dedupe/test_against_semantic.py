"""dedupe.semantic against old stores, within several clusters, and what it says of borders: as plain loops have it."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HERE, MakeStore, column
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stopping import files_written, stopped_at_write

from curate.annotate.partitions import USUAL, Cut
from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.filter.rule import Filter
from curate.filter.step import select
from curate.function import score_function
from curate.op import Op
from curate.read.step import ReadOptions, read
from curate.store.store import Store
from curate.store.verify import verify
from curate.store.view import View

pytestmark = pytest.mark.slow

A, B, C = (f"{i:032x}" for i in (10, 11, 12))

_numbers = itertools.count()
TYPES = {
    "uid": pa.string(),
    "v": pa.list_(pa.float16()),
    "v_cluster": pa.uint32(),
    "v_cluster_2": pa.uint32(),
    "v_cluster_cos": pa.float32(),
}


def store_of(folder: Path, rows: list[dict[str, Any]], rows_per_shard: int = 3) -> View:
    """A store of literal rows, whose columns have the types of TYPES."""
    name = f"s{next(_numbers)}"
    columns = {name: pa.array([row[name] for row in rows], TYPES[name]) for name in rows[0]}
    more = {"url": pa.array([f"http://x/{row['uid']}" for row in rows]), "text": pa.array(["t"] * len(rows))}
    pq.write_table(pa.table(columns | more), folder / f"{name}.parquet")
    options = ReadOptions(input=str(folder / f"{name}.parquet"), rows_per_shard=rows_per_shard)
    return read(Store(str(folder / name)), options, HERE)


def judged(view: View, op: Op, cut: Cut = USUAL) -> list[tuple[Any, ...]]:
    return column(annotate(view, [op], HERE, cut), *op.makes())


def report_of(view: View, table: str = "semantic_v") -> dict[str, Any]:
    manifest = view.store.manifest()
    entry = manifest.op_table(manifest.current[table])
    assert entry
    return entry.report


def cosine(a: dict[str, Any], b: dict[str, Any]) -> float:
    x, y = (np.array(row["v"], np.float16).astype(np.float64) for row in (a, b))
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def clusters_of(row: dict[str, Any], nearest: int) -> set[int]:
    return {row["v_cluster"], row["v_cluster_2"]} if nearest == 2 else {row["v_cluster"]}


# ---- as plain loops have it ----

ROW = st.builds(
    lambda angle, clusters, cos: {
        "v": [float(np.cos(np.radians(angle))), float(np.sin(np.radians(angle)))],
        "v_cluster": clusters[0],
        "v_cluster_2": clusters[1],
        "v_cluster_cos": cos,
    },
    st.integers(0, 60),
    st.sampled_from([(0, 1), (1, 0), (1, 2), (2, 0)]),
    st.sampled_from([0.1, 0.2, 0.3]),
)


@pytest.mark.parametrize("nearest", [1, 2])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(ROW, min_size=3, max_size=14),
    splits=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    which=st.sampled_from(["hard", "easy"]),
    size=st.sampled_from([1, 2, 100]),
)
def test_new_rows_among_all(
    tmp_path: Path, nearest: int, rows: list[dict[str, Any]], splits: tuple[int, int], which: str, size: int
) -> None:
    rows = [{"uid": f"{(i * 7) % 31:032x}", **row} for i, row in enumerate(rows)]
    first = min(splits[0], len(rows) - 2)
    old = min(first + splits[1], len(rows) - 1)
    a, b, new = (store_of(tmp_path, part, size) for part in (rows[:first], rows[first:old], rows[old:]))
    options = {"by": "v", "which": which, "nearest": nearest, "eps": 0.01, "against": [a.store.url, b.store.url]}
    op = load({"dedupe.semantic": options})
    cut = Cut(rows_per_partition=2, shards_per_run=2)
    sign = 1 if which == "hard" else -1

    def rank(i: int) -> tuple[bool, float, str]:
        return i >= old, sign * rows[i]["v_cluster_cos"], rows[i]["uid"]

    for i, (of, most, store) in enumerate(judged(new, op, cut), old):
        before = [
            j
            for j in range(len(rows))
            if rank(j) < rank(i) and clusters_of(rows[i], nearest) & clusters_of(rows[j], nearest)
        ]
        cosines = {j: cosine(rows[i], rows[j]) for j in before}
        expected = max(cosines.values(), default=0.0)
        assert most == pytest.approx(expected, abs=1e-5)
        if abs(expected - 0.99) > 1e-4:
            assert (of is not None) == (expected > 0.99)
        if of is not None:
            j = next(j for j in range(len(rows)) if rows[j]["uid"] == of)
            assert cosines[j] == pytest.approx(expected, abs=1e-5)
            assert store == (a.store.url if j < first else b.store.url if j < old else None)
        else:
            assert store is None


@pytest.mark.parametrize("which", ["hard", "middle"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=3, max_size=12), old=st.integers(1, 6))
def test_linked_groups_keep_an_old_row(tmp_path: Path, which: str, rows: list[dict[str, Any]], old: int) -> None:
    rows = [{"uid": f"{i:032x}", **row} for i, row in enumerate(rows)]
    old = min(old, len(rows) - 1)
    a, new = (store_of(tmp_path, part) for part in (rows[:old], rows[old:]))
    op = load({"dedupe.semantic": {"by": "v", "rule": "linked", "which": which, "eps": 0.001, "against": a.store.url}})
    group = list(range(len(rows)))
    for _ in rows:
        for i, j in itertools.combinations(range(len(rows)), 2):
            if rows[i]["v_cluster"] == rows[j]["v_cluster"] and cosine(rows[i], rows[j]) > 0.999:
                group[i] = group[j] = min(group[i], group[j])
    for i, (of, size, store) in enumerate(judged(new, op), old):
        members = [j for j in range(len(rows)) if group[j] == group[i]]
        assert size == len(members)
        if any(j < old for j in members):
            assert of in {rows[j]["uid"] for j in members if j < old} and store == a.store.url
        elif len(members) == 1:
            assert (of, store) == (None, None)
        else:
            assert store is None and of != rows[i]["uid"]


def test_as_one_run_over_all_rows_where_old_ones_come_first(tmp_path: Path) -> None:
    """The old rows' cosines with the centroid are smaller than any new one's: one run has them first, too."""
    rng = np.random.default_rng(5)
    near = np.repeat(rng.standard_normal((60, 8)), 3, axis=0) + 0.05 * rng.standard_normal((180, 8))
    order = rng.permutation(180)
    rows = [
        {
            "uid": f"{i:032x}",
            "v": near[place].tolist(),
            "v_cluster": int(place % 2),
            "v_cluster_cos": float(rng.uniform(0, 0.5) + (i >= 120) * 0.5),
        }
        for i, place in enumerate(order.tolist())
    ]
    old, new, whole = (store_of(tmp_path, part, 50) for part in (rows[:120], rows[120:], rows))
    everything = judged(whole, load({"dedupe.semantic": {"by": "v", "eps": 0.02}}))[120:]
    against = judged(new, load({"dedupe.semantic": {"by": "v", "eps": 0.02, "against": old.store.url}}))
    assert [of for of, *_ in against] == [of for of, _ in everything]
    assert [most for _, most, _ in against] == pytest.approx([most for _, most in everything], abs=1e-6)
    olds = {row["uid"] for row in rows[:120]}
    assert [store for *_, store in against] == [old.store.url if of in olds else None for of, _ in everything]
    assert sum(of in olds for of, _ in everything) > 10


# ---- borders ----


def test_a_pair_on_two_sides_of_a_border(tmp_path: Path) -> None:
    rows = [
        {"uid": A, "v": [1.0, 0.01], "v_cluster": 0, "v_cluster_2": 1, "v_cluster_cos": 0.5},
        {"uid": B, "v": [1.0, 0.0], "v_cluster": 1, "v_cluster_2": 0, "v_cluster_cos": 0.6},
        {"uid": C, "v": [0.0, 1.0], "v_cluster": 2, "v_cluster_2": 1, "v_cluster_cos": 0.7},
    ]
    view = store_of(tmp_path, rows)
    assert [of for of, _ in judged(view, load({"dedupe.semantic": {"by": "v"}}))] == [None, None, None]
    assert report_of(view) == {"sampled_rows": 3, "close_pairs": 2, "parted": 1.0}
    two = judged(view, load({"dedupe.semantic": {"by": "v", "nearest": 2}}))
    assert [of for of, _ in two] == [None, A, None]
    assert two[0][1] == 0 and two[1][1] == pytest.approx(1, abs=1e-3)
    assert report_of(view) == {"sampled_rows": 3, "close_pairs": 2, "parted": 1.0, "parted_nearest_2": 0.0}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=2, max_size=14), sampled=st.sampled_from([1, 5, 100]))
def test_the_report_counts_pairs_as_a_plain_loop(tmp_path: Path, rows: list[dict[str, Any]], sampled: int) -> None:
    rows = [{"uid": f"{i:032x}", **row} for i, row in enumerate(rows)]
    old, new = (store_of(tmp_path, part) for part in (rows[:1], rows[1:]))
    options = {"by": "v", "nearest": 2, "sampled": sampled, "eps": 0.01, "against": old.store.url}
    annotate(new, [load({"dedupe.semantic": options})], HERE)
    report = report_of(new)
    assert report["sampled_rows"] == min(sampled, len(rows) - 1)
    if sampled < len(rows) - 1:
        return
    pairs = [
        (i, j) for i in range(1, len(rows)) for j in range(len(rows)) if i != j and cosine(rows[i], rows[j]) > 0.99
    ]
    assert report["close_pairs"] == len(pairs)
    for nearest, name in ((1, "parted"), (2, "parted_nearest_2")):
        apart = [not clusters_of(rows[i], nearest) & clusters_of(rows[j], nearest) for i, j in pairs]
        assert report.get(name) == (pytest.approx(np.mean(apart)) if pairs else None)


# ---- clusters of the same centroids ----


def many(tmp_path: Path, seed: int, rows: int = 90, size: int = 20) -> View:
    """Vectors around one of ten directions that all seeds share."""
    rng = np.random.default_rng(seed)
    vectors = np.random.default_rng(0).standard_normal((10, 8))[rng.integers(0, 10, rows)]
    vectors = vectors + 0.05 * rng.standard_normal((rows, 8))
    return store_of(
        tmp_path, [{"uid": f"{seed * 1000 + i:032x}", "v": v.tolist()} for i, v in enumerate(vectors)], size
    )


def clusters(**options: Any) -> Op:
    return load({"balance.clusters": {"by": "v", "nearest": 2, **options}})


def test_centroids_of_an_old_store_are_taken(tmp_path: Path) -> None:
    old, new = annotate(many(tmp_path, 1), [clusters(k=4)], HERE), many(tmp_path, 2)
    before = {str(file): file.read_bytes() for file in Path(old.store.url).rglob("*") if file.is_file()}
    new = annotate(new, [clusters(centroids=old.store.url)], HERE)
    assert report_of(new, "v_cluster") == report_of(old, "v_cluster")
    kept = Path(old.store.url, old.columns["v_cluster"], "learned.parquet")
    centroids = np.array(pq.read_table(kept)["centroid"].to_pylist())
    for v, first, cos, second in column(new, "v", "v_cluster", "v_cluster_cos", "v_cluster_2"):
        cosines = centroids @ (np.array(v) / np.linalg.norm(v))
        assert (first, second) == tuple(np.argsort(-cosines)[:2]) and cos == pytest.approx(cosines.max(), abs=1e-3)
    op = load({"dedupe.semantic": {"by": "v", "nearest": 2, "against": old.store.url}})
    assert sum(store == old.store.url for *_, store in judged(new, op)) > 40
    assert {str(file): file.read_bytes() for file in Path(old.store.url).rglob("*") if file.is_file()} == before
    # And those of the new store in turn.
    third = annotate(many(tmp_path, 3), [clusters(centroids=new.store.url)], HERE)
    op = load({"dedupe.semantic": {"by": "v", "against": [old.store.url, new.store.url]}})
    assert {store for *_, store in judged(third, op)} >= {old.store.url, new.store.url}
    for view in (old, new, third):
        assert verify(view.store.url).endswith("all as written")


def test_other_centroids_are_refused_with_what_to_do(tmp_path: Path) -> None:
    old, new = (annotate(many(tmp_path, seed), [clusters(k=4)], HERE) for seed in (1, 2))
    op = load({"dedupe.semantic": {"by": "v", "against": old.store.url}})
    fault = (
        rf"'v_cluster' of {old.store.url} are clusters of other centroids than here: run balance\.clusters: \{{by: v, c"
    )
    with pytest.raises(CurateError, match=fault):
        annotate(new, [op], HERE)
    annotate(View.of(new.store), [clusters(centroids=old.store.url), op], HERE)
    bare = many(tmp_path, 3)
    with pytest.raises(CurateError, match="no column 'v_cluster'"):
        annotate(new, [load({"dedupe.semantic": {"by": "v", "against": bare.store.url}})], HERE)


def test_centroids_that_are_not_there(tmp_path: Path) -> None:
    old, new = annotate(many(tmp_path, 1), [clusters(k=4)], HERE), many(tmp_path, 2)
    with pytest.raises(CurateError, match="no table 'other'"):
        annotate(new, [clusters(name="other", centroids=old.store.url)], HERE)
    with pytest.raises(CurateError, match="`k` is for training"):
        clusters(k=4, centroids=old.store.url)
    manifest = old.store.manifest()
    entry = manifest.op_table(old.columns["v_cluster"])
    assert entry
    entry.report = {"clusters": 4}
    old.store.save(manifest)
    with pytest.raises(CurateError, match=r"keeps none: it is not of balance\.clusters, or of an earlier"):
        annotate(new, [clusters(centroids=old.store.url)], HERE)


@score_function(reads="text", makes={"v": pa.list_(pa.float32())})
def turned(text, by: float = 1.0):  # type: ignore[no-untyped-def]
    """A vector of the length of the caption."""
    return [[float(len(caption)), by] for caption in text]


def test_vectors_of_another_model_are_refused(make_store: MakeStore) -> None:
    old = annotate(make_store(4), [turned(by=2.0), load({"balance.clusters": {"by": "v", "k": 2}})], HERE)
    new = annotate(make_store(4), [turned()], HERE)
    fault = r"column 'v' of .* was made by .*turned with \{by: 2.0\}, here it is \{by: 1.0\}"
    with pytest.raises(CurateError, match=fault):
        annotate(new, [load({"balance.clusters": {"by": "v", "centroids": old.store.url}})], HERE)
    own = annotate(new, [load({"balance.clusters": {"by": "v", "k": 2}})], HERE)
    with pytest.raises(CurateError, match=fault):
        annotate(own, [load({"dedupe.semantic": {"by": "v", "against": old.store.url}})], HERE)


def test_clusters_of_few_of_the_old_rows_are_refused(tmp_path: Path) -> None:
    old = many(tmp_path, 1)
    few, _ = select(old, Filter(name="few", where="uid < '000000000000000000000000000003f0'"))
    annotate(few, [clusters(k=4)], HERE)
    select(old, Filter(name="all", where="text IS NOT NULL"))
    new = annotate(many(tmp_path, 2), [clusters(centroids=old.store.url)], HERE)
    with pytest.raises(CurateError, match=r"'v_cluster' of .* lacks values of rows that are in"):
        annotate(new, [load({"dedupe.semantic": {"by": "v", "against": old.store.url}})], HERE)


# ---- one result, however it is computed ----


def parts_of(view: View) -> dict[str, bytes]:
    folder = Path(view.store.url, view.columns["semantic_v_of"])
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.endswith(".tmp")}


def test_two_workers_and_any_cut_make_the_same_bytes(tmp_path: Path, ray_cluster: Cluster) -> None:
    old = annotate(many(tmp_path, 1, 200), [clusters(k=4)], HERE)
    ops = [clusters(centroids=old.store.url)]
    ops.append(load({"dedupe.semantic": {"by": "v", "nearest": 2, "against": old.store.url}}))
    ways = [(HERE, USUAL), (HERE, Cut(rows_per_partition=30, shards_per_run=2)), (ray_cluster, USUAL)]
    tables, reports = [], []
    for cluster, cut in ways:
        view = annotate(many(tmp_path, 2, 200), ops, cluster, cut)
        tables.append(parts_of(view))
        reports.append(report_of(view))
    assert tables[0] == tables[1] == tables[2] and len(tables[0]) == 10
    assert reports[0] == reports[1] == reports[2] and reports[0]["close_pairs"] > 100


def test_stopped_at_any_write(tmp_path: Path) -> None:
    old = annotate(many(tmp_path, 1), [clusters(k=4)], HERE)
    ops = [clusters(centroids=old.store.url)]
    ops.append(load({"dedupe.semantic": {"by": "v", "nearest": 2, "against": old.store.url}}))
    cut = Cut(rows_per_partition=40, shards_per_run=2)
    view = many(tmp_path, 2)
    with files_written() as names:
        expected = parts_of(annotate(view, ops, HERE, cut))
    first = next(number for number, name in enumerate(names) if "learned" in name)
    for stop in sorted({first, first + 1, *range(first + 2, len(names), 1 + len(names) // 8)}):
        view = many(tmp_path, 2)
        with stopped_at_write(stop):
            annotate(view, ops, HERE, cut)
        assert parts_of(annotate(View.of(view.store), ops, HERE, cut)) == expected


def test_without_the_options_tables_have_the_identity_that_they_had() -> None:
    assert set(load({"dedupe.semantic": {"by": "v"}}).spec()["options"]) == {
        *("by", "eps", "which", "rule", "spread", "seed", "largest", "cluster")
    }
    assert set(load({"balance.clusters": {"by": "v"}}).spec()["options"]) == {"by", "k", "sample", "iterations", "seed"}
    with pytest.raises(CurateError, match="nearest goes with rule: earlier only"):
        load({"dedupe.semantic": {"by": "v", "nearest": 2, "rule": "linked"}})


# ---- real captions ----


@pytest.mark.skipif("CURATE_TEST_POOL" not in os.environ, reason="CURATE_TEST_POOL is no pool of real pairs")
def test_real_captions_split_into_old_and_new(tmp_path: Path) -> None:
    """Vectors of the letters of captions: a row goes just where a plain loop over all pairs in a cluster says so."""
    captions = pl.read_parquet(Path(os.environ["CURATE_TEST_POOL"], "pool.parquet"))["caption"].to_list()
    # Every fifth is new: the pool lies by source.
    captions = [caption for fifth in (False, True) for i, caption in enumerate(captions) if (i % 5 == 0) == fifth]
    vectors = np.zeros((len(captions), 64))
    for vector, caption in zip(vectors, captions, strict=True):
        for i in range(len(caption) - 2):
            vector[sum(ord(c) * p for c, p in zip(caption[i : i + 3], (1, 31, 977), strict=True)) % 64] += 1
    rows = [{"uid": f"{i:032x}", "v": vector.tolist()} for i, vector in enumerate(vectors)]
    old, new = store_of(tmp_path, rows[:2800], 1000), store_of(tmp_path, rows[2800:], 200)
    old = annotate(old, [clusters(k=20)], HERE)
    new = annotate(new, [clusters(centroids=old.store.url)], HERE)
    op = load({"dedupe.semantic": {"by": "v", "eps": 0.02, "nearest": 2, "against": old.store.url}})
    found = judged(new, op)
    names = ("v_cluster", "v_cluster_2", "v_cluster_cos")
    placed = [row for view in (old, new) for row in column(view, *names)]
    unit = vectors.astype(np.float16).astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    cosines = unit[2800:] @ unit.T
    both = np.array([row[:2] for row in placed], float)
    together = (both[2800:, None, :, None] == both[None, :, None, :]).any((2, 3))
    keys = [(i >= 2800, row[2], f"{i:032x}") if row[0] is not None else None for i, row in enumerate(placed)]
    gone = 0
    for i, (of, most, store) in enumerate(found):
        if keys[2800 + i] is None:
            assert (of, most, store) == (None, None, None)
            continue
        before = [j for j in np.flatnonzero(together[i]).tolist() if keys[j] and keys[j] < keys[2800 + i]]  # type: ignore[operator]
        expected = float(cosines[i, before].max()) if before else 0.0
        assert most == pytest.approx(expected, abs=2e-5)
        if abs(expected - 0.98) > 1e-4:
            assert (of is not None) == (expected > 0.98)
        gone += store is not None
    assert gone > 20
