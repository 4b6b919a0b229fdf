"""Imports open_clip where a plain `import open_clip` fails: a CPU torch beside a torchvision built for CUDA."""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

from curate.errors import CurateError

# Held for the life of the process: the declared operators vanish with their library.
_declared: list[Any] = []


@functools.cache
def open_clip() -> ModuleType:
    """The open_clip module.

    Raises:
        CurateError: naming what to install, where it or what it needs is missing.
    """
    _import_torchvision()
    try:
        return importlib.import_module("open_clip")
    except ModuleNotFoundError as error:
        raise missing(error) from error


def missing(error: ModuleNotFoundError) -> CurateError:
    return CurateError(f"image-text models need {error.name}, which is not installed: pip install 'curate[demo]'")


def _import_torchvision() -> None:
    try:
        import torch

        importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        raise missing(error) from error
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
