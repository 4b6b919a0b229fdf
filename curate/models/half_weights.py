"""Weights in the precision that a model's sums are made in: autocast alone makes them anew of float32 at each use."""

from __future__ import annotations

from typing import Any

#: open_clip's layers, which hold nearly all weights of its own towers; autocast makes half precision of all their sums.
BLOCKS = ("ResidualAttentionBlock", "CustomResidualAttentionBlock")


def halve(model: Any, half: Any) -> bool:
    """Round the weights that autocast would round, once; whether there are any. What it leaves in float32 stays so.

    On CUDA the result is the same to the bit; on a CPU attention takes another way where its weights are float32.
    Towers of other makers (timm, Hugging Face) keep their float32.
    """
    import torch

    blocks = [module for module in model.modules() if type(module).__name__ in BLOCKS]
    layers = (torch.nn.Linear, torch.nn.MultiheadAttention)
    for layer in (layer for block in blocks for layer in block.modules() if isinstance(layer, layers)):
        for weight in layer.parameters(recurse=False):
            weight.data = weight.data.to(half)
    for module in model.modules():
        if hasattr(module, "get_cast_dtype"):
            # It goes by a weight; what enters the first layer is float32 under autocast, and stays so.
            module.get_cast_dtype = _float32
    return bool(blocks)


def _float32() -> Any:
    import torch

    return torch.float32
