"""Tokens of captions: which are longer than a model's context, and their consecutive windows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from curate.errors import CurateError
from curate.models.clip_words import clip_words


class Tokens:
    """open_clip's tokenizer of a model, with what it does not say: how many tokens a caption really has.

    `known` is False for a tokenizer that is neither CLIP's own nor a plain Hugging Face one: nothing is said of those.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        # Captions are made ready in a thread, windows where the model runs; a fast tokenizer refuses two at once.
        self._lock = threading.RLock()
        self.context: int = getattr(tokenizer, "context_length", 0) or 0
        kind = type(tokenizer).__name__
        self._own = kind == "SimpleTokenizer" and getattr(tokenizer, "reduction_fn", None) is None
        self._hub = kind == "HFTokenizer" and not tokenizer.tokenizer_mode
        self._words = clip_words(tokenizer) if self._own else None
        self.known = self._own or self._hub

    def __call__(self, captions: Sequence[str]) -> Any:
        """n x context; longer captions are cut as open_clip cuts them."""
        if self._words is not None:
            import torch

            return torch.from_numpy(self._rows(self._words(captions)))
        with self._lock:
            return self._tokenizer(list(captions))

    def ready(self, captions: Sequence[str]) -> list[tuple[np.ndarray, bool | None]]:
        """For each caption its tokens, and whether it is longer than the context."""
        if self._words is not None:
            words = self._words(captions)
            return [(row, len(ids) + 2 > self.context) for row, ids in zip(self._rows(words), words, strict=True)]
        tokens = self(captions)
        return list(zip(tokens.numpy(), self.longer(captions, tokens), strict=True))

    def longer(self, captions: Sequence[str], tokens: Any) -> list[bool | None]:
        """Captions with more tokens than the context holds, start and end included; None where that is not known.

        tokens: what calling this gave for them; only those that fill the context are counted again.
        """
        if not self.known:
            return [None] * len(captions)
        full = (tokens[:, -1] != self._padding()).tolist() if self._tells_padding() else [True] * len(captions)
        return [f and self.count(caption) > self.context for f, caption in zip(full, captions, strict=True)]

    def count(self, caption: str) -> int:
        """Tokens of a whole caption, start and end included, by the tokenizer itself."""
        with self._lock:
            if self._own:
                return len(self._tokenizer.encode(caption)) + 2
            return len(self._tokenizer.tokenizer(self._tokenizer.clean_fn(caption), verbose=False).input_ids)

    def _rows(self, words: Sequence[Sequence[int]]) -> np.ndarray:
        """int64[n, context]: start, what has room of each caption, end, zeros."""
        room = self.context - 2
        lengths = np.fromiter((min(len(ids), room) for ids in words), np.int64, len(words))
        rows = np.zeros((len(words), self.context), np.int64)
        kept = chain.from_iterable(ids[:room] for ids in words)
        rows[:, 1:-1][np.arange(room) < lengths[:, None]] = np.fromiter(kept, np.int64, int(lengths.sum()))
        rows[:, 0] = self._tokenizer.sot_token_id
        rows[np.arange(len(words)), lengths + 1] = self._tokenizer.eot_token_id
        return rows

    def windows(self, caption: str) -> Any:
        """The whole caption as windows of the context's length, one after the other, each with its start and end.

        Raises:
            CurateError: for a tokenizer that cannot be cut so.
        """
        with self._lock:
            return self._windows(caption)

    def _windows(self, caption: str) -> Any:
        import torch

        if self._own:
            tokenizer, room = self._tokenizer, self.context - 2
            words = tokenizer.encode(caption)
            windows = torch.zeros(-(-len(words) // room) or 1, self.context, dtype=torch.long)
            for row, start in zip(windows, range(0, max(1, len(words)), room), strict=True):
                window = [tokenizer.sot_token_id, *words[start : start + room], tokenizer.eot_token_id]
                row[: len(window)] = torch.tensor(window)
            return windows
        if not (self._hub and self._tokenizer.tokenizer.is_fast):
            raise CurateError("windows: average needs CLIP's tokenizer or a fast Hugging Face one; use windows: cut")
        windows = torch.tensor(
            self._tokenizer.tokenizer(
                self._tokenizer.clean_fn(caption),
                max_length=self.context,
                padding="max_length",
                truncation=True,
                return_overflowing_tokens=True,
            ).input_ids
        )
        if self._tokenizer.strip_sep_token:
            windows[windows == self._tokenizer.tokenizer.sep_token_id] = 0
        return windows

    def _padding(self) -> int:
        return 0 if self._own else int(self._tokenizer.tokenizer.pad_token_id)

    def _tells_padding(self) -> bool:
        """Whether a caption that fills the context cannot end in the token that fills up a shorter one."""
        if self._own:
            return True
        inner = self._tokenizer.tokenizer
        ends = {inner.eos_token_id, inner.sep_token_id, 0 if self._tokenizer.strip_sep_token else None}
        return inner.padding_side == "right" and inner.pad_token_id is not None and inner.pad_token_id not in ends
