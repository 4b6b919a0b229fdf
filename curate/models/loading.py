"""Loads a model, its preprocess and its tokenizer, as they were published; or says why it cannot."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from curate.errors import CurateError
from curate.models.names import EMBEDDED, FOLDER, RANDOM, checkpoint_file, split_model
from curate.models.open_clip_import import open_clip
from curate.models.published import is_torchscript, settings_of

#: What open_clip, torch and transformers raise over weights that are not there, damaged, or another model's.
UNLOADABLE = (OSError, RuntimeError, ValueError, KeyError, AttributeError, EOFError, pickle.UnpicklingError)


def load(model: str, device: str) -> tuple[Any, Any, Any]:
    """An open_clip model in evaluation mode, its preprocess (PIL image to tensor) and its tokenizer.

    Raises:
        CurateError: for weights that cannot be loaded. open_clip alone would go on with random ones.
    """
    if model == EMBEDDED:
        from curate.models import lite

        return lite.load(device)
    try:
        loaded, preprocess = _model(model, device)
        name = split_model(model)[0]
        return loaded.eval(), preprocess, _tokenizer_elsewhere(name) or open_clip().get_tokenizer(name)
    except UNLOADABLE as error:
        what = " ".join(str(error).split())[:300]
        raise CurateError(f"model '{model}' cannot be loaded: {type(error).__name__}: {what}") from error


def _model(model: str, device: str) -> tuple[Any, Any]:
    import torch

    name, tag = split_model(model)
    settings = settings_of(model)
    options: dict[str, Any] = {f"image_{key}": value for key, value in settings.preprocess.items()}
    options |= {"force_quick_gelu": settings.quick_gelu, "device": device}
    if tag == RANDOM:
        torch.manual_seed(0)
        loaded, _, preprocess = open_clip().create_model_and_transforms(name, pretrained_text=False, **options)
        return loaded, preprocess
    file = checkpoint_file(model)
    if file is not None and is_torchscript(file):
        # torch runs such an archive in its own interpreter; nothing in it is unpickled.
        options["weights_only"] = False
    loaded, preprocess = open_clip().create_model_from_pretrained(name, pretrained=tag or None, **options)
    return loaded, preprocess


def _tokenizer_elsewhere(model: str) -> Any:
    """The tokenizer of a `local-dir:` whose config names one and that holds no files of it; None in all other cases.

    open_clip itself looks for it in the folder only.
    """
    folder = Path(model.removeprefix(FOLDER))
    if not model.startswith(FOLDER) or any(folder.glob("tokenizer*")) or any(folder.glob("vocab*")):
        return None
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    text = config.get("model_cfg", config).get("text_cfg", {})
    source = text.get("hf_tokenizer_name")
    if not source:
        return None
    return open_clip().tokenizer.HFTokenizer(
        source,
        context_length=text.get("context_length", 77),
        tokenizer_mode=text.get("tokenizer_mode"),
        **text.get("tokenizer_kwargs", {}),
    )
