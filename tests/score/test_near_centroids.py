import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vector_rows import lists, random_vectors

from curate.catalog import load
from curate.errors import CurateError
from curate.op import Rows

pytestmark = pytest.mark.slow

CENTROIDS = np.array([[2, 0], [0, 1], [-1, 0]], np.float32)
TARGETS = np.array([[1, 0.1], [0.9, 0.5]], np.float32)
ROWS = [[0.6, 0.9], [0.3, 0.8], [-0.9, 0.2], [0.5, 0.5]]


def saved(folder, name, values):
    np.save(folder / f"{name}.npy", np.asarray(values))
    return str(folder / f"{name}.npy")


@pytest.fixture
def files(tmp_path):
    return {"centroids": saved(tmp_path, "centroids", CENTROIDS), "targets": saved(tmp_path, "targets", TARGETS)}


def values(files, vectors, **options):
    op = load({"score.near_centroids": {"by": "v", **files, **options}})
    op.check()
    op.setup()
    columns = op.batch(Rows({"v": vectors if isinstance(vectors, pa.Array) else lists(vectors)}))
    return {name: columns[name].to_pylist() for name in op.makes()} | {"status": list(columns["status"])}


def test_the_example_tells_raw_centroids_from_unit_ones(tmp_path, files):
    raw = values(files, ROWS)
    assert raw["v_near_centroid"] == [0, 1, 2, 0] and raw["v_near_hit"] == [True, False, False, True]
    assert raw["v_near_score"] == pytest.approx([1.2, 0.8, 0.9, 1.0], abs=1e-3)
    unit = CENTROIDS / np.linalg.norm(CENTROIDS, axis=1, keepdims=True)
    other = values({**files, "centroids": saved(tmp_path, "unit", unit)}, ROWS)
    assert other["v_near_centroid"][:3] == [1, 1, 2] and other["v_near_hit"] == [False, False, False, True]


def test_a_row_is_taken_as_it_is_stored(files):
    assert values(files, [[3, 0], [0.3, 0]])["v_near_score"] == pytest.approx([6, 0.6], abs=1e-3)


def test_of_equal_products_the_first_centroid_counts(tmp_path, files):
    files["centroids"] = saved(tmp_path, "twice", [[0.0, 1], [1, 0], [1, 0], [0, 1]])
    assert values(files, [[1, 0], [0, 1]])["v_near_centroid"] == [1, 0]


def test_bad_vectors_have_no_centroid(files):
    column = pa.array([[1.0, 0.0], None, [0.0, 0.0], [1.0], [float("nan"), 1.0]], pa.list_(pa.float16()))
    made = values(files, column)
    assert (
        made["v_near_centroid"] == [0, None, None, None, None] == [None if h is None else 0 for h in made["v_near_hit"]]
    )
    assert made["status"] == ["ok", "no_vector", "zero_vector", "vector_of_1", "not_finite_vector"]


def test_hit_centroids_as_a_list(tmp_path, files):
    hits = saved(tmp_path, "hits", np.array([0], np.uint32))
    assert values({**files, "targets": hits}, ROWS) == values(files, ROWS)
    without = values({"centroids": files["centroids"]}, ROWS)
    assert set(without) == {"v_near_centroid", "v_near_score", "status"}


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_against_numpy_on_500_rows_over_several_tiles(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("curate.models.vector_file.AT_ONCE", 7)
    rows, rng = random_vectors(500, 12), np.random.default_rng(5)
    centroids, targets = rng.standard_normal((40, 12)).astype(kind), random_vectors(30, 12, 1)
    made = values({"centroids": saved(tmp_path, "c", centroids), "targets": saved(tmp_path, "t", targets)}, rows)
    products = rows.astype(np.float64) @ centroids.astype(np.float64).T
    hit = {int(np.argmax(centroids.astype(np.float64) @ t)) for t in targets.astype(np.float64)}
    assert made["v_near_centroid"] == products.argmax(axis=1).tolist()
    assert made["v_near_score"] == pytest.approx(products.max(axis=1), abs=1e-5)
    assert made["v_near_hit"] == [label in hit for label in products.argmax(axis=1).tolist()]
    assert 0 < len(hit) < 40


def test_a_parquet_is_read_as_the_npy(tmp_path, files):
    path = tmp_path / "centroids.parquet"
    pq.write_table(pa.table({"v": pa.array([*CENTROIDS.tolist(), None], pa.list_(pa.float32()))}), path)
    assert values({**files, "centroids": str(path)}, ROWS) == values(files, ROWS)
    with pytest.raises(CurateError, match="no column 'w'"):
        values({**files, "centroids": str(path)}, ROWS, column="w")


def test_files_are_the_identity_and_not_their_places(tmp_path, files):
    spec = load({"score.near_centroids": files}).spec()
    moved = {name: saved(tmp_path, f"moved_{name}", np.load(path)) for name, path in files.items()}
    assert load({"score.near_centroids": moved}).spec() == spec
    moved["centroids"] = saved(tmp_path, "longer", 2 * CENTROIDS)
    assert load({"score.near_centroids": moved}).spec() != spec and str(tmp_path) not in json.dumps(spec)


def test_bad_files_are_told_before_any_work(tmp_path, files):
    def refused(match, **changed):
        with pytest.raises(CurateError, match=match):
            load({"score.near_centroids": {**files, **changed}}).check()

    refused("vectors of 3 numbers, .* centroids of 2: two models", targets=saved(tmp_path, "wide", np.ones((1, 3))))
    refused("is empty: no centroid would be hit", targets=saved(tmp_path, "none", np.ones((0, 2))))
    refused(r"names centroid 3, .* has 3", targets=saved(tmp_path, "over", np.array([0, 3])))
    refused(r"row 1: not all numbers are finite", centroids=saved(tmp_path, "nan", [[1.0, 0], [np.nan, 1]]))
    refused(r"is empty: it holds", centroids=saved(tmp_path, "empty", np.ones((0, 2))))
    refused(r"expected float\[n, d\]", centroids=saved(tmp_path, "ints", np.ones((2, 2), int)))
    refused("no file", centroids="nowhere.npy")
    refused("give its `sha256`", centroids="https://a.example/c.npy")
    refused("has the sha256", centroids_sha256="0" * 64)
    with pytest.raises(CurateError, match=r"'v' has vectors of 3 numbers, expected 2: another model"):
        values(files, np.ones((8, 3)))


def test_too_many_targets_are_refused_with_the_way_out(files, monkeypatch):
    monkeypatch.setattr("curate.score.near_centroids.MOST_WORK", 11)
    with pytest.raises(CurateError, match=r"2 vectors and 3 centroids .* without `targets` on a store"):
        load({"score.near_centroids": files}).check()


def test_vectors_of_another_model_are_refused(files):
    op = load({"score.near_centroids": {**files, "by": "v", "made_by": {"score.clip": {"name": "other"}}}})
    ours = load({"score.clip": {"resize": "torch"}}).spec()
    op.check_reads({"v": load("score.clip").spec()})
    op.check_reads({"v": {}})
    with pytest.raises(CurateError, match=r"column 'v' was made by score\.clip .* their values mean other things"):
        op.check_reads({"v": ours})
