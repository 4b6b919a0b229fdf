"""Pixels for an encoder: open_clip's preprocess of single images in threads, and their batches on the device."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.models.fast_resize import fast_resize
from curate.models.feed import Feed, Lane
from curate.pictures.decoded import Decoded

if TYPE_CHECKING:
    from PIL import Image

#: Images that one core encodes at a time: what lies between the layers of more leaves its cache (lite0 takes half the
#: time per image at 8 that it takes at 64).
CPU_PIECE = 8

#: Images that a GPU encodes at a time while the next ones are on their way to it.
CUDA_PIECE = 128

#: Pieces that are prepared beyond the one in the model.
AHEAD = 2


class Pixels:
    """What a model sees of images: `one` makes it of a single image, in any thread; `batch` puts those together on the
    device.

    `one` stops at bytes (a quarter of what would have to be copied) and the device computes the rest, by the same
    float32 operations as open_clip's preprocess; a preprocess of another kind is left whole.

    fast: resize by torch, not by Pillow, where the preprocess is one of the usual two kinds.
    lane: the way to the device, where copies run beside the work.
    """

    def __init__(self, preprocess: Any, device: str, fast: bool = False, lane: Lane | None = None):
        self.device, self._preprocess = device, preprocess
        self._split = split(preprocess)
        self._levels: tuple[Any, Any] | None = None
        self._fast = fast_resize(self._split[0].steps) if fast and self._split else None
        self.piece = CPU_PIECE if device == "cpu" else CUDA_PIECE
        self._feed = Feed(lane) if lane else None
        self._threads = ThreadPoolExecutor(2 if device == "cpu" else min(16, os.cpu_count() or 2))

    def one(self, decoded: Decoded) -> Any:
        """uint8: 3 x height x width of the fast resize, else height x width x 3; or what another preprocess gives."""
        if self._fast is not None:
            return self._fast(decoded.pixels)
        return (self._preprocess if self._split is None else self._split[0])(decoded.image)

    def ahead(self, pictures: Sequence[Image.Image]) -> Iterator[list[Any]]:
        """`one` of each, piece after piece, made in threads while the pieces before are used."""
        pieces = pieces_of([Decoded(image=picture) for picture in pictures], self.piece)
        coming: list[list[Future[Any]]] = []
        try:
            for number in range(len(pieces)):
                while len(coming) <= AHEAD and number + len(coming) < len(pieces):
                    coming.append([self._threads.submit(self.one, p) for p in pieces[number + len(coming)]])
                yield [future.result() for future in coming.pop(0)]
        finally:
            for future in (future for piece in coming for future in piece):
                future.cancel()

    def batch(self, prepared: Sequence[Any]) -> Any:
        import torch

        batch = self._feed(prepared, self.piece) if self._feed else torch.stack(list(prepared)).to(self.device)
        if self._split is None:
            return batch
        if self._levels is None:
            # Once: to bring them to a device waits for all that is queued there.
            self._levels = levels(*self._split[1:], batch.device)
        if self._fast is not None:
            # To the order of the others where it costs least: turned one by one, images took 8 times as long to stack.
            batch = batch.permute(0, 2, 3, 1).contiguous()
        return normalised(batch, *self._levels)


def pieces_of(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


class ToBytes:
    """The steps of a preprocess that end in an image, and its bytes: height x width x 3."""

    def __init__(self, steps: Sequence[Any]):
        self.steps = steps

    def __call__(self, picture: Image.Image) -> Any:
        import torch

        for step in self.steps:
            picture = step(picture)
        return torch.from_numpy(np.array(picture))


def split(preprocess: Any) -> tuple[ToBytes, Any, Any] | None:
    """open_clip's preprocess up to the bytes, and the mean and deviation that follow.

    None for one that does not end in ToTensor (open_clip's own is called MaybeToTensor) and Normalize.
    """
    steps = list(getattr(preprocess, "transforms", []))
    if [type(step).__name__.removeprefix("Maybe") for step in steps[-2:]] != ["ToTensor", "Normalize"]:
        return None
    return ToBytes(steps[:-2]), steps[-1].mean, steps[-1].std


def levels(mean: Sequence[float], std: Sequence[float], device: Any) -> tuple[Any, Any]:
    """What `normalised` subtracts, and what it divides by."""
    import torch

    shift, scale = (torch.tensor(v, dtype=torch.float32, device=device).view(1, 3, 1, 1) for v in (mean, std))
    return shift, scale


def normalised(batch: Any, shift: Any, scale: Any) -> Any:
    """What ToTensor and Normalize make of bytes (n x height x width x 3), on the device where they lie."""
    return batch.permute(0, 3, 1, 2).float().div_(255).sub_(shift).div_(scale)
