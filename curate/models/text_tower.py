"""The text tower of a model, which is given no more of a caption's padding than it has to be.

Most captions of the web have 10 to 20 tokens of 77. A tower with a causal mask looks only back, so that whatever stands
behind the token whose place is the caption's vector changes nothing: cut there, the sums are the same.
"""

from __future__ import annotations

import copy
from typing import Any

#: A caption takes the least of these that holds it, else the model's context. Few, so that batches stay large.
LENGTHS = (16, 24, 40)


class TextTower:
    """`model.encode_text`, for tokens of a whole context or cut to one of LENGTHS."""

    def __init__(self, model: Any):
        self._model = model
        self._short: dict[int, Any] = {}
        self._inner = _causal(model)
        if self._inner is not None:
            context = self._inner.positional_embedding.shape[0]
            self._short = {length: _shortened(model, self._inner, length) for length in LENGTHS if length < context}

    def __call__(self, tokens: Any, normalize: bool = False) -> Any:
        model = self._short.get(tokens.shape[1], self._model)
        return model.encode_text(tokens, normalize=normalize)

    def pieces(self, tokens: Any, size: int) -> tuple[Any, list[Any]]:
        """All captions, those of like length together: their order, and the pieces of at most `size`, each cut.

        tokens: n x context. A model whose tower cannot be given short texts gets them whole, still sorted: some drop
        columns that are padding in every row themselves.
        """
        lengths = self._lengths(tokens)
        order = lengths.argsort(stable=True)
        if not self._short or not len(tokens):
            return order, list(tokens[order].split(size))
        pieces, least = [], 0
        for length in (*self._short, tokens.shape[1]):
            rows = order[(lengths[order] > least) & (lengths[order] <= length)]
            least = length
            if len(rows):
                pieces += list(tokens[rows][:, :length].split(size))
        return order, pieces

    def _lengths(self, tokens: Any) -> Any:
        """int64[n]: tokens up to the one that stands for the caption."""
        if self._inner is None:
            return (tokens != 0).sum(dim=1)
        if _pooled_at(self._inner) == "argmax":
            return tokens.argmax(dim=1) + 1
        ends = tokens == _end(self._inner)
        # Without an end the tower takes the first place, as argmax of nothing does.
        return ends.int().argmax(dim=1) + 1


def _causal(model: Any) -> Any:
    """What holds a text tower's positions and mask, where each caption's vector is that of its end and looks only back;
    None for every other architecture: SigLIP's, Hugging Face's, CoCa's."""
    kind = type(model).__name__
    inner = model if kind == "CLIP" else getattr(model, "text", None) if kind == "CustomTextCLIP" else None
    if inner is None or (inner is not model and type(inner).__name__ != "TextTransformer"):
        return None
    if getattr(inner, "cls_emb", None) is not None or _pooled_at(inner) not in ("argmax", "eos"):
        return None
    mask = inner.attn_mask
    if mask is None or not mask.isneginf().equal(mask.new_ones(mask.shape).triu(1).bool()):
        return None
    return inner


def _pooled_at(inner: Any) -> str:
    return str(getattr(inner, "text_pool_type", None) or getattr(inner, "pool_type", ""))


def _end(inner: Any) -> int:
    return int(inner.text_eos_id if hasattr(inner, "text_eos_id") else inner.eos_id)


def _shortened(model: Any, inner: Any, length: int) -> Any:
    """The same model with fewer positions: its weights are those of `model`, not copies."""
    short = _twin(inner)
    short._parameters["positional_embedding"] = _part(inner.positional_embedding, length)
    short._buffers["attn_mask"] = inner.attn_mask[:length, :length].contiguous()
    if inner is model:
        return short
    whole = _twin(model)
    whole._modules["text"] = short
    return whole


def _part(positions: Any, length: int) -> Any:
    import torch

    return torch.nn.Parameter(positions.detach()[:length], requires_grad=False)


def _twin(module: Any) -> Any:
    """A module with the same weights, in which a name can be given another one."""
    twin = copy.copy(module)
    for names in ("_parameters", "_buffers", "_modules"):
        setattr(twin, names, dict(getattr(module, names)))
    return twin
