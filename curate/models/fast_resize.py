"""open_clip's resize and crop on arrays, by torch's uint8 kernels: four to seven times as fast as Pillow's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np


def fast_resize(steps: Sequence[Any]) -> Callable[[np.ndarray], Any] | None:
    """What the steps of a preprocess before ToTensor do, for uint8 arrays (height x width x 3): a uint8 tensor,
    3 x height x width.

    None for other steps than `resize the shorter side and crop the middle` (CLIP's) and `squash to one size`.

    Against Pillow's own bytes differ by 1 or 2 levels of 255 at 0.2 % of the places. On 300 real images that moved
    cosines of lite0-minilm, which is sensitive, by 0.00012 (median) and 0.0018 (99 %).
    """
    kinds = [type(step).__name__ for step in steps]
    kinds = [kind for kind in kinds if kind not in ("MaybeConvertMode", "function")]
    resize = steps[0] if kinds else None
    if kinds not in (["Resize"], ["Resize", "CenterCrop"]) or resize is None or resize.max_size is not None:
        return None
    mode = str(getattr(resize.interpolation, "value", ""))
    if mode not in ("bicubic", "bilinear"):
        return None
    if kinds == ["Resize"]:
        if not isinstance(resize.size, Sequence) or len(resize.size) != 2:
            return None
        height, width = resize.size
        return lambda pixels: resized(pixels, height, width, mode)
    shorter = resize.size if isinstance(resize.size, int) else resize.size[0]
    crop = tuple(steps[1].size)
    if crop != (shorter, shorter):
        return None
    return lambda pixels: _shorter_side(pixels, shorter, mode)


def _shorter_side(pixels: np.ndarray, shorter: int, mode: str) -> Any:
    height, width = pixels.shape[:2]
    least = min(height, width)
    scaled = resized(pixels, shorter * height // least, shorter * width // least, mode)
    top, left = (round((length - shorter) / 2) for length in scaled.shape[1:])
    return scaled[:, top : top + shorter, left : left + shorter]


def resized(pixels: np.ndarray, height: int, width: int, mode: str = "bicubic") -> Any:
    """A uint8 tensor, 3 x height x width, antialiased; the order of the two directions is the installed Pillow's,
    since what is cut off at 0 and 255 between them depends on it."""
    import torch
    from torch.nn.functional import interpolate

    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    rows, columns = pixels.shape[:2]
    if _pillow_may_begin_with_rows() and rows - height > 2 * max(0, columns - width):
        tensor = interpolate(tensor, size=(height, columns), mode=mode, antialias=True)
    tensor = interpolate(tensor, size=(height, width), mode=mode, antialias=True)
    return tensor[0]


@cache
def _pillow_may_begin_with_rows() -> bool:
    """Pillow resized columns first until version 12; from 13 on, rows where that leaves less to do."""
    from PIL import __version__

    return int(__version__.partition(".")[0]) >= 13
