"""Scores that read stored vectors: a bad one costs its own row; CLIPScore and RefCLIPScore are the paper's."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curate.catalog import load
from curate.op import Rows, Score

NAN = float("nan")
#: One good vector, one of each bad kind, a good one.
VECTORS = [[0.6, 0.8], [NAN, 1.0], [1.0], [], [0.0, 0.0], [1.0, 0.0]]
WORDS = ["ok", "not_finite_vector", "vector_of_1", "empty_vector", "zero_vector", "ok"]


class East:
    """An encoder for which every caption and image points the same way; it keeps the captions it sees."""

    def __init__(self):
        self.tokens, self.seen = self, []

    def ready(self, texts):
        self.seen += texts
        return [(text, False) for text in texts]

    def texts(self, captions):
        self.seen += captions
        return np.tile(np.array([[1, 0]], np.float32), (len(captions), 1))

    def captions(self, ready):
        return np.tile(np.array([[1, 0]], np.float32), (len(ready), 1)), [False] * len(ready)

    def images(self, pictures):
        return self.texts([str(p.size) for p in pictures])


def op_of(name, **options) -> tuple[Score, East]:
    op, encoder = load({name: options}), East()
    object.__setattr__(op, "_encoder", encoder)
    return op, encoder


def columns(**more):
    vectors = pa.array(VECTORS, pa.list_(pa.float16()))
    n = len(VECTORS)
    common = {"text": pa.array(["red 5"] * n), "lite": pa.array([0.5] * n, pa.float32())}
    return {**common, "lite_img": vectors, "lite_txt": vectors, **more}


def test_clipscore_is_two_and_a_half_cosines_of_the_prompted_caption():
    op, encoder = op_of("score.clipscore", model="lite0-minilm")
    made = op.apply({**columns()})
    assert encoder.seen == ["A photo depicts red 5"] * 6
    assert made["clipscore"].to_pylist() == pytest.approx([1.5, None, None, None, None, 2.5], abs=2e-3)
    assert made["status"].tolist() == WORDS


def test_clip_no_digits():
    op, _ = op_of("score.clip_no_digits")
    made = op.batch(Rows(columns()))
    assert made["lite_no_digits"].to_pylist() == pytest.approx([0.6, None, None, None, None, 1.0], abs=1e-3)
    assert made["status"].tolist() == WORDS
    unchanged = op.batch(Rows(columns(text=pa.array(["red"] * 6))))
    assert unchanged["status"].tolist() == ["ok"] * 6, "a caption that keeps its words keeps its cosine"


BOX = [1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0]


def test_clip_masked():
    op, _ = op_of("score.clip_masked")
    read = columns(text_polygons=pa.array([BOX] * 6, pa.list_(pa.float32())))
    made = op.batch(Rows(read, [Image.new("RGB", (32, 32), "white")] * 6))
    assert made["lite_masked"].tolist() == pytest.approx([0.6, NAN, NAN, NAN, NAN, 1.0], abs=1e-3, nan_ok=True)
    assert made["status"].tolist() == WORDS


def test_ref_clipscore_is_the_harmonic_mean_with_the_nearest_reference():
    op, encoder = op_of("score.ref_clipscore", references="refs", model="lite0-minilm")
    read = {"text": pa.array(["a", "b", "c"]), "clipscore": pa.array([0.75, 0.0, 2.0], pa.float32())}
    made = op.batch(Rows({**read, "refs": pa.array([["x", "y"], ["z"], []])}))
    assert made["ref_clipscore"].to_pylist() == pytest.approx([2 * 0.75 / 1.75, 0.0, None])
    assert made["status"].tolist() == ["ok", "ok", "no_references"]
    assert encoder.seen[3:] == ["A photo depicts x", "A photo depicts y", "A photo depicts z"]
