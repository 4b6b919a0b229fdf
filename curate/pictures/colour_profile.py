"""Colours that an ICC profile describes, as sRGB: what a screen shows of them, and what models were trained on."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

#: Levels of 255 by which a profile's colours may differ from sRGB's and still be taken for sRGB's: the many profiles
#: that are sRGB differ by rounding, and most images on the web carry one of them.
SAME_LEVELS = 2

#: Bytes of a profile, beyond which there are no profiles of cameras, screens or presses.
MAX_PROFILE_BYTES = 4_000_000

#: Channels of a profile, and the mode of an image that has them.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}

#: By their numbers in a profile. The absolute one would tint the paper's white, and no viewer follows it.
_INTENTS = {
    0: ImageCms.Intent.PERCEPTUAL,
    1: ImageCms.Intent.RELATIVE_COLORIMETRIC,
    2: ImageCms.Intent.SATURATION,
    3: ImageCms.Intent.RELATIVE_COLORIMETRIC,
}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB of an image in the mode RGB, L, CMYK, or another that Pillow makes RGB of.

    The conversion is LittleCMS's, with the profile's own rendering intent and black point compensation. A profile that
    is damaged, too large, or of other channels than the image's is passed over, as browsers do; grey is taken for RGB
    where the profile is of RGB.
    """
    if profile and len(profile) <= MAX_PROFILE_BYTES and image.mode in _MODES.values():
        space, transform = _transform(profile)
        if image.mode == "L" and space == "RGB":
            image = image.convert("RGB")
        if transform is not None and image.mode == space:
            converted: Image.Image | None = ImageCms.applyTransform(image, transform)
            assert converted is not None
            return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def is_srgb(profile: bytes | None) -> bool:
    """Whether there is nothing to convert: no profile, one of sRGB, or one that is passed over."""
    return not profile or len(profile) > MAX_PROFILE_BYTES or _transform(profile)[1] is None


@lru_cache(maxsize=32)
def _transform(profile: bytes) -> tuple[str | None, Any]:
    """The mode of the images that a profile describes, and the conversion; None for one that changes nothing."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES.get(opened.profile.xcolor_space.strip())
        if mode is None:
            return None, None
        transform = ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            _INTENTS.get(opened.profile.rendering_intent, ImageCms.Intent.PERCEPTUAL),
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return mode, transform if mode == "CMYK" or _changes(transform, mode) else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None, None


def _changes(transform: Any, mode: str) -> bool:
    """Whether it moves any of a grid of colours by more than rounding."""
    levels = np.linspace(0, 255, 256 if mode == "L" else 16).round().astype(np.uint8)
    if mode == "L":
        before = Image.fromarray(levels[None])
    else:
        before = Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3))
    after = ImageCms.applyTransform(before, transform)
    unchanged = np.asarray(before.convert("RGB")).astype(int)
    return bool(np.abs(np.asarray(after).astype(int) - unchanged).max() > SAME_LEVELS)
