"""A small store with all that a removal has to look at: images, scores, duplicates, filters, training shards."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from PIL import Image

from curate import api
from curate.look.results import RunResult

HOSTS = ("a.test", "b.test", "www.c.test", "d.test")

#: Captions of three rows each are the same: duplicates that name the row which stays.
STEPS = """
- read: {input: "${input}", rows_per_shard: 20}
- score: [words, text_rules, phash]
- dedupe: [exact: {by: text}]
- filter: {name: long, keep: [{if: words > 3, else: short}]}
- write: {samples_per_shard: 15}
"""


def body(number: int) -> bytes:
    """A picture of noise: no two of them share bytes from their midst."""
    pixels = np.random.default_rng(number).integers(0, 255, (24, 24, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pairs(rows: int, first: int = 0) -> pl.DataFrame:
    numbers = range(first, first + rows)
    return pl.DataFrame(
        {
            "url": [f"http://{HOSTS[n % len(HOSTS)]}/picture-of-{n:04d}.png" for n in numbers],
            "text": [f"caption about thing {n - n % 3 if n % 7 == 1 else n:04d} that nobody else has" for n in numbers],
            "source": [f"page-{n:04d}" for n in numbers],
            "image": [body(n) for n in numbers],
        }
    )


def run(folder: Path, root: str, rows: int = 90, first: int = 0, **more: object) -> RunResult:
    """Make a store of some rows, or go on with one that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"pairs-{first}.parquet"
    pairs(rows, first).write_parquet(source)
    job = folder / "job.yaml"
    job.write_text(yaml.safe_dump({"name": "job", "set": {"input": None}, "steps": yaml.safe_load(STEPS)}))
    return api.run(job, workers=0, set={"input": str(source), "root": root, **more})
