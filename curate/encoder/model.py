"""Encoder: any open_clip model, or the embedded lite0-minilm, as two functions that give unit vectors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.errors import CurateError, unknown

if TYPE_CHECKING:
    from PIL import Image

#: The encoder that needs no download; it is not CLIP.
EMBEDDED = "lite0-minilm"

#: Images that one core encodes at a time: what lies between the layers of more leaves its cache (lite0 takes half the
#: time per image at 8 that it takes at 64).
CPU_PIECE = 8

#: Column names under which published recipes know a model's score.
COLUMN_NAMES = {
    EMBEDDED: "lite",
    "ViT-B-32/openai": "clip_b32",
    "ViT-B-16/openai": "clip_b16",
    "ViT-L-14/openai": "clip_l14",
    "ViT-L-14-336/openai": "clip_l14_336",
}


def column_name(model: str) -> str:
    """The column that holds a model's cosine.

    >>> column_name("ViT-L-14/openai"), column_name("ViT-B-32/laion2b_s34b_b79k")
    ('clip_l14', 'vit_b_32_laion2b_s34b_b79k')
    """
    return COLUMN_NAMES.get(model) or re.sub(r"\W+", "_", model.split("//", maxsplit=1)[0].lower()).strip("_")


def split_model(model: str) -> tuple[str, str]:
    """`ViT-L-14/openai` as (architecture, tag or checkpoint path); a hub name or folder as (itself, '')."""
    if model == EMBEDDED or model.startswith(("hf-hub:", "local-dir:")):
        return model, ""
    name, _, tag = model.partition("/")
    return name, tag


def check_model(model: str) -> None:
    """
    Raises:
        CurateError: for a model or tag that open_clip does not know; the message names the nearest.
    """
    if model == EMBEDDED or model.startswith("hf-hub:"):
        return
    if model.startswith("local-dir:"):
        folder = Path(model.removeprefix("local-dir:"))
        if not (folder / "open_clip_config.json").exists():
            raise CurateError(f"model '{model}': {folder} holds no open_clip_config.json")
        return
    from curate.encoder.open_clip_import import open_clip

    clip = open_clip()
    name, tag = split_model(model)
    if name not in clip.list_models():
        raise unknown("model", name, [*clip.list_models(), EMBEDDED])
    tags = clip.list_pretrained_tags_by_model(name)
    if tag not in tags and tag != "random" and not Path(tag).is_file():
        raise unknown(f"pretrained tag of {name}, or checkpoint file,", tag or "(none)", tags)


@cache
def _file_sha256(path: str) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()[:12]


def model_weights(model: str) -> str:
    """Identity of the weights: a published tag's name, the sha256 of a local file."""
    if model == EMBEDDED:
        from curate.encoder import lite

        return lite.weights()
    if model.startswith("local-dir:"):
        folder = Path(model.removeprefix("local-dir:"))
        found = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".pt", ".json"))
        return ",".join(f"{p.name}@{_file_sha256(str(p))}" for p in found)
    tag = split_model(model)[1]
    if tag and Path(tag).is_file():
        return f"{model}@{_file_sha256(tag)}"
    return model


class Encoder:
    """Unit vectors (float32, n x d) of images and captions.

    device: cpu, cuda, or auto (cuda where there is one).

    Raises:
        CurateError: for cuda where there is none: a silent slow run would cost more.
    """

    def __init__(self, model: str, device: str = "auto", threads: int = 1):
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise CurateError(f"device: {device} was asked for, and torch finds no CUDA device here")
        if device == "cpu":
            # One worker per CPU: more threads than that would fight, and change the last bits of the sums.
            torch.set_num_threads(threads)
        self.device = device
        self._torch = torch
        self.model, self.preprocess, self.tokenizer = self._load(model, device)

    def _load(self, model: str, device: str) -> tuple[Any, Any, Any]:
        if model == EMBEDDED:
            from curate.encoder import lite

            return lite.load(device)
        from curate.encoder.open_clip_import import open_clip

        clip = open_clip()
        name, tag = split_model(model)
        if tag == "random":
            self._torch.manual_seed(0)
        pretrained = None if tag in ("", "random") else tag
        loaded, _, preprocess = clip.create_model_and_transforms(name, pretrained=pretrained, device=device)
        return loaded.eval(), preprocess, clip.get_tokenizer(name)

    def images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        step = len(pictures) if self.device != "cpu" else CPU_PIECE
        return np.concatenate([self._images(pictures[i : i + step]) for i in range(0, len(pictures), step)])

    def _images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        batch = self._torch.stack([self.preprocess(picture) for picture in pictures]).to(self.device)
        return self._vectors(self.model.encode_image, batch)

    def texts(self, captions: Sequence[str]) -> np.ndarray:
        """Captions longer than the model's context are cut as open_clip's tokenizer cuts them."""
        return self._vectors(self.model.encode_text, self.tokenizer(list(captions)).to(self.device))

    def _vectors(self, tower: Any, batch: Any) -> np.ndarray:
        with self._torch.inference_mode():
            found = tower(batch, normalize=True).float()
        return np.asarray(found.cpu().numpy(), np.float32)
