from collections import OrderedDict

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


def scores(path, vectors, head):
    op = load({"score.nsfw": {"file": str(path), "head": head}})
    op.check()
    op.setup()
    return op.batch(Rows({op.by: column(vectors)}))[f"nsfw_{head}"].to_numpy(zero_copy_only=False)


def datacomp():
    torch.manual_seed(1)
    model = nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm1d(768, eps=0.0),
            dense=nn.Linear(768, 64), relu=nn.ReLU(),
            dense1=nn.Linear(64, 512), relu1=nn.ReLU(),
            dense2=nn.Linear(512, 256), relu2=nn.ReLU(),
            dense3=nn.Linear(256, 1), sigmoid=nn.Sigmoid(),
        )
    )  # fmt: skip
    for values in (model.norm.weight, model.norm.bias, model.norm.running_mean):
        nn.init.normal_(values, std=0.5)
    nn.init.uniform_(model.norm.running_var, 0.001, 0.002)
    return model.eval()


class Normalization(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("mean", torch.randn(width) * 0.03)
        self.register_buffer("variance", torch.rand(width) * 0.001 + 0.001)

    def forward(self, x):
        return (x - self.mean) / self.variance.sqrt()


class Laion(nn.Module):
    def __init__(self, widths):
        super().__init__()
        torch.manual_seed(2)
        self.norm = Normalization(widths[0])
        self.count = len(widths)
        for i in range(self.count):
            setattr(self, f"linear_{i + 1}", nn.Linear(widths[i], [*widths, 1][i + 1]))

    def forward(self, x):
        x = self.norm(x)
        for i in range(1, self.count):
            x = torch.relu(getattr(self, f"linear_{i}")(x))
        return torch.sigmoid(getattr(self, f"linear_{self.count}")(x))


@pytest.mark.parametrize(
    ("head", "make", "width"),
    [
        ("datacomp", datacomp, 768),
        ("laion", lambda: Laion([768, 64, 512, 256]).eval(), 768),
        ("laion_b32", lambda: Laion([512, 32, 32]).eval(), 512),
    ],
)
def test_each_is_the_published_network(tmp_path, head, make, width):
    model = make()
    torch.save(model.state_dict(), tmp_path / "head.pth")
    vectors = np.random.default_rng(0).normal(size=(40, width)).astype(np.float16)
    with torch.inference_mode():
        wanted = model(nn.functional.normalize(torch.from_numpy(vectors).float()))[:, 0].numpy()
    assert np.ptp(wanted) > 0.005
    np.testing.assert_allclose(scores(tmp_path / "head.pth", vectors, head), wanted, atol=2e-6)


def test_by_hand(tmp_path):
    """Only the first number passes: relu(relu(relu((.6 - .1) / .5 * 2 + 1))) - 3 = 0, so one half; -.6 leads to -3."""
    state = {name: torch.zeros_like(value) for name, value in datacomp().state_dict().items()}
    state["norm.running_mean"][0] = 0.1
    state["norm.running_var"][:] = 0.25
    state["norm.weight"][0], state["norm.bias"][0] = 2, 1
    for layer in ("dense", "dense1", "dense2", "dense3"):
        state[f"{layer}.weight"][0, 0] = 1
    state["dense3.bias"][0] = -3
    torch.save(state, tmp_path / "head.pth")
    vectors = np.zeros((2, 768))
    vectors[:, :2] = [[0.6, 0.8], [-0.6, 0.8]]
    found = scores(tmp_path / "head.pth", vectors, "datacomp")
    assert found == pytest.approx([0.5, 1 / (1 + np.exp(3))], abs=1e-3)


def test_other_embeddings_other_heads(tmp_path):
    torch.save(datacomp().state_dict(), tmp_path / "head.pth")
    with pytest.raises(CurateError, match=r"'clip_l14_img' has vectors of 512 numbers, expected 768"):
        scores(tmp_path / "head.pth", np.ones((8, 512)), "datacomp")
    with pytest.raises(CurateError, match=r"no layer 'norm\.mean'"):
        scores(tmp_path / "head.pth", np.ones((2, 768)), "laion")
