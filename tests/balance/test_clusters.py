import numpy as np
import pyarrow as pa
import pytest
from conftest import HERE
from vector_rows import by_row, lists, random_vectors, store_of

from curate.annotate.step import annotate
from curate.balance.clusters import Clusters
from curate.catalog import load
from curate.errors import CurateError
from curate.op import Rows
from curate.store.view import View

pytestmark = pytest.mark.slow

#: Vectors of several lengths.
VECTORS = random_vectors(500, 12) * np.random.default_rng(2).uniform(0.5, 3, 500).astype(np.float16)[:, None]
COLUMNS = {"v": lists(VECTORS, null=[3])}


def made(view, **options):
    op = Clusters(by="v", **options)
    return by_row(annotate(view, [op], HERE), op.table())


def test_raw_vectors_and_centroids(tmp_path):
    view, path = store_of(tmp_path / "s", COLUMNS, 100), str(tmp_path / "c.npy")
    table = made(view, k=20, unit=False, write=path)
    centroids = np.load(path)
    assert centroids.shape == (20, 12) and centroids.dtype == np.float32
    lengths = np.linalg.norm(centroids, axis=1)
    assert lengths.max() > 1.2 * lengths.min(), "they are means, not directions"
    products = VECTORS.astype(np.float64) @ centroids.astype(np.float64).T
    rows = [i for i in range(500) if i != 3]
    assert table["v_cluster"].to_list() == [None if i == 3 else int(products[i].argmax()) for i in range(500)]
    assert table["v_cluster_score"].drop_nulls().to_list() == pytest.approx(products.max(axis=1)[rows], abs=1e-4)
    # Each centroid is near the mean of the rows that are nearest to it by distance.
    near = ((VECTORS[rows, None].astype(np.float64) - centroids) ** 2).sum(axis=2).argmin(axis=1)
    for number in range(20):
        mean = VECTORS[rows][near == number].astype(np.float64).mean(axis=0)
        assert np.linalg.norm(mean - centroids[number]) < 0.25 * np.linalg.norm(mean)


def test_labels_are_a_list_the_nearest_first(tmp_path):
    view, path = store_of(tmp_path / "s", COLUMNS, 100), str(tmp_path / "c.npy")
    table = made(view, k=20, labels=8, nearest=2, write=path)
    unit = VECTORS.astype(np.float64) / np.linalg.norm(VECTORS.astype(np.float64), axis=1)[:, None]
    cosines = unit @ np.load(path).astype(np.float64).T
    expected = np.argsort(-cosines, axis=1, kind="stable")[:, :8]
    assert table["v_cluster_labels"].to_list() == [None if i == 3 else e for i, e in enumerate(expected.tolist())]
    assert (
        table["v_cluster"].drop_nulls().equals(table["v_cluster_labels"].list.first().alias("v_cluster").drop_nulls())
    )
    assert table["v_cluster_2"].to_list() == table["v_cluster_labels"].list.get(1).to_list()
    few = made(view, k=3, labels=8, name="few")
    assert few["few_labels"].list.len().drop_nulls().unique().to_list() == [3]


def test_of_other_labels_the_cluster_is_the_same_and_so_is_the_old_identity():
    assert set(Clusters(by="v").spec()["options"]) == {"by", "k", "sample", "iterations", "seed"}
    assert set(Clusters(by="v", labels=2, unit=False, write="a.npy").spec()["options"]) - set(
        Clusters(by="v").spec()["options"]
    ) == {"labels", "unit"}


def test_centroids_of_a_file_are_those_of_the_store(tmp_path):
    view, path = store_of(tmp_path / "s", COLUMNS, 100), str(tmp_path / "c.npy")
    table = made(view, k=20, write=path)
    other = store_of(tmp_path / "t", COLUMNS, 40)
    taken, again = (
        by_row(annotate(other, [Clusters(by="v", centroids=place, name=name)], HERE), name)
        for place, name in ((view.store.url, "v_cluster"), (path, "again"))
    )
    assert taken["v_cluster"].to_list() == again["again"].to_list() == table["v_cluster"].to_list()
    specs = [load({"balance.clusters": {"by": "v", "centroids": place}}).spec() for place in (view.store.url, path)]
    assert specs[0] == specs[1]
    np.save(path, 3 * np.load(path))
    scaled = by_row(annotate(other, [Clusters(by="v", centroids=path, name="scaled")], HERE), "scaled")
    assert scaled["scaled_cos"].to_list() == pytest.approx(table["v_cluster_cos"].to_list(), abs=1e-5)


def test_a_finished_table_writes_its_centroids_too(tmp_path, capsys):
    view, path = store_of(tmp_path / "s", COLUMNS, 100), tmp_path / "c.npy"
    made(view, k=5)
    annotate(View.of(view.store), [Clusters(by="v", k=5, write=str(path))], HERE)
    assert np.load(path).shape == (5, 12)
    assert "5 centroids of 12 in" in " ".join(capsys.readouterr().err.split())


def test_bad_files_and_widths(tmp_path):
    def refused(match, values=None, name="bad.npy"):
        if values is not None:
            np.save(tmp_path / name, values)
        with pytest.raises(CurateError, match=match):
            load({"balance.clusters": {"by": "v", "centroids": str(tmp_path / name)}}).check()

    refused(r"expected float\[k, d\]", np.ones((2, 2), int), "ints.npy")
    refused(r"expected float\[k, d\]", np.ones((0, 2)), "empty.npy")
    refused("not all numbers are finite", np.array([[np.inf, 1]]), "infinite.npy")
    refused("no file", name="none.npy")
    with pytest.raises(CurateError, match=r"does not end in \.npy"):
        load({"balance.clusters": {"by": "v", "write": "c.parquet"}})
    with pytest.raises(CurateError, match="`k` is for training"):
        load({"balance.clusters": {"by": "v", "k": 3, "centroids": "c.npy"}})
    np.save(tmp_path / "wide.npy", np.eye(13))
    op = Clusters(by="v", centroids=str(tmp_path / "wide.npy"))
    with pytest.raises(CurateError, match="'v' has vectors of 12 numbers, expected 13: another model"):
        op.batch(Rows({"v": lists(VECTORS[:20]), "uid": pa.array(["u"] * 20)}), op.fit(None))
