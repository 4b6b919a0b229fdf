import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from curate.catalog import load
from curate.errors import CurateError
from curate.op import Rows

pytestmark = pytest.mark.slow


def column(vectors):
    return pa.array([np.asarray(v, np.float16) for v in vectors], pa.list_(pa.float16()))


def scores(path, vectors, **options):
    op = load({"score.q16": {"file": str(path), **options}})
    op.check()
    op.setup()
    return op.batch(Rows({op.by: column(vectors)}))


def test_by_hand(tmp_path):
    """Prompts along x and y; their lengths do not count, and a tie is the first's."""
    np.save(tmp_path / "prompts.npy", np.array([[7, 0], [0, 0.5]]))
    made = scores(tmp_path / "prompts.npy", [[4, 3], [3, 4], [1, 1], [0, 0]])
    assert made["q16"].to_pylist() == [False, True, False, None]
    assert made["q16_margin"].to_pylist() == pytest.approx([-0.2, 0.2, 0, None], abs=1e-6)
    assert made["status"].tolist() == ["ok", "ok", "ok", "zero_vector"]


def test_is_the_argmax_of_published_code(tmp_path):
    rng = np.random.default_rng(0)
    prompts = torch.from_numpy(rng.normal(size=(2, 768)).astype(np.float32))
    vectors = rng.normal(size=(60, 768)).astype(np.float16)
    save_file({"prompts": prompts}, tmp_path / "prompts.safetensors")
    made = scores(tmp_path / "prompts.safetensors", vectors)
    images = torch.from_numpy(vectors).float()
    logits = 100 * torch.nn.functional.normalize(images) @ torch.nn.functional.normalize(prompts).T
    assert made["q16"].to_pylist() == (logits.argmax(dim=1) == 1).tolist()
    assert 10 < sum(made["q16"].to_pylist()) < 50
    as_probability = 1 / (1 + np.exp(-100 * made["q16_margin"].to_numpy()))
    np.testing.assert_allclose(as_probability, logits.softmax(dim=1)[:, 1].numpy(), atol=1e-4)


def test_bad_prompts(tmp_path):
    np.save(tmp_path / "three.npy", np.ones((3, 768)))
    with pytest.raises(CurateError, match=r"layer '' is \[3, 768\], expected \[2, any\]"):
        scores(tmp_path / "three.npy", np.ones((1, 768)))
    np.save(tmp_path / "zero.npy", np.array([[1, 0], [0, 0]]))
    with pytest.raises(CurateError, match="all zeros"):
        scores(tmp_path / "zero.npy", np.ones((1, 2)))
    np.save(tmp_path / "b16.npy", np.ones((2, 512)))
    with pytest.raises(CurateError, match=r"'clip_l14_img' has vectors of 768 numbers, expected 512"):
        scores(tmp_path / "b16.npy", np.ones((8, 768)))


def test_columns():
    op = load({"score.q16": {"file": "https://a.example/p.npy", "sha256": "0" * 64, "name": "q16_b16"}})
    assert op.makes() == {"q16_b16": pa.bool_(), "q16_b16_margin": pa.float32()}
