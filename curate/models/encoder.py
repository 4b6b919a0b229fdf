"""Encoder: any open_clip model, or the embedded lite0-minilm, as two functions that give unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy as np
from PIL import Image

from curate.models.device import chosen
from curate.models.feed import Lane, lane_to
from curate.models.fitting import fitting
from curate.models.half_weights import halve
from curate.models.loading import load
from curate.models.pixels import Pixels, pieces_of
from curate.models.text_tower import TextTower
from curate.models.tokens import Tokens
from curate.models.weights import model_weights
from curate.pictures.decoded import Decoded

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Resize = Literal["auto", "pillow", "torch"]

#: Waits for vectors that are begun.
Vectors = Callable[[], np.ndarray]

#: Captions that one core encodes at a time.
CPU_TEXTS = 16

#: Rows that a CPU gets at a time: images of a few more than the pieces it takes them in.
CPU_BATCH = 64

_DEFAULTS = {"threads": 1, "precision": "auto", "resize": "auto", "compile": False}

#: Encoders in use in this process.
_SHARED: WeakValueDictionary[tuple[Any, ...], Encoder] = WeakValueDictionary()

#: Those on a GPU, which nobody else gets meanwhile: they stay for the next step, until another model is to be loaded.
#: On a CPU the memory is wanted by steps without a model.
_STAYING: list[Encoder] = []


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
        self._torch, self._name = torch, model
        self._lane: Lane | None = lane_to(device)
        self.model, self.preprocess, tokenizer = load(model, device)
        fast = device != "cpu" if resize == "auto" else resize == "torch"
        self.tokens, self.pixels = Tokens(tokenizer), Pixels(self.preprocess, device, fast, self._lane)
        half = self._half(self.precision)
        self._halved = self.queues and half is not None and halve(self.model, half)
        self._full: tuple[Any, Any] | None = None
        self._text_tower = TextTower(self.model)
        self._image_tower = torch.compile(self.model.encode_image) if compile else self.model.encode_image
        self.batch_size = CPU_BATCH if device == "cpu" else fitting(self._peak, self._free())

    @staticmethod
    def shared(model: str, device: str = "auto", **options: Any) -> Encoder:
        """The encoder of this kind that another op of this process holds already, or a new one: one copy in memory."""
        key = (model, model_weights(model), device, *sorted({**_DEFAULTS, **options}.items()))
        encoder = _SHARED.get(key)
        if encoder is None:
            _STAYING.clear()
            encoder = _SHARED[key] = Encoder(model, device, **options)
        if encoder.device != "cpu" and encoder not in _STAYING:
            _STAYING.append(encoder)
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

    @property
    def queues(self) -> bool:
        """Whether what is begun runs on its own: the device has work while the result of other work is fetched."""
        return self._lane is not None

    def images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        return self._begun(self._image_tower, lambda: map(self.pixels.batch, self.pixels.ahead(pictures)))()

    def ready_images(self, prepared: Sequence[Any]) -> np.ndarray:
        """As `images`, of what `pixels.one` made of each."""
        return self.begin_images(prepared)()

    def begin_images(self, prepared: Sequence[Any]) -> Vectors:
        """As `ready_images`, begun; returns what waits for the result."""
        pieces = pieces_of(prepared, self.pixels.piece)
        return self._begun(self._image_tower, lambda: map(self.pixels.batch, pieces))

    def texts(self, captions: Sequence[str]) -> np.ndarray:
        """Captions longer than the model's context are cut as open_clip's tokenizer cuts them."""
        return self._begun_texts(self.tokens(captions))()

    def captions(
        self, ready: Sequence[tuple[Any, bool | None]], captions: Sequence[str] | None = None
    ) -> tuple[np.ndarray, list[bool | None]]:
        """Vectors of what `tokens.ready` made of captions, and which were cut: None where the tokenizer does not tell.

        captions: with the captions themselves none is cut: a longer one is the mean of the unit vectors of its
            consecutive windows, made a unit vector again. Ours, after ClipMD, which averages the vectors themselves.
        """
        return self.begin_captions(ready, captions)()

    def begin_captions(
        self, ready: Sequence[tuple[Any, bool | None]], captions: Sequence[str] | None = None
    ) -> Callable[[], tuple[np.ndarray, list[bool | None]]]:
        """As `captions`, begun; returns what waits for the result."""
        longer = [is_longer for _, is_longer in ready]
        begun = self._begun_texts(self._torch.from_numpy(np.stack([tokens for tokens, _ in ready])))

        def result() -> tuple[np.ndarray, list[bool | None]]:
            vectors = begun()
            if captions is None:
                return vectors, longer
            for row in [i for i, is_longer in enumerate(longer) if is_longer is not False]:
                mean = self._begun_texts(self.tokens.windows(captions[row]))().mean(axis=0)
                vectors[row] = mean / np.linalg.norm(mean)
            return vectors, [False] * len(ready)

        return result

    def _begun_texts(self, tokens: Any) -> Vectors:
        order, pieces = self._text_tower.pieces(tokens, CPU_TEXTS if self.device == "cpu" else len(tokens) or 1)
        begun = self._begun(self._text_tower, lambda: map(self._on_device, pieces))

        def result() -> np.ndarray:
            in_order = begun()
            vectors = np.empty_like(in_order)
            vectors[order.numpy()] = in_order
            return vectors

        return result

    def _on_device(self, tokens: Any) -> Any:
        if self._lane is None:
            return tokens.to(self.device)
        buffer = self._lane.buffer(tokens.shape, tokens.dtype)
        return self._lane.up(buffer.copy_(tokens))[0]

    def _begun(self, tower: Any, batches: Callable[[], Iterable[Any]]) -> Vectors:
        """batches: called again where half precision overflows."""
        vectors = self._queued(tower, batches, self.precision)
        host = vectors.cpu if self._lane is None else self._lane.down(vectors)

        def result() -> np.ndarray:
            array = np.asarray(host().numpy(), np.float32)
            # Looked at here, where the copy is: to ask the device would wait for it once more.
            if self.precision != "fp32" and not np.isfinite(array).all():
                again = self._queued(self._in_full(tower), batches, "fp32")
                array = np.asarray(again.cpu().numpy(), np.float32)
            return array

        return result

    def _queued(self, tower: Any, batches: Callable[[], Iterable[Any]], precision: str) -> Any:
        """Unit vectors, on the device."""
        torch, half = self._torch, self._half(precision)
        with torch.inference_mode():
            with torch.autocast(self.device.partition(":")[0], dtype=half, enabled=half is not None):
                vectors = torch.cat([tower(batch, normalize=False).float() for batch in batches()])
            return torch.nn.functional.normalize(vectors, dim=-1)

    def _half(self, precision: str) -> Any:
        return {"fp16": self._torch.float16, "bf16": self._torch.bfloat16}.get(precision)

    def _in_full(self, tower: Any) -> Any:
        """The same tower with its weights as they were published, which are loaded for that: few batches overflow."""
        if not self._halved:
            return tower
        if self._full is None:
            model = load(self._name, self.device)[0]
            self._full = model.encode_image, TextTower(model)
        return self._full[0 if tower is self._image_tower else 1]
