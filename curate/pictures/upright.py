"""An opened image as 8-bit sRGB on white, upright: what a viewer of the file sees, whatever its mode."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops

from curate.pictures.colour_profile import to_srgb

#: EXIF's number of it.
ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Grey levels that are brought to 8 bits at a time.
_BLOCK = 1 << 16


def upright(image: Image.Image, *, convert_to_srgb: bool = True, orientation: int | None = None) -> Image.Image:
    """RGB of the first frame.

    In this order: grey of more than 8 bits to 8; colours by the embedded ICC profile to sRGB (unless
    `convert_to_srgb` is false: then their numbers are kept); onto white by its alpha; turned as its EXIF says. Colours
    that other marks than an ICC profile describe (PNG's gAMA and cHRM, AVIF's nclx) are taken for sRGB.

    orientation: EXIF's, for who knows it; None reads it.

    Raises:
        Exception: whatever Pillow raises on a damaged file.
    """
    image.load()
    orientation = orientation or orientation_of(image)
    profile = image.info.get("icc_profile") if convert_to_srgb else None
    colours, alpha = _parted(image)
    colours = to_srgb(colours, profile if isinstance(profile, bytes) else None)
    if alpha is not None and alpha.getextrema()[0] != 255:
        colours.paste("white", mask=ImageChops.invert(alpha))  # a copy already, whatever had an alpha
    return turned(colours, orientation)


def orientation_of(image: Image.Image) -> int:
    """1 to 8, EXIF's; 1 where there is none, or a damaged one: that is no reason to lose the image."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - whatever strange EXIF raises
        return 1
    return int(value) if value in range(1, 9) else 1


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The image, or a turned copy that no longer says that it lies."""
    if orientation not in _TURNS:
        return image
    rotated = image.transpose(_TURNS[orientation])
    rotated.info.clear()
    return rotated


def _parted(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours without alpha, as RGB, L or CMYK where a profile may speak of them; and the alpha, L, if any."""
    mode = image.mode
    clear = image.info.get("transparency")
    if mode.startswith(("I", "F")):
        values = np.asarray(image)
        alpha = Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)) if type(clear) is int else None
        return Image.fromarray(_to_8_bits(values, _white(image, values))), alpha
    if mode in ("LA", "La", "RGBA", "RGBa", "PA") or (clear is not None and mode in ("1", "L", "RGB", "P")):
        grey = mode in ("1", "L", "LA", "La")
        target = {"RGBa": "RGBA", "La": "LA"}.get(mode, "LA" if grey else "RGBA")
        layer = image if mode == target else image.convert(target)
        return layer.convert("L" if grey else "RGB"), layer.getchannel("A")
    if mode == "P" and image.has_transparency_data:
        layer = image.convert("RGBA")
        return layer.convert("RGB"), layer.getchannel("A")
    if mode == "1":
        return image.convert("L"), None
    return (image if mode in ("L", "RGB", "CMYK") else image.convert("RGB")), None


def _white(image: Image.Image, values: np.ndarray) -> float:
    """The level that is white: of 16-bit grey by its range, else the smallest usual one that holds all."""
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    if bits and bits[0] in range(9, 16):
        return float((1 << bits[0]) - 1)
    if (values.dtype.kind, values.dtype.itemsize) == ("u", 2) or image.format in ("PNG", "PPM"):
        return 65535.0
    highest = max((float(block.max(initial=0, where=np.isfinite(block))) for block in _blocks(values)), default=0.0)
    return next((white for white in (1.0, 255.0, 65535.0) if highest <= white), highest)


def _to_8_bits(values: np.ndarray, white: float) -> np.ndarray:
    """In blocks: twelve bytes a level are needed meanwhile. NaN and infinities are black."""
    grey = np.empty(values.shape, np.uint8)
    for block, out in zip(_blocks(values), _blocks(grey), strict=True):
        wide = np.nan_to_num(block.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        out[...] = np.rint(wide.clip(0, white) * (255 / white))
    return grey


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    rows = max(1, _BLOCK // max(1, values.shape[1]))
    return [values[start : start + rows] for start in range(0, len(values), rows)]
