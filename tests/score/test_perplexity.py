"""score.perplexity: of a small model with random weights, against the formula one token after the other."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.catalog import load
from curate.errors import CurateError
from curate.models import language_model
from curate.models.open_clip_import import import_torchvision
from curate.score.perplexity import perplexity

pytestmark = pytest.mark.slow

WORDS = ["[UNK]", "a", "red", "bus", "dog", "on", "the", "lawn"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2 of one layer that reads 8 words, of 8 tokens at most."""
    import_torchvision()
    transformers, torch = importlib.import_module("transformers"), importlib.import_module("torch")
    tokenizers = importlib.import_module("tokenizers")
    torch.manual_seed(3)
    config = transformers.GPT2Config(vocab_size=8, n_positions=8, n_embd=16, n_layer=1, n_head=2, initializer_range=0.9)
    place = tmp_path_factory.mktemp("gpt")
    transformers.GPT2LMHeadModel(config).save_pretrained(place)
    words = tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(place)
    return place


def by_hand(folder: Path, text: str) -> float | None:
    """Each token from those before it, in a call of its own."""
    transformers, torch = importlib.import_module("transformers"), importlib.import_module("torch")
    model = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    ids = [WORDS.index(word) if word in WORDS else 0 for word in text.split()][:8]
    logs = []
    for place in range(1, len(ids)):
        with torch.inference_mode():
            logits = model(torch.tensor([ids[:place]])).logits[0, -1].double()
        logs.append(float(logits[ids[place]] - torch.logsumexp(logits, 0)))
    return math.exp(-sum(logs) / len(logs)) if logs else None


def test_of_three_probabilities() -> None:
    assert perplexity([-1.2, -0.3, -2.5]) == pytest.approx(3.793668, abs=1e-6)


@pytest.mark.parametrize("at_once", [1, 12, 1024])
def test_against_one_token_after_the_other(folder: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(language_model, "AT_ONCE", at_once)
    texts = ["a red bus", "dog", "", "the dog on the lawn", "a zebra", "red", "a a a a a a a a a a a", "the bus"]
    op = load({"score.perplexity": {"model": f"local-dir:{folder}", "device": "cpu"}})
    op.check()
    op.setup()
    columns = op.apply({"text": texts})
    expected = [by_hand(folder, text) for text in texts]
    assert columns["perplexity"].to_pylist() == [None if e is None else pytest.approx(e, rel=1e-4) for e in expected]
    assert columns["perplexity_tokens"].to_pylist() == [2, 0, 0, 4, 1, 0, 7, 1]
    assert columns["status"] == ["one_token" if e is None else "ok" for e in expected]
    assert len({round(e, 3) for e in expected if e}) == 5


def test_its_files_are_its_identity(folder: Path, tmp_path: Path) -> None:
    op = load({"score.perplexity": {"model": f"local-dir:{folder}"}})
    assert "model.safetensors@" in op.weights() and op.makes() == {
        "perplexity": pa.float32(),
        "perplexity_tokens": pa.uint32(),
    }
    other: Any = load({"score.perplexity": {"model": f"local-dir:{folder}", "name": "ppl"}})
    assert list(other.makes()) == ["ppl", "ppl_tokens"] and np.isfinite(other.gpus())


def test_models_that_cannot_be_had(folder: Path, tmp_path: Path) -> None:
    def check(model: str) -> None:
        load({"score.perplexity": {"model": model}}).check()

    with pytest.raises(CurateError, match=r"model 'gpt2': write hf-hub:openai-community/gpt2-large, or local-dir:"):
        check("gpt2")
    with pytest.raises(CurateError, match=r"holds none of config.json"):
        check(f"local-dir:{tmp_path}")
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CurateError, match=r"holds none of model.safetensors"):
        check(f"local-dir:{tmp_path}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CurateError, match=r"config.json is no JSON"):
        check(f"local-dir:{tmp_path}")
    (tmp_path / "config.json").write_text("{}")
    op = load({"score.perplexity": {"model": f"local-dir:{tmp_path}", "device": "cpu"}})
    with pytest.raises(CurateError, match="is no causal language model of transformers"):
        op.setup()
