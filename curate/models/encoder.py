"""Encoder: any open_clip model, or the embedded lite0-minilm, as two functions that give unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy as np
from PIL import Image

from curate.models.device import chosen
from curate.models.fitting import fitting
from curate.models.loading import load
from curate.models.pixels import Pixels, pieces_of
from curate.models.text_tower import TextTower
from curate.models.tokens import Tokens
from curate.models.weights import model_weights
from curate.pictures.decoded import Decoded

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Resize = Literal["auto", "pillow", "torch"]

#: Captions that one core encodes at a time.
CPU_TEXTS = 16

#: Rows that a CPU gets at a time: images of a few more than the pieces it takes them in.
CPU_BATCH = 64

_DEFAULTS = {"threads": 1, "precision": "auto", "resize": "auto", "compile": False}

#: Encoders in use in this process.
_SHARED: WeakValueDictionary[tuple[Any, ...], Encoder] = WeakValueDictionary()


class Encoder:
    """Unit vectors (float32, n x d) of images and captions.

    device: cpu, cuda, or auto (cuda where there is one).
    precision: of the model's sums. auto is fp16 on CUDA and fp32 on a CPU. On 60 real pairs and lite0-minilm fp16 moved
        the cosine by 0.0002 (median) and 0.0010 (99 %), bf16 by 0.003 and 0.010, so that bf16 is never taken unasked.
        A batch that overflows in half precision is computed again in fp32.
    resize: as score.clip's.
    compile: as score.clip's.

    Raises:
        CurateError: for weights that cannot be loaded; for cuda where there is none: a slow run would cost more.
    """

    def __init__(
        self,
        model: str,
        device: str = "auto",
        threads: int = 1,
        precision: Precision = "auto",
        resize: Resize = "auto",
        compile: bool = False,
    ):
        import torch

        device = chosen(device, threads)
        self.device = device
        self.precision = {"auto": "fp32" if device == "cpu" else "fp16"}.get(precision, precision)
        self._torch = torch
        self.model, self.preprocess, tokenizer = load(model, device)
        fast = device != "cpu" if resize == "auto" else resize == "torch"
        self.tokens, self.pixels = Tokens(tokenizer), Pixels(self.preprocess, device, fast)
        self._text_tower = TextTower(self.model)
        self._image_tower = torch.compile(self.model.encode_image) if compile else self.model.encode_image
        self.batch_size = CPU_BATCH if device == "cpu" else fitting(self._peak, self._free())

    @staticmethod
    def shared(model: str, device: str = "auto", **options: Any) -> Encoder:
        """The encoder of this kind that another op of this process holds already, or a new one: one copy in memory."""
        key = (model, model_weights(model), device, *sorted({**_DEFAULTS, **options}.items()))
        encoder = _SHARED.get(key)
        if encoder is None:
            encoder = _SHARED[key] = Encoder(model, device, **options)
        return encoder

    def _free(self) -> int:
        """Half of the device's free memory: the rest is for other ops, and for what a measurement misses."""
        return int(self._torch.cuda.mem_get_info()[0]) // 2

    def _peak(self, images: int) -> int:
        """Bytes of the device that encoding so many images takes at its peak."""
        cuda = self._torch.cuda
        cuda.empty_cache()
        cuda.reset_peak_memory_stats()
        before = cuda.memory_allocated()
        self.ready_images([self.pixels.one(Decoded(image=Image.new("RGB", (256, 256))))] * images)
        return int(cuda.max_memory_allocated() - before)

    def images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        return self._vectors(self._image_tower, lambda: map(self.pixels.batch, self.pixels.ahead(pictures)))

    def ready_images(self, prepared: Sequence[Any]) -> np.ndarray:
        """As `images`, of what `pixels.one` made of each."""
        pieces = pieces_of(prepared, self.pixels.piece if self.device == "cpu" else len(prepared) or 1)
        return self._vectors(self._image_tower, lambda: map(self.pixels.batch, pieces))

    def texts(self, captions: Sequence[str]) -> np.ndarray:
        """Captions longer than the model's context are cut as open_clip's tokenizer cuts them."""
        return self._encoded(self.tokens(captions))

    def captions(
        self, ready: Sequence[tuple[Any, bool | None]], captions: Sequence[str] | None = None
    ) -> tuple[np.ndarray, list[bool | None]]:
        """Vectors of what `tokens.ready` made of captions, and which were cut: None where the tokenizer does not tell.

        captions: with the captions themselves none is cut: a longer one is the mean of the unit vectors of its
            consecutive windows, made a unit vector again. Ours, after ClipMD, which averages the vectors themselves.
        """
        longer = [is_longer for _, is_longer in ready]
        vectors = self._encoded(self._torch.from_numpy(np.stack([tokens for tokens, _ in ready])))
        if captions is None:
            return vectors, longer
        for row in [i for i, is_longer in enumerate(longer) if is_longer is not False]:
            mean = self._encoded(self.tokens.windows(captions[row])).mean(axis=0)
            vectors[row] = mean / np.linalg.norm(mean)
        return vectors, [False] * len(ready)

    def _encoded(self, tokens: Any) -> np.ndarray:
        order, pieces = self._text_tower.pieces(tokens, CPU_TEXTS if self.device == "cpu" else len(tokens) or 1)
        sorted_ = self._vectors(self._text_tower, lambda: (piece.to(self.device) for piece in pieces))
        vectors = np.empty_like(sorted_)
        vectors[order.numpy()] = sorted_
        return vectors

    def _vectors(self, tower: Any, batches: Callable[[], Iterable[Any]]) -> np.ndarray:
        """batches: called again where half precision overflows."""
        torch = self._torch
        with torch.inference_mode():
            half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.precision)
            with torch.autocast(self.device.partition(":")[0], dtype=half, enabled=half is not None):
                vectors = torch.cat([tower(batch, normalize=False).float() for batch in batches()])
            if half is not None and not torch.isfinite(vectors).all():
                vectors = torch.cat([tower(batch, normalize=False).float() for batch in batches()])
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
        return np.asarray(vectors.cpu().numpy(), np.float32)
