"""The whole job on a real pool, served over HTTP; CURATE_TEST_POOL is its folder (pool.parquet: file, caption)."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import webdataset

import curate
from curate.cluster.cluster import Cluster
from curate.pipeline.file import load_pipeline
from curate.run import run

POOL = os.environ.get("CURATE_TEST_POOL")
ROWS = 250

pytestmark = pytest.mark.slow


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: str) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.skipif(POOL is None, reason="CURATE_TEST_POOL is not set: no real pool of pairs to run on")
def test_the_whole_job_on_real_pairs(tmp_path: Path) -> None:
    assert POOL is not None
    pairs = pl.read_parquet(Path(POOL) / "pool.parquet").sample(ROWS, seed=1)
    with served(POOL) as base_url:
        rows = pairs.select(url=base_url + "/" + pl.col("file"), caption="caption", source="source")
        rows.write_parquet(tmp_path / "pairs.parquet")
        variables = {
            "input": str(tmp_path / "pairs.parquet"),
            "root": str(tmp_path / "store"),
            "allow": ["127.0.0.0/8"],
            "threshold": 0.15,
            "t": 50,
        }
        result = run(load_pipeline("demo", variables), Cluster(workers=2))
    funnel = result["funnel"]
    assert funnel[0]["entered"] == ROWS
    assert sum(sum(step["dropped"].values()) for step in funnel) + funnel[-1]["kept"] == ROWS
    download = next(step for step in funnel if step["step"] == "download")
    assert download["dropped"] == {}, "every file of the pool is a readable image"
    store = curate.open(str(tmp_path / "store"))
    assert store.table("text").collect()["text"].to_list() == rows["caption"].to_list()
    shards = sorted(str(p) for p in Path(result["written"]["to"]).glob("*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil").to_tuple("jpg", "txt", "json"))
    assert len(samples) == result["written"]["samples"] == funnel[-1]["kept"] > ROWS // 5
    assert {about["source"] for _, _, about in samples} <= set(rows["source"])
    assert all(image.width <= 512 and image.height <= 512 for image, _, _ in samples)
