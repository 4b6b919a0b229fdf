import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from curate.catalog import load
from curate.errors import CurateError
from curate.op import Rows

pytestmark = pytest.mark.slow


def column(vectors):
    return pa.array([np.asarray(v, np.float16) for v in vectors], pa.list_(pa.float16()))


def scores(path, vectors, head="v2", **options):
    op = load({"score.aesthetic": {"file": str(path), "head": head, **options}})
    op.check()
    op.setup()
    return op.batch(Rows({op.by: column(vectors)}))


class Published(nn.Module):
    """The predictor as its authors wrote it down: a stack of linear layers, dropout, no activation."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(768, 1024), nn.Dropout(0.2),
            nn.Linear(1024, 128), nn.Dropout(0.2),
            nn.Linear(128, 64), nn.Dropout(0.1),
            nn.Linear(64, 16), nn.Linear(16, 1),
        )  # fmt: skip


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    return Published().eval()


def test_v2_is_the_published_stack(tmp_path, published):
    torch.save(published.state_dict(), tmp_path / "v2.pth")
    vectors = np.random.default_rng(0).normal(size=(50, 768)).astype(np.float16)
    made = scores(tmp_path / "v2.pth", vectors)
    with torch.inference_mode():
        wanted = published.layers(nn.functional.normalize(torch.from_numpy(vectors).float()))[:, 0].numpy()
    np.testing.assert_allclose(made["aesthetic_v2"].to_numpy(), wanted, atol=1e-6)
    assert np.ptp(wanted) > 1e-3
    # Length does not count, direction does.
    longer = scores(tmp_path / "v2.pth", vectors * np.float16(4))["aesthetic_v2"]
    np.testing.assert_allclose(longer.to_numpy(), wanted, atol=1e-6)


def test_v1_by_hand(tmp_path):
    torch.save({"weight": torch.tensor([[10.0, 5.0]]), "bias": torch.tensor([1.0])}, tmp_path / "v1.pth")
    made = scores(tmp_path / "v1.pth", [[3, 4], [1, 0], [0, 0]], "v1", by="b_img")
    assert made["aesthetic_v1"].to_pylist() == pytest.approx([10 * 0.6 + 5 * 0.8 + 1, 11, None])
    assert made["status"].tolist() == ["ok", "ok", "zero_vector"]


def test_embeddings_of_another_model(tmp_path, published):
    torch.save(published.state_dict(), tmp_path / "v2.pth")
    with pytest.raises(CurateError, match=r"'clip_l14_img' has vectors of 512 numbers, expected 768"):
        scores(tmp_path / "v2.pth", np.ones((8, 512)))


def test_files_of_another_head(tmp_path, published):
    torch.save(published.state_dict(), tmp_path / "v2.pth")
    with pytest.raises(CurateError, match="no layer 'weight'"):
        scores(tmp_path / "v2.pth", np.ones((2, 768)), "v1")
    narrow = {**published.state_dict(), "layers.4.weight": torch.zeros(32, 128)}
    torch.save(narrow, tmp_path / "narrow.pth")
    with pytest.raises(CurateError, match=r"layer 'layers\.4\.weight' is \[32, 128\], expected \[64, 128\]"):
        scores(tmp_path / "narrow.pth", np.ones((2, 768)))
    missing = {name: value for name, value in published.state_dict().items() if name != "layers.7.bias"}
    torch.save(missing, tmp_path / "missing.pth")
    with pytest.raises(CurateError, match=r"no layer 'layers\.7\.bias'"):
        scores(tmp_path / "missing.pth", np.ones((2, 768)))


def test_columns():
    file = {"file": "https://a.example/v2.pth", "sha256": "0" * 64}
    assert load({"score.aesthetic": file}).makes() == {"aesthetic_v2": pa.float32()}
    assert load({"score.aesthetic": {**file, "head": "v1"}}).table() == "aesthetic_v1"
    assert set(load({"score.aesthetic": {**file, "name": "beauty"}}).makes()) == {"beauty"}
