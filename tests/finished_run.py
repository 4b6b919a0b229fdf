"""A small finished run for the tests of what shows one: a demo pool, served, curated in this process, no model."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import yaml

from curate.cluster.cluster import Cluster
from curate.demo.pool import build
from curate.demo.server import serve
from curate.pipeline.file import load_pipeline
from curate.run import run

#: Before every caption and in one url: a page that shows them must neither run nor load anything.
HOSTILE = "<script>alert(1)</script><img src=http://example.invalid/x.png onerror=alert(1)>"

STEPS = """
- read: {input: "${input}", rows_per_shard: 70}
- score: [words, language, text_rules]
- filter: {name: captions, keep: [{if: words > 4, else: fewer than 5 words},
    {if: lang = 'en', else: "no English & no <b>Latin</b>"}]}
- download: {image_size: 128, resize_mode: keep_ratio, timeout_seconds: 1, max_bytes: 2000000,
             allow_private_addresses: [127.0.0.0/8]}
- score: [phash]
- filter: {name: images, keep: [{if: original_width >= 100 AND original_height >= 100, else: too small}]}
- dedupe: [exact: {by: sha256}]
- filter: {name: sure, keep: [{if: lang_score >= 0.6, else: language is not sure}]}
- write: {samples_per_shard: 50}
"""


def finish(folder: Path, rows: int = 200) -> str:
    """Build, serve and curate a pool in `folder`; returns the root of the store."""
    with serve(folder / "pool") as base_url:
        pool = build(folder / "pool", rows, base_url=base_url)
        frame = pl.read_parquet(pool).with_columns(text=pl.lit(HOSTILE + " ") + pl.col("text"))
        bad = pl.col("url").is_null() | ~pl.col("url").str.starts_with("http")
        frame = frame.with_columns(url=pl.when(bad).then(pl.lit(f'javascript:alert(1)"{HOSTILE}')).otherwise("url"))
        frame.write_parquet(pool)
        job = folder / "job.yaml"
        job.write_text(yaml.safe_dump({"name": "job", "set": {"input": None}, "steps": yaml.safe_load(STEPS)}))
        run(load_pipeline(job, {"input": str(pool), "root": str(folder / "store")}), Cluster(workers=0))
    return str(folder / "store")
