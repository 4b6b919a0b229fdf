"""Ops that read stored vectors make the same bytes in this process and on two workers."""

import numpy as np
import pyarrow as pa
import pytest
from conftest import HERE
from vector_rows import lists, random_vectors, store_of

from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.models.vector_file import VectorFile
from curate.op import Op
from curate.retrieval.step import retrieve

pytestmark = pytest.mark.slow


def ops(folder) -> list[Op]:
    targets, centroids = str(folder / "targets.npy"), str(folder / "centroids.npy")
    np.save(targets, random_vectors(30, 12, 5))
    np.save(centroids, np.random.default_rng(1).standard_normal((20, 12)))
    specs = [
        {"score.near_centroids": {"by": "v_img", "centroids": centroids, "targets": targets}},
        {"score.normsim": {"by": "v_img", "targets": targets}},
        {"score.ncl": {"by": "v_img", "batch": 100, "partitions": 3}},
        {"score.backdoor": {"by": "v_img", "k": 4, "batch": 80, "source": "text"}},
        {"score.hype": {"by": "v_img", "curvature": 1.0, "images": targets, "captions": targets}},
        {"balance.clusters": {"by": "v_img", "k": 20, "labels": 3}},
        {"balance.clusters": {"by": "v_img", "k": 9, "unit": False, "name": "raw"}},
        {"balance.cluster_cap": {"by": "v_img_cluster", "rows": 100}},
        {"balance.hierarchical": {"by": ["raw", "v_img_cluster"], "rows": 100}},
        {"balance.soft_cap": {"by": "ncl", "rows": 1000, "draw": 40}},
        {"dedupe.semantic": {"by": "v_img", "rule": "linked", "which": "mean", "eps": 0.1}},
    ]
    return [load(spec) for spec in specs]


def test_two_worker_counts_make_the_same_bytes(tmp_path, ray_cluster: Cluster):
    columns = {
        "v_img": lists(random_vectors(500, 12), null=[3]),
        "v_txt": lists(random_vectors(500, 12, 1), null=[9]),
        "text": pa.array([f"caption {i % 7}" for i in range(500)]),
    }
    made = []
    for name, cluster in (("here", HERE), ("workers", ray_cluster)):
        view = annotate(store_of(tmp_path / name, columns, 40), ops(tmp_path), cluster)
        folders = sorted({folder for folder in view.columns.values() if folder != "records"})
        parts = {
            f"{folder}/{shard}": view.store.read_bytes(view.store.part(folder, shard))
            for folder in folders
            for shard in view.store.shard_rows()
        }
        reports = {folder: view.store.manifest().tables[folder].report for folder in folders}
        near = retrieve(view, "v_img", VectorFile(str(tmp_path / "targets.npy")), 4, cluster).table
        made.append((parts, reports, near))
    (parts, reports, near), (parts_of_workers, reports_of_workers, near_of_workers) = made
    assert list(parts) == list(parts_of_workers) and len(parts) == 11 * 13
    assert [name for name in parts if parts[name] != parts_of_workers[name]] == []
    assert reports == reports_of_workers and near.equals(near_of_workers)
