"""A causal language model of transformers: the log probability of each token of a text given those before it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from curate.errors import CurateError
from curate.messages.packages import lacking
from curate.models.at_hand import check_hub
from curate.models.device import chosen
from curate.models.names import FOLDER, HUB
from curate.models.open_clip_import import import_torchvision

PACKAGES = ("torch", "torchvision", "transformers", "tokenizers", "safetensors", "huggingface_hub")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")

#: Tokens of one forward pass: the probabilities of 50,000 words for each take 200 MB.
AT_ONCE = 1024


def check_language_model(model: str) -> None:
    """
    Raises:
        CurateError: for a name of another kind, a folder without config, weights or tokenizer, a hub repository that is
            neither in the cache nor to be had.
    """
    if model.startswith(HUB):
        check_hub(model, model.removeprefix(HUB), ("config.json",), "config")
        check_hub(model, model.removeprefix(HUB), WEIGHTS, "weights")
        return
    if not model.startswith(FOLDER):
        raise CurateError(f"model '{model}': write {HUB}openai-community/gpt2-large, or {FOLDER}path/to/folder")
    folder = Path(model.removeprefix(FOLDER))
    for names in (("config.json",), WEIGHTS, ("tokenizer.json", "vocab.json", "tokenizer.model")):
        if not any((folder / name).is_file() for name in names):
            raise CurateError(f"model '{model}': '{folder}' holds none of {', '.join(names)}")
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise CurateError(f"model '{model}': {folder / 'config.json'} is no JSON: {error}") from error


class LanguageModel:
    """longest: tokens that it reads at most; what is behind them is cut off."""

    def __init__(self, model: str, device: str):
        """
        Raises:
            CurateError: for missing packages; where no tokenizer or causal model can be made of it.
        """
        if fault := lacking("a language model", PACKAGES):
            raise CurateError(fault)
        import_torchvision()
        from transformers import AutoModelForCausalLM, AutoTokenizer

        place = model.removeprefix(HUB) if model.startswith(HUB) else model.removeprefix(FOLDER)
        self.device = chosen(device)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(place)
            self._model = AutoModelForCausalLM.from_pretrained(place).float().eval().to(self.device)
        except (OSError, ValueError, KeyError) as error:
            first = str(error).partition("\n")[0]
            raise CurateError(f"model '{model}' is no causal language model of transformers: {first}") from error
        self.longest = int(getattr(self._model.config, "max_position_embeddings", 0) or 1024)

    def log_probabilities(self, texts: Sequence[str]) -> list[np.ndarray]:
        """For each text float64[n]: ln P of every token but the first one, which nothing stands before. Where the
        tokenizer puts a mark of the start before a text, that is the first."""
        ids = [self._tokenizer(text, truncation=True, max_length=self.longest)["input_ids"] for text in texts]
        results: list[np.ndarray] = [np.zeros(0)] * len(ids)
        for rows in _grouped([len(one) for one in ids]):
            for row, values in zip(rows, self._forward([ids[row] for row in rows]), strict=True):
                results[row] = values
        return results

    def _forward(self, ids: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
        """Of texts of two tokens or more; the shorter are filled up behind, which no token before it sees."""
        import torch

        longest = max(map(len, ids))
        tokens = torch.tensor([[*one, *[one[-1]] * (longest - len(one))] for one in ids], device=self.device)
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids], device=self.device)
        with torch.inference_mode():
            logits = self._model(input_ids=tokens, attention_mask=mask).logits[:, :-1].float()
            logs = torch.log_softmax(logits, dim=-1).gather(-1, tokens[:, 1:, None])[..., 0]
        for one, values in zip(ids, logs.cpu().numpy().astype(np.float64), strict=True):
            yield values[: len(one) - 1]


def _grouped(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Texts of two tokens or more, by length, in groups of AT_ONCE tokens with their filling."""
    order = [row for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)) if lengths[row] > 1]
    group: list[int] = []
    for row in order:
        if group and (len(group) + 1) * lengths[row] > AT_ONCE:
            yield group
            group = []
        group.append(row)
    if group:
        yield group
