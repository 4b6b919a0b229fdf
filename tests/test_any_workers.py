"""Ops that judge rows by all rows make the same bytes here and on two workers, and the same values in any shards."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from conftest import HERE, MakeStore, column

from curate.annotate.partitions import Cut
from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster

pytestmark = pytest.mark.slow

WORDS = ["a", "dog", "cat", "zebra", "lawn", "mat", "red", "blue", "the", "of", "on", "with", "house", "car", "tree"]


def rows() -> list[dict[str, Any]]:
    """500 rows: a caption of common and rare words, a source, scores, lists of numbers."""
    draw = random.Random(12)
    return [
        {
            "uid": f"{draw.getrandbits(128):032x}",
            "text": " ".join(draw.choices(WORDS, weights=range(15, 0, -1), k=draw.randint(0, 9))),
            "source": draw.choice(["web", "web", "web", "books", "maps", None]),
            "concepts": sorted(draw.sample(range(9), draw.randint(0, 3))),
            "x": draw.choice([None, draw.gauss(0, 1)]),
            "s": draw.random() < 0.7,
            "y": draw.uniform(0, 1e6),
        }
        for _ in range(500)
    ]


OPS: list[dict[str, Any]] = [
    {"balance.standardise": {"columns": {"x": 1, "y": 0.25}}},
    {"balance.quota": {"shares": "sqrt", "rows": 100}},
    {"balance.concepts": {"best": "y", "k": 9}},
    {"score.word_frequency": {"t": 0.01}},
    {"score.text_entropy": {}},
    {"score.listed_tokens": {"size": 60}},
    {"balance.m4": {"attributes": {"s": 0.5}, "passes": 50}},
]


@pytest.mark.parametrize("spec", OPS, ids=lambda spec: next(iter(spec)))
def test_two_workers_write_the_same_bytes(make_store: MakeStore, ray_cluster: Cluster, spec: dict[str, Any]) -> None:
    op, parts, values = load(spec), [], []
    for cluster, per_shard, cut in ((HERE, 60, Cut()), (ray_cluster, 60, Cut(shards_per_run=1)), (HERE, 500, Cut())):
        view = annotate(make_store(rows(), per_shard), [op], cluster, cut)
        folder = view.columns[next(iter(op.makes()))]
        parts.append([Path(view.store.path(view.store.part(folder, s))).read_bytes() for s in view.store.shard_rows()])
        values.append(column(view, *op.makes()))
    assert parts[0] == parts[1]
    assert values[0] == values[2]
    assert any(value is not None for value in values[0])
