"""The encoder's two halves: pixels that come ahead of the model, and sums in half precision that stay near fp32."""

from __future__ import annotations

import gc
import importlib
import json
import random
import weakref

import numpy as np
import pytest
from lite_folder import write_folder
from PIL import Image

from curate.demo import scenes
from curate.errors import CurateError
from curate.models.at_hand import check_model
from curate.models.encoder import Encoder
from curate.models.names import EMBEDDED
from curate.models.open_clip_import import open_clip
from curate.models.pixels import AHEAD, CPU_PIECE, Pixels, levels, normalised, split
from curate.models.tokens import Tokens
from curate.pictures.decoded import Decoded

pytestmark = pytest.mark.slow

torch = importlib.import_module("torch")

SMALL = "ViT-S-32-alt/random"


@pytest.fixture(scope="module")
def small() -> Encoder:
    return Encoder(SMALL, "cpu")


def drawn(count: int) -> list[Image.Image]:
    rng = random.Random(3)
    return [scenes.draw(rng, size_px=(rng.randint(224, 400), 224))[0] for _ in range(count)]


def test_bytes_normalised_on_the_device_are_what_preprocess_gives(small):
    cut = split(small.preprocess)
    assert cut is not None, "open_clip's preprocess ends in ToTensor and Normalize"
    to_bytes, mean, std = cut
    pictures = drawn(5)
    made = normalised(torch.stack([to_bytes(p) for p in pictures]), *levels(mean, std, "cpu"))
    assert torch.equal(made, torch.stack([small.preprocess(p) for p in pictures]))


def test_a_preprocess_of_another_kind_is_left_whole():
    assert split(lambda picture: picture) is None
    assert split(open_clip().image_transform(32, is_train=False)) is not None


def test_a_preprocess_that_is_left_whole_gives_the_same_batches(small):
    whole = Pixels(small.preprocess.__call__, "cpu")
    assert whole._split is None
    pictures = drawn(11)
    ours, theirs = (torch.cat([p.batch(made) for made in p.ahead(pictures)]) for p in (whole, small.pixels))
    assert torch.equal(ours, theirs)


def test_pieces_keep_their_order_and_no_more_than_two_are_ahead():
    started: list[int] = []

    def slow(picture: Image.Image):
        started.append(picture.width)
        return torch.tensor([picture.width])

    pixels = Pixels(slow, "cpu")
    pieces = pixels.ahead([Image.new("RGB", (1 + n, 1)) for n in range(10 * CPU_PIECE)])
    seen = [next(pieces)]
    assert len(started) <= (1 + AHEAD) * CPU_PIECE
    seen += list(pieces)
    assert torch.cat([pixels.batch(made) for made in seen]).ravel().tolist() == list(range(1, 1 + 10 * CPU_PIECE))
    assert [len(made) for made in seen] == [CPU_PIECE] * 10


def test_images_made_ready_ahead_give_the_same_vectors(small):
    pictures = drawn(CPU_PIECE + 3)
    made = [small.pixels.one(Decoded(image=picture)) for picture in pictures]
    assert np.array_equal(small.ready_images(made), small.images(pictures))


def test_ops_of_one_model_share_it():
    first = Encoder.shared(SMALL, "cpu")
    assert Encoder.shared(SMALL, "cpu") is first
    assert Encoder.shared(SMALL, "cpu", precision="bf16") is not first


@pytest.mark.parametrize(("device", "loads"), [("cuda", 1), ("cpu", 2)])
def test_a_model_on_a_gpu_stays_for_the_next_step(monkeypatch: pytest.MonkeyPatch, device: str, loads: int) -> None:
    loaded: list[str] = []

    class Loaded:
        def __init__(self, model: str, device: str, **options: object) -> None:
            loaded.append(model)
            self.device = device

    monkeypatch.setattr("curate.models.encoder.Encoder", Loaded)
    monkeypatch.setattr("curate.models.encoder._STAYING", [])
    shared = Encoder.shared
    for _ in range(2):
        shared(SMALL, device)
        gc.collect()  # a step ends: its op goes
    assert loaded == [SMALL] * loads
    first = weakref.ref(shared(SMALL, device))
    other = shared("ViT-B-32/random", device)
    gc.collect()
    assert first() is None, "another model takes its place"
    assert other.device == device


def test_on_a_cpu_a_batch_is_small(small):
    assert small.batch_size == 64


def test_an_image_that_fails_raises_and_the_next_call_works(small):
    with pytest.raises(TypeError):
        small.images([*drawn(3), None])
    assert small.images(drawn(3)).shape[0] == 3


@pytest.mark.parametrize(("precision", "near"), [("bf16", 0.03), ("fp16", 0.004)])
def test_half_precision_is_near(small, precision, near):
    half = Encoder(SMALL, "cpu", precision=precision)
    pictures, texts = drawn(9), [f"a red bus number {n}" for n in range(9)]
    for ours, theirs in ((half.images(pictures), small.images(pictures)), (half.texts(texts), small.texts(texts))):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(ours, theirs, atol=near)
        assert not np.array_equal(ours, theirs)


def test_what_overflows_in_half_precision_is_computed_again():
    encoder, calls = Encoder(SMALL, "cpu", precision="fp16"), []

    def tower(batch, normalize):
        calls.append(torch.is_autocast_enabled("cpu"))
        return torch.full((len(batch), 2), float("inf") if calls[-1] else 3.0)

    encoder._image_tower = tower
    np.testing.assert_allclose(encoder.images(drawn(2)), np.full((2, 2), 0.5**0.5), rtol=1e-6)
    assert calls == [True, False]


def test_auto_is_fp32_on_a_cpu(small):
    assert small.precision == "fp32"


def test_compile_takes_the_image_tower(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda tower: lambda *a, **k: tower(*a, **k) * 2)
    pictures = drawn(2)
    twice = Encoder(SMALL, "cpu", compile=True)
    assert twice._image_tower is not twice.model.encode_image
    np.testing.assert_allclose(twice.images(pictures), Encoder(SMALL, "cpu").images(pictures), atol=1e-6)


def test_a_tokenizer_that_is_not_known_says_nothing_and_is_not_cut_in_windows():
    class Other:
        context_length = 4

        def __call__(self, texts):
            return torch.ones(len(texts), 4, dtype=torch.long)

    tokens = Tokens(Other())
    assert tokens.longer(["a", "b"], tokens(["a", "b"])) == [None, None]
    with pytest.raises(CurateError, match="windows: cut"):
        tokens.windows("a")


def test_windows_of_a_short_caption_are_its_tokens(small):
    for text in ("", "a red bus"):
        assert torch.equal(small.tokens.windows(text), small.tokens([text]))


def test_an_unknown_model_is_named_with_the_nearest():
    with pytest.raises(CurateError, match="ViT-B-32"):
        check_model("ViT-B-33/openai")


def test_a_folder_whose_tokenizer_lies_elsewhere(tmp_path):
    """As a model is written whose text tower names a folder of its own."""
    write_folder(tmp_path / "whole")
    model, elsewhere = tmp_path / "model", tmp_path / "text"
    model.mkdir()
    for name in ("open_clip_model.safetensors", "open_clip_config.json"):
        (tmp_path / "whole" / name).rename(model / name)
    (tmp_path / "whole").rename(elsewhere)
    config = json.loads((model / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= {"hf_model_name": str(elsewhere), "hf_tokenizer_name": str(elsewhere)}
    (model / "open_clip_config.json").write_text(json.dumps(config))
    found = Encoder(f"local-dir:{model}", "cpu")
    texts = ["a red bus", "two dogs on a beach"]
    np.testing.assert_allclose(found.texts(texts), Encoder(EMBEDDED, "cpu").texts(texts), atol=1e-5)
