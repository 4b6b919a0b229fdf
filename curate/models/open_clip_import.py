"""Imports open_clip where a plain `import open_clip` fails: a CPU torch beside a torchvision built for CUDA."""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

from curate.errors import CurateError
from curate.messages.packages import lacking

#: Modules that image-text models work with; `transformers` holds the text towers and tokenizers of some.
PACKAGES = ("torch", "torchvision", "open_clip", "timm", "transformers", "tokenizers", "safetensors", "huggingface_hub")

# Held for the life of the process: the declared operators vanish with their library.
_declared: list[Any] = []


@functools.cache
def open_clip() -> ModuleType:
    """The open_clip module.

    Raises:
        CurateError: naming what to install, where it or what it needs is missing.
    """
    if fault := lacking("an image-text model", PACKAGES):
        raise CurateError(fault)
    import_torchvision()
    return importlib.import_module("open_clip")


def import_torchvision() -> None:
    """Of transformers, too, models cannot be imported beside a torchvision that cannot."""
    import torch

    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        # Declaring up front would clash with a torchvision whose own library loads (macOS, +cpu wheels),
        # so the operators are declared only after the import has failed for want of them.
        if torch.version.cuda is not None or "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        importlib.import_module("torchvision")
