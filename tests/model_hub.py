"""Weights of our own under published names: small architectures, and a made-up cache of the Hugging Face hub."""

from __future__ import annotations

import copy
import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from curate.models import lite
from curate.models.open_clip_import import open_clip

COMMIT = "0" * 40


class Hub:
    """A hub cache in a folder; no network is asked."""

    def __init__(self, folder: Path):
        self.folder = folder

    def place(self, repository: str) -> Path:
        """Where a repository's files lie; made where it is not there."""
        root = self.folder / f"models--{repository.replace('/', '--')}"
        (root / "refs").mkdir(parents=True, exist_ok=True)
        (root / "refs" / "main").write_text(COMMIT)
        snapshot = root / "snapshots" / COMMIT
        snapshot.mkdir(parents=True, exist_ok=True)
        return snapshot

    def stub(self, model: str) -> Path:
        """As `weights`, a file that is whole and holds nothing: for checks, which load no model."""
        name, _, tag = model.partition("/")
        repository, _, file = open_clip().get_pretrained_cfg(name, tag)["hf_hub"].rpartition("/")
        path = (self.place(repository) / (file or "open_clip_model.safetensors")).with_suffix(".safetensors")
        torch = importlib.import_module("torch")
        importlib.import_module("safetensors.torch").save_file({"logit_scale": torch.ones(1)}, path)
        return path

    def weights(self, model: str, seed: int = 1) -> Path:
        """Random weights under the tag of `ARCHITECTURE/TAG`."""
        name, _, tag = model.partition("/")
        repository, _, file = open_clip().get_pretrained_cfg(name, tag)["hf_hub"].rpartition("/")
        path = self.place(repository) / (file or "open_clip_model.safetensors")
        save(name, path.with_suffix(".safetensors"), seed)
        return path.with_suffix(".safetensors")

    def tokenizer(self, repository: str) -> None:
        """A small one of BERT's kind for `bert`, of SentencePiece's kind (padding 1, end 2) for others."""
        if repository.startswith("bert"):
            for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
                shutil.copyfile(lite._text_folder() / name, self.place(repository) / name)
            return
        tokenizers, transformers = importlib.import_module("tokenizers"), importlib.import_module("transformers")
        pieces = ["<unk>", "<pad>", "</s>", "\u2581", *"abcdefghijklmnopqrstuvwxyz", "\u2581red", "\u2581bus"]
        scores = [(piece, -len(piece) / 9) for piece in pieces]
        inner = tokenizers.Tokenizer(tokenizers.models.Unigram(scores, unk_id=0))
        inner.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
        inner.post_processor = tokenizers.processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 2)])
        told = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "</s>"}
        transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **told).save_pretrained(self.place(repository))


def save(name: str, path: Path, seed: int) -> None:
    """Random weights of an architecture, large enough that an activation matters."""
    torch = importlib.import_module("torch")
    torch.manual_seed(seed)
    model = open_clip().create_model(name, pretrained_text=False)
    state = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
    for key, value in state.items():
        if value.is_floating_point() and value.ndim > 1:
            state[key] = value + 0.05 * torch.randn_like(value)
    importlib.import_module("safetensors.torch").save_file(state, path)


def small(config: dict[str, Any]) -> dict[str, Any]:
    """An architecture's config with towers of two thin layers; all that is published about its use stays."""
    config = copy.deepcopy(config)
    vision, text = config["vision_cfg"], config["text_cfg"]
    config["embed_dim"] = 32
    if "timm_model_name" in vision:
        vision |= {"timm_model_name": "test_vit", "image_size": 160, "timm_drop_path": None}
        vision |= {"timm_pool": "avg", "timm_proj": "linear", "timm_model_pretrained": False}
    elif isinstance(vision["layers"], list):
        vision |= {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}
    else:
        vision |= {"layers": 2, "width": 64, "head_width": 32, "patch_size": 16, "image_size": 64}
    text |= {"width": 64, "heads": 2, "layers": 2}
    if "multimodal_cfg" in config:
        config["multimodal_cfg"] |= {"width": 64, "heads": 2, "layers": 2, "dim_head": 32, "n_queries": 16}
    return config


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    constants = importlib.import_module("huggingface_hub.constants")
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # transformers took the place of the cache when it was imported.
    transformers = importlib.import_module("transformers.utils.hub")
    monkeypatch.setattr(transformers, "TRANSFORMERS_CACHE", str(folder), raising=False)
    return Hub(folder)


@pytest.fixture
def small_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every architecture of open_clip under its own name, but small."""
    factory = importlib.import_module(open_clip().factory.__name__)
    known = factory._MODEL_CONFIGS
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(known))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    folder = tmp_path / "architectures"
    folder.mkdir()
    for name, config in known.items():
        if "hf_model_name" not in config["text_cfg"]:
            (folder / f"{name}.json").write_text(json.dumps(small(config)))
    open_clip().add_model_config(folder)
