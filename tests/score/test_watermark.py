"""The watermark detector is the published architecture: held against one put together anew, with random weights."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image

from curate.annotate.step import annotate
from curate.catalog import load
from curate.cluster.cluster import Cluster
from curate.demo import scenes
from curate.errors import CurateError
from curate.models.open_clip_import import open_clip
from curate.models.watermark_net import network

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    made = network().eval()
    with torch.no_grad():  # fresh weights say the same of everything
        for layer in (0, 3, 5):
            made.classifier[layer].weight.mul_(20)
    return made


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "watermark_model_v1.pt"
    torch.save(model.state_dict(), path)
    return path


def drawn(count: int) -> list[Image.Image]:
    rng = random.Random(2)
    return [scenes.draw(rng, size_px=(rng.randint(200, 400), 224))[0] for _ in range(count)]


def by_hand(model, picture: Image.Image) -> float:
    """Squash, bytes to 0..1, ImageNet's mean and deviation, softmax, the first class: step by step."""
    levels = np.asarray(picture.resize((256, 256), Image.Resampling.BILINEAR), np.float32) / 255
    normal = (levels - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    logits = model(torch.from_numpy(normal.transpose(2, 0, 1)[None].astype(np.float32)))[0].detach().numpy()
    odds = np.exp(logits - logits.max())
    return float(odds[0] / odds.sum())


def test_same_as_step_by_step(model, file):
    op = load({"score.watermark": {"file": str(file), "device": "cpu"}})
    torch.set_num_threads(2)
    op.setup()
    assert torch.get_num_threads() == 1, "one worker per CPU"
    pictures = drawn(11)
    found = op.apply({}, pictures)["pwatermark"]
    wanted = [by_hand(model, picture) for picture in pictures]
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    assert np.std(wanted) > 0.001, "they differ, so that agreeing says something"


def test_the_layers_of_the_published_file(model):
    head = {name: tuple(t.shape) for name, t in model.state_dict().items() if name.startswith("classifier")}
    assert head == {
        "classifier.0.weight": (625, 1536),
        "classifier.0.bias": (625,),
        "classifier.3.weight": (256, 625),
        "classifier.3.bias": (256,),
        "classifier.5.weight": (2, 256),
        "classifier.5.bias": (2,),
    }
    assert sum(t.numel() for t in model.parameters()) == 10_696_232 + 625 * 1537 + 256 * 626 + 2 * 257


def test_another_model_s_file_is_refused_by_layer(tmp_path):
    open_clip()
    import timm

    torch.save(timm.create_model("efficientnet_b3", num_classes=2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(CurateError, match=r"has no layer 'classifier.0.weight'"):
        load({"score.watermark": {"file": str(tmp_path / "other.pt")}}).check()


def test_in_a_store(make_store, file):
    images = [None, b"no image"]
    view = annotate(make_store(2, images=images), [load({"score.watermark": {"file": str(file)}})], Cluster(workers=0))
    assert view.store["watermark"].collect()["pwatermark"].to_list() == [None, None]
