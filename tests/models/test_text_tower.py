"""Captions without their padding have the vectors that they have with it."""

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np
import pytest

from curate.models.encoder import Encoder
from curate.models.open_clip_import import open_clip
from curate.models.text_tower import LENGTHS, TextTower

pytestmark = pytest.mark.slow

torch = importlib.import_module("torch")

END = 49407
#: One caption for every number of tokens up to the context's, start and end included, and longer ones.
CAPTIONS = [" ".join(["bus"] * (n % 90)) for n in range(0, 180, 7)] + [" ".join(["dog"] * n) for n in range(80)]
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
CAUSAL: dict[str, dict[str, Any]] = {
    "plain": {},
    "pooled_at_its_end": {"text_cfg": {"pool_type": "eos", "eos_id": END}},
    "custom": {"custom_text": True},
    "custom_at_its_end": {"custom_text": True, "text_cfg": {"pool_type": "eos", "eos_id": END}},
    "short_context": {"text_cfg": {"context_length": 20}},
}
WHOLE: dict[str, dict[str, Any]] = {
    "sees_all": {"custom_text": True, "text_cfg": {"no_causal_mask": True}},
    "pooled_at_the_last": {"text_cfg": {"pool_type": "last"}},
    "with_a_class_token": {"custom_text": True, "text_cfg": {"embed_cls": True}},
}


@pytest.fixture(scope="module")
def model_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("architectures")
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 32}
    for name, options in {**CAUSAL, **WHOLE}.items():
        text = {**TEXT, **options.get("text_cfg", {})}
        config = {"embed_dim": 32, **options, "vision_cfg": vision, "text_cfg": text}
        (folder / f"{name}.json").write_text(json.dumps(config))
        open_clip().add_model_config(folder / f"{name}.json")
    return lambda name: f"{name}/random"


def theirs(encoder: Encoder) -> np.ndarray:
    with torch.inference_mode():
        vectors = encoder.model.encode_text(encoder.tokens(CAPTIONS), normalize=True)
    return np.asarray(vectors.numpy())


@pytest.mark.parametrize("name", [*CAUSAL, *WHOLE])
def test_the_same_vectors(model_of, name):
    encoder = Encoder(model_of(name), "cpu")
    seen = []
    tower = encoder._text_tower
    encoder._text_tower = _watched(tower, seen)
    np.testing.assert_allclose(encoder.texts(CAPTIONS), theirs(encoder), atol=2e-6)
    context = encoder.tokens.context
    lengths = {length for length in LENGTHS if length < context} if name in CAUSAL else set()
    assert set(seen) == lengths | {context}


def test_a_caption_that_spells_out_an_end_is_cut_where_the_tower_pools_it(model_of):
    encoder = Encoder(model_of("plain"), "cpu")
    captions = ["a <end_of_text> b", "<end_of_text>" + " bus" * 60, "bus " * 60 + "<end_of_text> c"]
    with torch.inference_mode():
        whole = encoder.model.encode_text(encoder.tokens(captions), normalize=True).numpy()
    np.testing.assert_allclose(encoder.texts(captions), whole, atol=2e-6)


def test_each_caption_takes_the_least_length_that_holds_it(model_of):
    encoder = Encoder(model_of("plain"), "cpu")
    tokens = encoder.tokens([" ".join(["bus"] * n) for n in (39, 0, 14, 15, 22, 23, 38, 75, 90)])
    order, pieces = TextTower(encoder.model).pieces(tokens, 2)
    assert order.tolist() == [1, 2, 3, 4, 5, 6, 0, 7, 8]
    assert [tuple(piece.shape) for piece in pieces] == [(2, 16), (2, 24), (2, 40), (2, 77), (1, 77)]


def test_short_towers_hold_no_weights_of_their_own(model_of):
    encoder = Encoder(model_of("custom"), "cpu")
    short = TextTower(encoder.model)._short[16]
    assert short.text.transformer is encoder.model.text.transformer
    assert short.text.positional_embedding.data_ptr() == encoder.model.text.positional_embedding.data_ptr()
    assert encoder.model.text.positional_embedding.shape[0] == 77, "the model itself is as it was"


def test_no_captions(model_of):
    assert Encoder(model_of("plain"), "cpu").texts([]).shape == (0, 32)


def _watched(tower: TextTower, seen: list[int]) -> Any:
    class Watched:
        pieces = staticmethod(tower.pieces)

        def __call__(self, tokens: Any, normalize: bool = False) -> Any:
            seen.append(tokens.shape[1])
            return tower(tokens, normalize=normalize)

    return Watched()
