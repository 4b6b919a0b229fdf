"""balance.concepts: the k best captions of each concept."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from by_hand import made
from conftest import HERE, MakeStore, column

from curate.annotate.step import annotate
from curate.arrays.string_hash import hash_strings
from curate.catalog import load
from curate.errors import CurateError

pytestmark = pytest.mark.slow

LISTS = pa.list_(pa.uint32())


def judged(concepts: list[Any], scores: list[Any], **options: Any) -> dict[str, list[Any]]:
    op = load({"balance.concepts": {"best": "s", **options}})
    uids = [f"{i:032x}" for i in range(len(concepts))]
    return made(op, {"concepts": pa.array(concepts, LISTS), "s": pa.array(scores), "uid": pa.array(uids)})


def test_one_of_panda_and_one_of_crane() -> None:
    # "A giant panda.", "pandas", "Crane-fly", "crane and panda"
    answer = judged([[0], [], [1], [0, 1]], [0.9, 0.8, 0.3, 0.5], k=1)
    assert answer["concepts_balanced_keep"] == [True, False, False, True]
    assert answer["concepts_balanced_of"] == [[0], [], [], [1]]


def test_a_caption_serves_several_and_a_small_concept_keeps_all() -> None:
    answer = judged([[0], [0, 1], [0]], [0.1, 0.9, 0.2], k=2)
    assert answer["concepts_balanced_of"] == [[], [0, 1], [0]]


def prompts(folder: Path, rows: Any) -> str:
    np.save(folder / "prompts.npy", np.array(rows, np.float32))
    return str(folder / "prompts.npy")


def test_cosines_with_prompts_and_none_below_zero(tmp_path: Path) -> None:
    file = prompts(tmp_path, [[2, 0], [0, 1]])
    vectors = [[1.0, 0.0], [1.0, 1.0], [-1.0, 0.1], [0.0, 0.0], None]
    columns = {
        "concepts": pa.array([[0], [0, 1], [0, 1], [0], [0]], LISTS),
        "clip_txt": pa.array(vectors, pa.list_(pa.float32())),
        "uid": pa.array([f"{i:032x}" for i in range(5)]),
    }
    for k, of in ((1, [[0], [1], [], []]), (5, [[0], [0, 1], [1], []])):
        op = load({"balance.concepts": {"prompts": file, "k": k}})
        op.check()
        assert made(op, columns)["concepts_balanced_of"] == of


def test_faults(tmp_path: Path, make_store: MakeStore) -> None:
    for options in ({}, {"prompts": "p.npy", "best": "s"}):
        with pytest.raises(CurateError, match="give either `prompts`"):
            load({"balance.concepts": options})
    file = prompts(tmp_path, [[1, 0]])
    op = load({"balance.concepts": {"prompts": file, "vectors": "v"}})
    with pytest.raises(CurateError, match=r"'concepts' names concept 3, and '.*' has prompts of 0 to 0"):
        annotate(make_store([{"concepts": [3], "v": [1.0, 2.0]}]), [op], HERE)
    with pytest.raises(CurateError, match=r"vectors of 3 numbers, expected 2"):
        annotate(make_store([{"concepts": [0], "v": [1.0, 2.0, 3.0]}] * 9), [op], HERE)


def test_against_a_sort_of_all_rows(make_store: MakeStore) -> None:
    draw = random.Random(6)
    rows = [
        {
            "uid": f"{draw.getrandbits(128):032x}",
            "concepts": sorted(draw.sample(range(12), draw.randint(0, 4))),
            "s": draw.choice([None, 0.5, draw.uniform(-1, 1)]),
        }
        for _ in range(500)
    ]
    chosen: list[list[int]] = [[] for _ in rows]
    hashes = hash_strings([row["uid"] for row in rows]).tolist()
    for concept in range(12):
        named = [i for i, row in enumerate(rows) if concept in row["concepts"] and row["s"] is not None]
        for i in sorted(named, key=lambda i: (-np.float32(rows[i]["s"]), hashes[i]))[:20]:
            chosen[i].append(concept)
    op = load({"balance.concepts": {"best": "s", "k": 20}})
    for per_shard in (37, 500):
        view = annotate(make_store(rows, per_shard), [op], HERE)
        for row, of, expected in zip(rows, column(view, "concepts_balanced_of"), chosen, strict=True):
            assert of == (expected if row["s"] is not None else None)
